"""What data sources are asked, by whom, and what they answer; `runner.worker.sources` says what each promises."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Engine

from runner.connection_policy import ConnectionPolicy
from runner.worker.failures import SourceFailed, Step


@dataclass(frozen=True, slots=True)
class Context:
    """For whom a source is opened; in a check there is no job and no bot."""

    source: str
    environment: str
    workspace_id: uuid.UUID
    runner: str
    policy: ConnectionPolicy
    engine: Engine
    job_id: uuid.UUID | None = None
    attempt: int = 0
    bot_id: uuid.UUID | None = None
    bot: str = ""
    #: Whether the bot's declaration lets it have the connection itself, credentials included.
    connection_allowed: bool = False
    #: Adds a warning to the job, which people read in its history.
    warn: Callable[[str], object] = lambda _text: None


@dataclass(frozen=True, slots=True)
class Question:
    """What a bot asks of a source: `GET /v1/sources/NAME/WHAT?options`, with an empty `what` for the source itself."""

    method: str
    what: str
    options: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a question: its media type, and its bytes as they come."""

    kind: str
    chunks: Generator[bytes]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a check found: the steps that went well, in order, and how many rows or messages there are."""

    reached: Sequence[Step] = (Step.RESOLVED, Step.REACHABLE, Step.AUTHENTICATED, Step.QUERY)
    count: int | None = None
    #: Whether there are more than `count`.
    more: bool = False
    unit: str = "row"
    #: Whatever else is worth a word, without a value.
    remarks: Sequence[str] = ()

    def sentence(self, source: str, environment: str) -> str:
        """What a person reads."""
        words = [str(step) for step in self.reached]
        if self.count is not None:
            many = "" if self.count == 1 and not self.more else "s"
            words.append(f"{'more than ' if self.more else ''}{self.count:,} {self.unit}{many}")
        ends = "".join(f" {remark.rstrip('.')}." for remark in self.remarks)
        return f"{source} in {environment}: {', '.join(words)}.{ends}"


class Asked(Protocol):
    """The data sources of one attempt, as the job's endpoint asks them; see `runner.worker.attempt_sources`."""

    def names(self) -> list[str]:
        """The sources that the bot may use."""

    def ask(self, name: str, question: Question) -> Reply:
        """The answer of a source."""

    def sentence(self, name: str, failure: SourceFailed) -> str:
        """What a failure is in words."""


class Opened(Protocol):
    """A source that is open for one attempt; see the module's docstring."""

    def answer(self, question: Question) -> Reply:
        """Begin the answer to a question."""

    def close(self, *, succeeded: bool) -> None:
        """End the connection and what waits for it."""
