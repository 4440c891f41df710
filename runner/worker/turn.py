"""A turn: one look of a thread into a lane, and what the thread knows of its next one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from runner.jobs import Claim
from runner.worker.hints import Hint, Hints

#: Seconds that the end of a job waits for a Redis that takes its time. It answers before the end is to be written.
PATIENCE = 0.05


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job that was won, and an instant of the monotonic clock before it was."""

    claim: Claim
    since: float


class Turn:
    """A thread's look into the lane of a hint.

    While the worker is full the thread asks for its next hint when the bot has ended, and may claim the next job
    together with the end of this one. Whatever happens in between, what was answered or won is not lost: `following`
    has it.
    """

    def __init__(self, hint: Hint, hints: Hints, *, full: Callable[[], bool], claimed: Claimed | None = None) -> None:
        """`full` says whether the thread is to take its next hint by itself; `claimed` was won in the lane before."""
        self.hint = hint
        self._hints, self._full = hints, full
        self._claimed = claimed
        self._next: Hint | None = None
        self._won: Claimed | None = None

    @property
    def bound(self) -> bool:
        """Whether a job was claimed that is still to be run, come what may."""
        return self._claimed is not None

    def take(self) -> Claimed | None:
        """The job that was claimed before; once."""
        claimed, self._claimed = self._claimed, None
        return claimed

    def ask(self) -> None:
        """Ask for the next hint: the bot has ended, and its end is not to wait for that."""
        if self._next is None and self._full():
            self._hints.ask(self.hint, connect=False)

    def offer(self) -> Hint | None:
        """The next hint, for who claims in its lane now and says with `win` what came of it; once."""
        if self._next is not None or not self._full() or not self._hints.answered(patience=PATIENCE):
            return None
        self._next = self._hints.answer()
        return self._next

    def win(self, claimed: Claimed) -> None:
        """Keep what was claimed in the lane that was offered for the turn after this one."""
        self._won = claimed

    def look_around(self) -> Hint | None:
        """The next hint of any lane, for the turn after this one: who would stay in a lane lets others have theirs."""
        if self._next is None:
            self._hints.ask(self.hint)
            self._next = self._hints.answer()
        return self._next

    def following(self) -> Turn | None:
        """The turn after this one; nothing where no hint waits, and where Celery's loop takes the next."""
        if self._next is None and self._full():
            self._hints.ask(self.hint)  # which does nothing where it was asked already
        hint = self._next or self._hints.answer()
        return None if hint is None else Turn(hint, self._hints, full=self._full, claimed=self._won)
