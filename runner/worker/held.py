"""The attempts that this worker runs now, and the thread that keeps their leases and does what people want of them.

Leases are kept in the database's time; should the database stay away, the worker's own monotonic clock ends the
bots before their leases can run out elsewhere, so that a job never has two living attempts. A signal or a bot that
has come to a stand wakes the thread; it alone reads and writes here, so that what is wanted is done in order.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy import Engine

from runner import jobs, pauses, runners
from runner.jobs import Wish
from runner.logging import logger
from runner.states import Reason
from vault import db
from vault.errors import VaultError

#: How often somebody's wish is looked for where no signal tells of it.
POLL = timedelta(seconds=2)

#: Parts of the lease after which a bot is asked to end, and then killed by its launcher, when the lease was not
#: extended: a quarter of it for the bot's grace, an eighth for the kill, long before it could begin elsewhere.
END_AFTER, KILL_AFTER = 3 / 4, 7 / 8


#: Seconds after which an attempt that was taken away and is still there is killed again: its bot may start just then.
_KILL_AGAIN = 1.0


class Hold:
    """One attempt in this worker: why it must end or stand still, if it must, and how to tell its bot."""

    def __init__(
        self, job_id: uuid.UUID, attempt: int, *, since: float, changed: Callable[[], None] = lambda: None
    ) -> None:
        """`since` is an instant of the monotonic clock at which the lease had certainly not begun yet.

        `changed` is called when nothing of the attempt runs any more because of a pause, or it goes on.
        """
        self.job_id = job_id
        self.attempt = attempt
        self.extended_at = since
        self.reason: Reason | None = None
        self.paused = False
        #: Whether it does stand still, and whether the database says so.
        self.standing = self.noted = False
        #: How long it stood before its bot was started, in seconds.
        self.stood = 0.0
        self._changed = changed
        self._end: Callable[[], None] | None = None
        self._kill: Callable[[], None] | None = None
        self._keep: Callable[[float], None] | None = None
        self._pause: Callable[[], None] | None = None
        self._resume: Callable[[], None] | None = None
        self._lock = threading.Lock()
        #: Made where the attempt waits for the end of a pause, which few do.
        self._pause_over: threading.Condition | None = None

    def on_end(
        self,
        end: Callable[[], None],
        *,
        kill: Callable[[], None] | None = None,
        keep: Callable[[float], None] | None = None,
        pause: Callable[[], None] | None = None,
        resume: Callable[[], None] | None = None,
    ) -> None:
        """Say how to end the bot, to kill it, to let it stand and go on, and whom to tell that its lease was extended.

        What is due is called at once.
        """
        with self._lock:
            self._end, self._kill, self._keep, self._pause, self._resume = end, kill, keep, pause, resume
            due = self.reason is not None
            if self.paused and pause is not None:
                pause()
        if keep is not None:
            keep(self.extended_at)  # there may have been a beat since the launch
        if due:
            end()

    def let_go(self) -> None:
        """Know the bot no more: it has ended, and what is known of it, values among it, goes with it at once."""
        with self._lock:
            self._end = self._kill = self._keep = self._pause = self._resume = None

    def end(self, reason: Reason) -> None:
        """End the bot, for the first reason given; one that stands still goes on for its end."""
        with self._lock:
            if self.reason is not None:
                return
            self.reason, end = reason, self._end
            self._go_on()
        if end is not None:
            end()

    def extended(self, since: float) -> None:
        """The lease was extended after `since`, an instant of the monotonic clock."""
        with self._lock:
            self.extended_at, keep = since, self._keep
        if keep is not None:
            keep(since)

    def kill(self) -> None:
        """Kill the bot, whatever grace it has left."""
        with self._lock:
            kill = self._kill
        if kill is not None:
            kill()

    def pause(self) -> None:
        """Let the bot stand still, unless it must end."""
        with self._lock:
            if self.paused or self.reason is not None:
                return
            self.paused = True
            if self._pause is not None:
                self._pause()

    def resume(self) -> None:
        """Let the bot go on."""
        with self._lock:
            if not self.paused:
                return
            self.paused = False
            self._go_on()
            if self._resume is not None:
                self._resume()

    def stand(self) -> None:
        """Wait here for the end of a pause, where there is one; called before anything of the bot is started."""
        with self._lock:
            if not self.paused or self.reason is not None:
                return
            since = time.monotonic()
            self.stands(standing=True)
            self._pause_over = threading.Condition(self._lock)
            self._pause_over.wait_for(lambda: not self.paused or self.reason is not None)
            self.stood += time.monotonic() - since
            self.stands(standing=False)

    def _go_on(self) -> None:
        if self._pause_over is not None:
            self._pause_over.notify_all()

    def stands(self, *, standing: bool) -> None:
        """Hear that the bot stands still now, or goes on."""
        self.standing = standing
        self._changed()


class Held:
    """All holds of this worker, and the thread that beats for them."""

    def __init__(
        self,
        engine: Engine,
        name: str,
        *,
        instance: uuid.UUID,
        lease: timedelta,
        heartbeat: timedelta,
        drain: Callable[[], None],
        each_beat: Callable[[], None],
    ) -> None:
        self._lease, self._heartbeat = lease, heartbeat
        self._engine, self._name, self._instance = engine, name, instance
        self._drain, self._each_beat = drain, each_beat
        self._holds: dict[uuid.UUID, Hold] = {}
        self._lock = threading.Condition()
        self._stopped = threading.Event()
        self._news = threading.Event()
        self._beat_at = 0.0
        self._ending: Reason | None = None
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._log = logger()

    def start(self) -> None:
        """Beat from now on."""
        self._thread.start()

    def close(self) -> None:
        """Stop beating."""
        self._stopped.set()
        self._news.set()
        self._thread.join()

    @contextmanager
    def holding(self, job_id: uuid.UUID, attempt: int, *, since: float) -> Iterator[Hold]:
        """Keep an attempt's lease for the time of the block; `since` is an instant before its claim.

        An earlier attempt of the job that was taken away from this very worker is killed and waited for.
        """
        hold = Hold(job_id, attempt, since=since, changed=self._news.set)
        while former := self._taken(hold):
            former.end(Reason.RUNNER_LOST)
            former.kill()
            with self._lock:
                self._lock.wait_for(lambda: self._holds.get(job_id) is not former, timeout=_KILL_AGAIN)
        if self._ending is not None:
            hold.end(self._ending)
        try:
            yield hold
        finally:
            hold.let_go()
            with self._lock:
                self._holds.pop(job_id, None)
                self._lock.notify_all()

    def _taken(self, hold: Hold) -> Hold | None:
        """Take the job's place for this hold, or answer who has it."""
        with self._lock:
            former = self._holds.setdefault(hold.job_id, hold)
        return None if former is hold else former

    def look(self, job_id: uuid.UUID) -> None:
        """Look at once what people want of a job, where it is held here."""
        if job_id in self._holds:
            self._news.set()

    def look_at_all(self) -> None:
        """Look at once what people want of any job here, and of this runner."""
        self._beat_at = 0.0
        self._news.set()

    def end_all(self, reason: Reason) -> None:
        """End every bot of this worker, and every one that is still to come."""
        self._ending = reason
        for hold in self._current():
            hold.end(reason)

    def kill_all(self) -> None:
        """Kill every bot of this worker that is left."""
        for hold in self._current():
            hold.kill()

    def _current(self) -> list[Hold]:
        with self._lock:
            return list(self._holds.values())

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                if time.monotonic() - self._beat_at >= self._heartbeat.total_seconds():
                    self._beat_at = time.monotonic()
                    self._beat()
                else:
                    self._look()
                self._note_pauses()
            except VaultError as error:
                self._log.warning("heartbeat.failed", error=str(error))
            except Exception:
                # Without this thread every lease would run out: whatever it was, the next beat tries again.
                self._log.exception("heartbeat.broken")
            self._end_what_may_be_lost()
            self._news.wait(POLL.total_seconds())
            self._news.clear()

    def _beat(self) -> None:
        self._each_beat()
        holds = {hold.job_id: hold for hold in self._current()}
        started = time.monotonic()
        with db.writing(self._engine) as session:
            draining = runners.beat(session, self._name, instance=self._instance)
            held = {job_id: hold.attempt for job_id, hold in holds.items()}
            wishes = jobs.extend_leases(session, held, lease=self._lease)
        kept = {wish.job_id for wish in wishes}
        for job_id, hold in holds.items():
            if job_id in kept:
                hold.extended(started)
            else:
                hold.end(Reason.RUNNER_LOST)
        _fulfil(holds, wishes)
        if draining or draining is None:
            self._drain()

    def _look(self) -> None:
        holds = {hold.job_id: hold for hold in self._current()}
        if holds:
            with db.reading(self._engine) as session:
                wishes = jobs.wishes(session, {job_id: hold.attempt for job_id, hold in holds.items()})
            _fulfil(holds, wishes)

    def _note_pauses(self) -> None:
        for hold in self._current():
            standing = hold.standing
            if standing != hold.noted:
                with db.writing(self._engine) as session:
                    pauses.note(session, hold.job_id, attempt=hold.attempt, standing=standing)
                hold.noted = standing

    def _end_what_may_be_lost(self) -> None:
        longest = self._lease.total_seconds() * END_AFTER
        for hold in self._current():
            if time.monotonic() - hold.extended_at > longest:
                hold.end(Reason.RUNNER_LOST)


def _fulfil(holds: dict[uuid.UUID, Hold], wishes: list[Wish]) -> None:
    for wish in wishes:
        hold = holds[wish.job_id]
        if wish.cancel:
            hold.end(Reason.CANCELLED)
        elif wish.pause:
            hold.pause()
        else:
            hold.resume()
