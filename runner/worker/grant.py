"""What one token of a job's endpoint opens, and how a dialect is asked and answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from runner.errors import Invalid, NotFound
from runner.worker.questions import Asked
from vault.decrypt import Secret
from vault.names import AssetName


class NotSeen(NotFound):
    """This bot sees no such asset, whether there is one or not."""


class Denied(Invalid):
    """The bot's declaration, or its workspace, does not let it do this."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request in a dialect; `path` is what follows its prefix, in parts, decoded and never normalised."""

    method: str
    path: tuple[str, ...]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    #: Where the dialect is, as its client has to write it.
    base: str
    #: What the presented pass was issued for; empty with the dialect's own token.
    passed: str
    #: Issues a pass: a token for one thing of this attempt, valid for some minutes at most.
    issue: Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Said:
    """The answer to a request."""

    status: int
    body: bytes = field(default=b"", repr=False)
    kind: str = "application/json"

    @classmethod
    def json(cls, value: object, *, status: int = 200, kind: str = "application/json") -> Said:
        """An answer in JSON."""
        return cls(status, json.dumps(value).encode(), kind)


class Speaker(Protocol):
    """One dialect, for one attempt."""

    def answer(self, call: Call) -> Said:
        """What the client of that world expects; a refusal is a 4xx in its own words."""


def _nothing(_what: str) -> None:
    """Nobody is told of a refusal."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What one attempt may read: the assets of its own snapshot, whose values its masker knows."""

    names: Callable[[], Sequence[AssetName]]
    #: The value, `None` where it has none; raises `NotSeen`.
    read: Callable[[AssetName], Secret | None]
    #: Masks a value that the bot names; false for one too weak. Raises `TooMuch`.
    mask: Callable[[bytes], bool]
    sources: Asked | None = None
    #: Takes what the bot says: method, path in parts, body; answers a status and a body.
    take: Callable[[str, tuple[str, ...], bytes], tuple[int, bytes]] | None = None
    #: Stores a value, `None` for taking it away, of the asset that the bot wrote so; see `visible.Visible.write`.
    write: Callable[[AssetName, bytes | None, str], None] | None = None
    #: Hears of what was refused, before the answer leaves.
    refused: Callable[[str], None] = _nothing
    #: The dialects of this attempt, by the words of their prefixes.
    speakers: Mapping[str, Speaker] = field(default_factory=dict)
