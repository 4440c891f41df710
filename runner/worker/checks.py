"""The thread that does checks of data sources: it takes those of this runner's environments and answers them.

Promises a sentence for every check that it took, whatever happens, and that a reading of values for one is written
into the audit before they are opened. Looks when told to, and every `POLL` seconds by itself, so that it works without
Redis. At most `AT_ONCE` at the same time; the others are left to other runners.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from sqlalchemy import Engine

from runner import source_checks, sources, workspaces
from runner.errors import Invalid, RunnerError
from runner.logging import logger
from runner.source_checks import Claim
from runner.worker import filling
from runner.worker.censor import Censor
from runner.worker.failures import SourceFailed
from runner.worker.filling import Values
from runner.worker.keyring import Keyring
from runner.worker.masks import Masks
from runner.worker.questions import Answer, Context
from runner.worker.sources import KINDS
from vault import audit, db
from vault.audit import Actor
from vault.db import database_time
from vault.direct import Direct
from vault.errors import VaultError

#: Seconds between two looks of its own.
POLL = 2.0

#: Checks that one runner does at the same time.
AT_ONCE = 4

_log = logger()


class Checks:
    """Does checks for one runner, from `start` to `close`."""

    def __init__(
        self,
        engine: Engine,
        direct: Direct,
        keyring: Keyring,
        *,
        runner: str,
        environments: Sequence[str],
        censor: Censor,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._engine, self._direct, self._keyring, self._censor = engine, direct, keyring, censor
        self._runner, self._environments = runner, tuple(environments)
        self._stopping = stopping
        self._news, self._stopped = threading.Event(), threading.Event()
        self._free = threading.Semaphore(AT_ONCE)
        self._thread = threading.Thread(target=self._run, name="checks", daemon=True)

    def start(self) -> None:
        """Take checks from now on."""
        self._thread.start()

    def look(self) -> None:
        """Look at once whether one waits."""
        self._news.set()

    def close(self) -> None:
        """Take no more; those that run end by themselves, or expire."""
        self._stopped.set()
        self._news.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._news.clear()
            try:
                while not self._stopping() and self._take():
                    pass
            except VaultError as error:
                _log.warning("checks.delayed", error=str(error))
            except Exception:
                # Without this thread nobody would answer: whatever it was, the next look tries again.
                _log.exception("checks.broken")
            self._news.wait(POLL)

    def _take(self) -> bool:
        """Take a check where one waits and a place is free; true when it may be worth to look again."""
        with db.reading(self._engine) as session:
            check_id = source_checks.waiting(session, self._environments)
        if check_id is None or not self._free.acquire(blocking=False):
            return False
        try:
            with db.writing(self._engine) as session:
                claim = source_checks.claim(session, check_id, runner=self._runner)
            if claim is not None:
                threading.Thread(target=self._do, args=(claim,), name="check", daemon=True).start()
        except BaseException:
            self._free.release()
            raise
        if claim is None:
            self._free.release()
        return True

    def _do(self, claim: Claim) -> None:
        masks = Masks(self._censor)
        try:
            ok, sentence = self._verdict(claim, masks)
            with db.writing(self._engine) as session:
                source_checks.answer(
                    session, claim.check_id, runner=self._runner, ok=ok, document={"sentence": sentence}
                )
            _log.info("source.checked", source=claim.name, environment=claim.environment, ok=ok)
        except VaultError as error:
            _log.warning("checks.delayed", error=str(error))
        except Exception:
            _log.exception("checks.broken")
        finally:
            masks.close()
            self._direct.release()
            self._free.release()
            self._news.set()

    def _verdict(self, claim: Claim, masks: Masks) -> tuple[bool, str]:
        """Whether the source works, in one sentence without any value."""
        where = f"{claim.name} in {claim.environment}"
        try:
            answer = self._check(claim, masks)
        except SourceFailed as failure:
            return False, masks.masker.mask_text(failure.sentence(claim.name, claim.environment))
        except (RunnerError, VaultError) as error:
            return False, f"{where}: {error}"
        except Exception:
            _log.exception("check.broken", source=claim.name)
            return False, f"{where}: the check failed inside the runner {self._runner}; its log says more."
        if answer is None:
            return False, f"{where}: the data source was removed."
        return True, masks.masker.mask_text(answer.sentence(claim.name, claim.environment))

    def _check(self, claim: Claim, masks: Masks) -> Answer | None:
        row = claim.source
        if row is None:
            return None
        if claim.environment not in row.environments:
            raise Invalid(f"the data source is not open in {claim.environment} any more.")
        sealed = filling.take(
            self._direct, sources.references(row), workspace_id=claim.workspace_id, environment=claim.environment
        )
        with db.writing(self._engine) as session:
            policy = workspaces.connections(session, workspace_id=claim.workspace_id)
            audit.record(
                session,
                Actor(f"runner {self._runner}"),
                workspace_id=claim.workspace_id,
                action="source.checked",
                target=f"source {claim.name}",
                environment=claim.environment,
                now=database_time(session),
                details={"requested_by": claim.requested_by, "readings": filling.readings(sealed)},
            )
        values = Values(filling.opened(sealed, self._keyring), claim.environment, masks.learn)
        context = Context(
            source=claim.name,
            environment=claim.environment,
            workspace_id=claim.workspace_id,
            runner=self._runner,
            policy=policy,
            engine=self._engine,
        )
        return KINDS[row.kind].check(row.definition, values, context)
