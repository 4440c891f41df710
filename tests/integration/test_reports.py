"""A worker writes the end of an attempt and claims the next job with it; what goes wrong there harms neither."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import create_engine, func, select, text

from runner import succession
from runner.jobs import Report
from runner.states import Reason, State
from runner.worker import reporting
from runner.worker.hints import Hint, Hints
from runner.worker.station import Station
from runner.worker.turn import Turn
from tests.integration.test_claims import DONE, Yard, yard
from tests.support import wait_until
from vault import db
from vault.errors import Unavailable

__all__ = ["yard"]


class Busy:
    """A full worker whose lane holds a hint, always."""

    def __init__(self, yard: Yard) -> None:
        settings = SimpleNamespace(runner_name="one", lease=60.0)
        self.station = cast("Station", SimpleNamespace(direct=yard.direct, engine=yard.engine, settings=settings))
        hint = Hint("dev", "default", lambda: None)
        hints: Any = SimpleNamespace(
            ask=lambda *_before, **_connect: None, answered=lambda **_patience: True, answer=lambda: hint
        )
        self.turn = Turn(hint, cast("Hints", hints), full=lambda: True)

    def next_job(self) -> object:
        following = self.turn.following()
        assert following is not None
        claimed = following.take()
        return None if claimed is None else claimed.claim.job_id


@pytest.mark.parametrize(
    ("report", "concurrency", "joins"),
    [
        (DONE, None, True),
        (DONE, 1, False),  # its end may let a job of another lane begin, which is looked for first
        (Report(State.FAILED, Reason.EXIT_CODE, exit_code=1), None, False),
    ],
)
def test_the_next_job_is_claimed_with_a_plain_end(
    yard: Yard, report: Report, concurrency: int | None, *, joins: bool
) -> None:
    first, second = yard.enqueue(concurrency=concurrency), yard.enqueue()
    claim = yard.claim()
    assert claim is not None
    busy = Busy(yard)
    assert reporting.write(busy.station, claim, report, turn=busy.turn) is not None
    assert (yard.state(first)[0], yard.state(second)[0]) == (report.state, "running" if joins else "queued")
    assert busy.next_job() == (second if joins else None)


@pytest.mark.parametrize("report", [DONE, Report(State.FAILED, Reason.EXIT_CODE, exit_code=1)])
def test_a_database_that_takes_no_changes_for_a_while_is_waited_for(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, report: Report
) -> None:
    """As one that is about to take over from another."""
    if yard.engine.dialect.name == "sqlite":
        pytest.skip("there is one server")
    job_id, claim = yard.enqueue(), yard.claim()
    assert claim is not None
    name, waits = yard.engine.url.database, []

    def follow(*, only: str) -> None:
        with able.connect() as session:
            session.execute(text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = {only}'))
            others = "datname = current_database() AND pid <> pg_backend_pid()"
            session.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"))
        yard.engine.dispose()
        yard.direct.release()

    def wait(pause: float) -> None:
        waits.append(pause)
        follow(only="off")

    monkeypatch.setattr("runner.worker.reporting.time.sleep", wait)
    changes = {"options": "-c default_transaction_read_only=off"}
    able = create_engine(yard.engine.url, isolation_level="AUTOCOMMIT", connect_args=changes)
    follow(only="on")
    assert reporting.write(Busy(yard).station, claim, report, turn=Busy(yard).turn) is not None
    able.dispose()
    assert len(waits) == 1
    assert yard.state(job_id) == (report.state, report.reason, 1)


def test_a_transaction_that_was_ended_while_its_process_was_frozen_is_begun_again(yard: Yard) -> None:
    if yard.engine.dialect.name == "sqlite":
        pytest.skip("there is nobody who would end it")

    def freeze() -> None:
        with yard.direct.transaction() as run:
            (mine,) = run(select(func.pg_backend_pid().label("pid")), {})
            run(text("SET idle_in_transaction_session_timeout = 1"), {})
            there = text(f"SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = {mine.pid}")
            with db.reading(yard.engine) as session:
                wait_until(lambda: session.scalar(there), 30, "the server to end it")
            run(select(func.now()), {})

    with pytest.raises(Unavailable):
        freeze()
    assert yard.claim() is None


@pytest.mark.parametrize("error", [Unavailable("away"), RuntimeError("broken")])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_an_end_is_written_alone_where_both_could_not_be_written(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, error: Exception, *, after: bool
) -> None:
    first, second = yard.enqueue(), yard.enqueue()
    claim = yard.claim()
    assert claim is not None
    real, calls = succession.finish_and_claim, []

    def broken(*arguments: Any, **words: Any) -> None:  # noqa: ANN401  (as the real one is called)
        calls.append(1)
        if after:  # as where the answer was lost
            real(*arguments, **words)
        raise error

    monkeypatch.setattr(succession, "finish_and_claim", broken)
    busy = Busy(yard)
    done = reporting.write(busy.station, claim, DONE, turn=busy.turn)
    assert (done is None) is after, "the end that was written is the one that counts"
    assert yard.state(first) == ("succeeded", None, 1)
    assert yard.state(second)[0] == ("running" if after else "queued"), (
        "a claim nobody knows of runs out with its lease"
    )
    assert len(calls) == 1
    assert busy.next_job() is None
