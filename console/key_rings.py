"""The keys of each environment as everybody may see them: which wraps what, which runner holds which, what to do next.

Public facts only: ids of public halves, counts of rows, and what runners say they hold.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.orm import Session

from runner import runners
from runner.runners import Seen
from vault import recipients
from vault.names import ENVIRONMENTS
from vault.recipients import KeyState

#: Runners that count where it is asked who lacks a key; the others take no jobs.
ALIVE = ("online", "draining")


@dataclass(frozen=True, slots=True)
class Holder:
    """A runner of an environment; `keys` are the ids that it holds, the newest last, `None` where it does not say."""

    seen: Seen
    keys: tuple[str, ...] | None

    def holds(self, key_id: str) -> bool:
        """Whether it says that it holds this key."""
        return self.keys is not None and key_id in self.keys


@dataclass(frozen=True, slots=True)
class Ring:
    """The keys of one environment, the former ones newest first, and the runners that serve it."""

    environment: str
    current: KeyState | None
    former: list[KeyState]
    holders: list[Holder]

    @property
    def total(self) -> int:
        """Stored values, whichever key wraps them."""
        return (self.current.values if self.current else 0) + self.left

    @property
    def left(self) -> int:
        """Values that a former key still wraps: what a rotation has before it."""
        return sum(key.values for key in self.former)

    @property
    def prepared(self) -> list[str]:
        """Keys that runners hold and no value may be wrapped for yet: made by `rotate --prepare`."""
        known = {key.id for key in (*self.former, *([self.current] if self.current else []))}
        return sorted({key for one in self._alive for key in one.keys or () if key not in known})

    @property
    def spent(self) -> list[KeyState]:
        """Former keys that wrap nothing any more and that a runner still holds."""
        return [key for key in self.former if not key.values and any(one.holds(key.id) for one in self._alive)]

    @property
    def _alive(self) -> list[Holder]:
        return [one for one in self.holders if one.seen.status in ALIVE]

    def lacking(self, key_id: str) -> list[str]:
        """The living runners that say what they hold, and not this key."""
        return [one.seen.row.name for one in self._alive if one.keys is not None and not one.holds(key_id)]

    @property
    def advice(self) -> str:
        """What to do next, as a sentence; empty where there is nothing to do."""
        if self.current is None:
            return f"Make the key pair on the host of a runner: python -m vault keygen --env {self.environment}"
        if not self._alive:
            return f"No runner of {self.environment} is up: start one on a host that has the private half."
        if lacking := self.lacking(self.current.id):
            return f"{_names(lacking)} cannot open new values: give the key file of {self.environment} to that host."
        if self.left:
            return f"Go on on the key host: botkeep key rotate --env {self.environment}"
        if self.prepared:
            return self._of_prepared(self.prepared[-1])
        return ""

    def _of_prepared(self, key_id: str) -> str:
        if lacking := self.lacking(key_id):
            return f"The next key is prepared. Give the key file to {_names(lacking)} as well, before it is used."
        return f"Every runner holds the next key. Use it, on the key host: botkeep key rotate --env {self.environment}"


def rings(session: Session) -> list[Ring]:
    """The keys of every environment, in the order in which bots are promoted."""
    states, seen = recipients.states(session), runners.listing(session)
    return [_ring(environment, states, seen) for environment in ENVIRONMENTS]


def _ring(environment: str, states: list[KeyState], seen: list[Seen]) -> Ring:
    mine = [key for key in states if key.environment == environment]
    return Ring(
        environment,
        next((key for key in mine if key.retired_at is None), None),
        [key for key in mine if key.retired_at is not None],
        [Holder(one, _held(one, environment)) for one in seen if environment in one.row.environments],
    )


def _held(seen: Seen, environment: str) -> tuple[str, ...] | None:
    """What a runner says it holds; a row is only as true as whoever wrote it."""
    held = (seen.row.keys or {}).get(environment)
    return tuple(str(key) for key in held) if isinstance(held, list) else None


def _names(names: list[str]) -> str:
    return " and ".join(names) if len(names) < 3 else f"{', '.join(names[:2])} and {len(names) - 2} others"
