"""The attempts that this worker runs now, and the thread that keeps their leases.

Leases are kept in the database's time; should the database stay away, the worker's own monotonic clock ends the
bots before their leases can run out elsewhere, so that a job never has two living attempts.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy import Engine

from runner import jobs, runners
from runner.logging import logger
from runner.states import Reason
from vault import db
from vault.errors import VaultError

#: How often a cancellation is looked for while a bot runs.
CANCEL_POLL = timedelta(seconds=1)

#: Parts of the lease after which a bot is asked to end, and then killed by its launcher, when the lease was not
#: extended: a quarter of it for the bot's grace, an eighth for the kill, long before it could begin elsewhere.
END_AFTER, KILL_AFTER = 3 / 4, 7 / 8


#: Seconds after which an attempt that was taken away and is still there is killed again: its bot may start just then.
_KILL_AGAIN = 1.0


class Hold:
    """One attempt in this worker: why it must end, if it must, and how to end it."""

    def __init__(self, job_id: uuid.UUID, attempt: int, *, since: float) -> None:
        """`since` is an instant of the monotonic clock at which the lease had certainly not begun yet."""
        self.job_id = job_id
        self.attempt = attempt
        self.extended_at = since
        self.reason: Reason | None = None
        self._end: Callable[[], None] | None = None
        self._kill: Callable[[], None] | None = None
        self._keep: Callable[[float], None] | None = None
        self._lock = threading.Lock()

    def on_end(
        self,
        end: Callable[[], None],
        *,
        kill: Callable[[], None] | None = None,
        keep: Callable[[float], None] | None = None,
    ) -> None:
        """Say how to end the bot, how to kill it, and whom to tell that its lease was extended.

        `end` is called at once where the bot must end already.
        """
        with self._lock:
            self._end, self._kill, self._keep = end, kill, keep
            due = self.reason is not None
        if keep is not None:
            keep(self.extended_at)  # there may have been a beat since the launch
        if due:
            end()

    def end(self, reason: Reason) -> None:
        """End the bot, for the first reason given."""
        with self._lock:
            if self.reason is not None:
                return
            self.reason, end = reason, self._end
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
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._log = logger("heartbeat")

    def start(self) -> None:
        """Beat from now on."""
        self._thread.start()

    def close(self) -> None:
        """Stop beating."""
        self._stopped.set()
        self._thread.join()

    @contextmanager
    def holding(self, job_id: uuid.UUID, attempt: int, *, since: float) -> Iterator[Hold]:
        """Keep an attempt's lease for the time of the block; `since` is an instant before its claim.

        An earlier attempt of the job that was taken away from this very worker is killed and waited for.
        """
        hold = Hold(job_id, attempt, since=since)
        while former := self._taken(hold):
            former.end(Reason.RUNNER_LOST)
            former.kill()
            with self._lock:
                self._lock.wait_for(lambda: self._holds.get(job_id) is not former, timeout=_KILL_AGAIN)
        try:
            yield hold
        finally:
            with self._lock:
                self._holds.pop(job_id, None)
                self._lock.notify_all()

    def _taken(self, hold: Hold) -> Hold | None:
        """Take the job's place for this hold, or answer who has it."""
        with self._lock:
            former = self._holds.setdefault(hold.job_id, hold)
        return None if former is hold else former

    def end_all(self, reason: Reason) -> None:
        """End every bot of this worker."""
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
        beat_at = 0.0
        while not self._stopped.wait(min(CANCEL_POLL, self._heartbeat).total_seconds()):
            try:
                if time.monotonic() - beat_at >= self._heartbeat.total_seconds():
                    beat_at = time.monotonic()
                    self._beat()
                else:
                    self._look_for_cancellations()
            except VaultError as error:
                self._log.warning("heartbeat.failed", error=str(error))
            except Exception:
                # Without this thread every lease would run out: whatever it was, the next beat tries again.
                self._log.exception("heartbeat.broken")
            self._end_what_may_be_lost()

    def _beat(self) -> None:
        self._each_beat()
        holds = {hold.job_id: hold for hold in self._current()}
        started = time.monotonic()
        with db.writing(self._engine) as session:
            draining = runners.beat(session, self._name, instance=self._instance)
            held = [(hold.job_id, hold.attempt) for hold in holds.values()]
            kept = dict(jobs.extend_leases(session, held, lease=self._lease))
        for job_id, hold in holds.items():
            if job_id not in kept:
                hold.end(Reason.RUNNER_LOST)
                continue
            hold.extended(started)
            if kept[job_id]:
                hold.end(Reason.CANCELLED)
        if draining or draining is None:
            self._drain()

    def _look_for_cancellations(self) -> None:
        holds = {hold.job_id: hold for hold in self._current()}
        if holds:
            with db.reading(self._engine) as session:
                cancelled = jobs.cancel_requests(session, list(holds))
            for job_id in cancelled:
                holds[job_id].end(Reason.CANCELLED)

    def _end_what_may_be_lost(self) -> None:
        longest = self._lease.total_seconds() * END_AFTER
        for hold in self._current():
            if time.monotonic() - hold.extended_at > longest:
                hold.end(Reason.RUNNER_LOST)
