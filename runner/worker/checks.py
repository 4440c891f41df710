"""The thread that does what people ask of data sources without a job: it checks them, and reads them for fan-outs.

Promises a sentence for every check that it took, whatever happens. Looks when told to, and every `POLL` seconds by
itself, so that it works without Redis. At most `AT_ONCE` at the same time; the others are left to other runners.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from typing import Protocol, Self, TypeVar

from sqlalchemy.orm import Session

from runner import fan_outs, source_checks
from runner.errors import RunnerError
from runner.logging import logger
from runner.source_checks import Claim
from runner.worker import fanning, sources
from runner.worker.censor import Censor
from runner.worker.failures import SourceFailed
from runner.worker.masker import Masker
from runner.worker.questions import Answer
from runner.worker.station import Station
from runner.worker.unasked import Unasked
from vault import db
from vault.errors import Unavailable, VaultError

#: Seconds between two looks of its own.
POLL = 2.0

#: What one runner does at the same time.
AT_ONCE = 4

_log = logger()

Won = TypeVar("Won")
Given_co = TypeVar("Given_co", covariant=True)
_Waiting = Callable[[Session, Sequence[str]], uuid.UUID | None]


class _Claim(Protocol[Given_co]):
    def __call__(self, session: Session, found: uuid.UUID, /, *, runner: str) -> Given_co | None: ...


class Checks:
    """Does checks and fan-outs for one runner, from `start` to `close`."""

    def __init__(
        self,
        unasked: Unasked,
        *,
        environments: Sequence[str],
        censor: Censor,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._unasked, self._censor = unasked, censor
        self._environments = tuple(environments)
        self._stopping = stopping
        self._news, self._stopped = threading.Event(), threading.Event()
        self._free = threading.Semaphore(AT_ONCE)
        self._thread = threading.Thread(target=self._run, name="checks", daemon=True)

    @classmethod
    def of(cls, station: Station, *, stopping: Callable[[], bool]) -> Self:
        """Those of a worker."""
        environments = station.settings.environments
        return cls(Unasked.of(station), environments=environments, censor=station.censor, stopping=stopping)

    def start(self) -> None:
        """Take checks from now on."""
        self._thread.start()

    def look(self) -> None:
        """Look at once whether something waits."""
        self._news.set()

    def close(self) -> None:
        """Take no more; what runs ends by itself, or expires."""
        self._stopped.set()
        self._news.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._news.clear()
            try:
                while not self._stopping() and (self._take_check() or self._take_fan_out()):
                    pass
            except VaultError as error:
                _log.warning("checks.delayed", error=str(error))
            except Exception:
                # Without this thread nobody would answer: whatever it was, the next look tries again.
                _log.exception("checks.broken")
            self._news.wait(POLL)

    def _take_check(self) -> bool:
        return self._take(source_checks.waiting, source_checks.claim, self._check)

    def _take_fan_out(self) -> bool:
        return self._take(fan_outs.waiting, fan_outs.claim, self._fan_out)

    def _take(self, waiting: _Waiting, claim: _Claim[Won], work: Callable[[Won, Masker], None]) -> bool:
        """Take one of a kind where one waits and a place is free; true when it may be worth to look again."""
        if not self._free.acquire(blocking=False):
            return False
        begun = False
        try:
            with db.reading(self._unasked.engine) as session:
                found = waiting(session, self._environments)
            if found is None:
                return False
            with db.writing(self._unasked.engine) as session:
                won = claim(session, found, runner=self._unasked.runner)
            if won is not None:
                threading.Thread(target=self._do, args=(work, won), name="check", daemon=True).start()
                begun = True
            return True
        finally:
            if not begun:
                self._free.release()

    def _do(self, work: Callable[[Won, Masker], None], won: Won) -> None:
        masker = Masker()
        try:
            with self._censor.using(masker):
                work(won, masker)
        except VaultError as error:
            _log.warning("checks.delayed", error=str(error))
        except Exception:
            _log.exception("checks.broken")
        finally:
            self._unasked.direct.release()
            self._free.release()
            self._news.set()

    def _check(self, claim: Claim, masker: Masker) -> None:
        ok, sentence = self._verdict(claim, masker)
        with db.writing(self._unasked.engine) as session:
            document = {"sentence": sentence}
            source_checks.answer(session, claim.check_id, runner=self._unasked.runner, ok=ok, document=document)
        _log.info("source.checked", source=claim.name, environment=claim.environment, ok=ok)

    def _verdict(self, claim: Claim, masker: Masker) -> tuple[bool, str]:
        """Whether the source works, in one sentence without any value."""
        where = f"{claim.name} in {claim.environment}"
        row = claim.source
        if row is None:
            return False, f"{where}: the data source was removed."
        try:
            values, context = self._unasked.prepare(
                row, claim.environment, action="source.checked", requested_by=claim.requested_by, masker=masker
            )
            answer: Answer = sources.of_kind(row.kind).check(row.definition, values, context)
        except SourceFailed as failure:
            return False, masker.mask_text(failure.sentence(claim.name, claim.environment))
        except (RunnerError, VaultError) as error:
            return False, masker.mask_text(f"{where}: {error}")
        except Exception:
            _log.exception("check.broken", source=claim.name)
            return False, f"{where}: the check failed inside the runner {self._unasked.runner}; its log says more."
        return True, masker.mask_text(answer.sentence(claim.name, claim.environment))

    def _fan_out(self, claim: fan_outs.Claim, masker: Masker) -> None:
        def keep() -> bool:
            with db.writing(self._unasked.engine) as session:
                return fan_outs.keep(session, claim)

        try:
            batches, problem = fanning.batches(self._unasked, claim, masker=masker, keep=keep)
        except fanning.Lost:
            _log.warning("fan_out.lost", source=claim.name)
            return
        except Unavailable:
            raise
        except Exception:
            _log.exception("fan_out.broken", source=claim.name)
            batches, problem = [], f"{claim.name}: reading failed inside the runner; its log says more."
        with db.writing(self._unasked.engine) as session:
            if problem:
                fan_outs.fail(session, claim, problem)
            else:
                fan_outs.deliver(session, claim, batches)
        _log.info("source.fanned_out", source=claim.name, environment=claim.environment, batches=len(batches))
