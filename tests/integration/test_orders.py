"""An order is one job of the newest version with its audit row, also in a process that knew an older one."""

import contextlib
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, func, select, text, update
from sqlalchemy.orm import Session

from console.api.job_item import job_item
from runner import bots, history, jobs, orders, workspaces
from runner.archive import canonical
from runner.errors import Conflict, Invalid, NotFound
from runner.history import Entry
from runner.jobs import Cause, Priority
from runner.models import Job
from runner.orders import Asker
from runner.preflight import Unset
from runner.requests import Order
from tests.api import zipped
from tests.support import Stores, wait_until
from vault import db
from vault.audit import Actor
from vault.direct import pooled
from vault.errors import InvalidToken, Unavailable
from vault.models import AuditEvent, Environment

NOW = datetime(2026, 11, 26, 11, 0, tzinfo=UTC)
ANN = Asker(Actor("ann", "192.0.2.7"), "job.enqueued")
DECLARES = "[parameters.month]\nrequired = true\n"


@dataclass(frozen=True, slots=True)
class Yard:
    """A database with a bot that was ordered once, so that this process remembers its version."""

    engine: Engine
    workspace_id: uuid.UUID
    plain: Order = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "plain", Order(self.workspace_id, Cause("api", "ann"), environment="dev"))

    def add(self, source: str = "print()", bot_toml: str = "") -> None:
        package = canonical(zipped(source, {"bot.toml": bot_toml} if bot_toml else {}))
        with db.writing(self.engine) as session:
            bots.add(session, "hello", workspace_id=self.workspace_id, package=package, actor=ANN.actor, now=NOW)

    def place(self, **different: Any) -> tuple[Entry, bool]:  # noqa: ANN401 - fields of an order
        return orders.place(self.engine, "hello", replace(self.plain, **different), asker=ANN, now=NOW)

    def at_once(self, **different: Any) -> Entry | None:  # noqa: ANN401 - fields of an order
        order = replace(self.plain, **different)
        return orders._at_once(self.engine, "hello", order, asker=ANN, now=NOW)

    def remove(self, session: Session) -> None:
        jobs.cancel_all(session, Job.workspace_id == self.workspace_id, actor=ANN.actor, now=NOW)
        bots.remove(session, "hello", workspace_id=self.workspace_id, actor=ANN.actor, now=NOW)

    def count(self) -> tuple[int, int]:
        """How many jobs there are, and how many audit rows of orders."""
        with db.reading(self.engine) as session:
            ordered = select(func.count()).select_from(AuditEvent).where(AuditEvent.action == ANN.action)
            return session.scalar(select(func.count()).select_from(Job)) or 0, session.scalar(ordered) or 0


@pytest.fixture
def yard(stores: Stores) -> Iterator[Yard]:
    engine = db.engine(stores.database_url)
    with db.reading(engine) as session:
        workspace_id = workspaces.default_workspace(session)
    yard = Yard(engine, workspace_id)
    yard.add()
    yard.place()
    yield yard
    engine.dispose()


def test_what_is_queued_at_once_is_what_an_order_that_is_looked_at_becomes(yard: Yard) -> None:
    given: dict[str, Any] = {"parameters": {"month": 8}, "group": "big", "priority": Priority.HIGH}
    yard.at_once(**given)
    entry = yard.at_once(**given, idempotency_key="k")
    looked_at, new = orders._looked_at(yard.engine, "hello", replace(yard.plain, **given), asker=ANN, now=NOW)
    assert entry is not None
    assert new
    with db.reading(yard.engine) as session:
        stored = history.entry(session, entry.job.id, workspace_id=yard.workspace_id)
        deeds = session.scalars(select(AuditEvent).order_by(AuditEvent.id.desc()).limit(2)).all()
        turns = session.scalars(select(Job.turn).where(Job.group_name == "big").order_by(Job.id)).all()
        published = session.scalars(select(Job.published_at.is_not(None))).all()
    assert job_item(entry) == job_item(stored)
    assert job_item(entry) == job_item(looked_at).model_copy(update={"id": entry.job.id})
    assert (stored.job.idempotency_key, stored.job.bot_id, turns) == ("k", entry.job.bot_id, [0, 1, 2])
    assert all(published)
    said = [
        (each.actor, each.address, each.action, each.environment, each.outcome, each.details, each.at, each.object)
        for each in deeds
    ]
    assert said == [
        ("ann", "192.0.2.7", "job.enqueued", "dev", "done", {}, NOW, f"job {job.id} of bot hello")
        for job in (looked_at.job, entry.job)
    ]


def test_an_order_runs_the_newest_version_whoever_added_it(yard: Yard) -> None:
    yard.add("print('two')")
    entry, _ = yard.place()
    assert entry.version == 2
    again = yard.at_once()
    assert again is not None
    assert again.version == 2


def test_an_order_is_checked_against_the_newest_version(yard: Yard) -> None:
    yard.add(bot_toml=DECLARES)
    with pytest.raises(Invalid, match="needs the parameter 'month'"):
        yard.place()
    with pytest.raises(Invalid, match="no parameter 'year'"):
        yard.place(parameters={"year": 2026})
    yard.add("print('any')")
    entry, _ = yard.place(parameters={"year": 2026})
    assert (entry.version, entry.job.parameters) == (3, {"year": 2026})
    assert yard.count() == (2, 2), "a refusal leaves neither a job nor its audit row"


def test_a_removed_bot_is_not_found(yard: Yard) -> None:
    with db.writing(yard.engine) as session:
        yard.remove(session)
    with pytest.raises(NotFound):
        yard.place()
    assert yard.count() == (1, 1)


def test_an_order_waits_for_a_removal_and_is_refused(yard: Yard) -> None:
    if yard.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    refused = threading.Event()

    def order() -> None:
        with pytest.raises(NotFound):
            yard.place()
        refused.set()

    ordering = threading.Thread(target=order)
    with db.writing(yard.engine) as session:
        yard.remove(session)
        ordering.start()
        waits = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        with db.reading(yard.engine) as watching:
            wait_until(lambda: watching.scalar(waits), 30, "the order to wait for the removal")
    ordering.join(30)
    assert refused.is_set()
    assert yard.count() == (1, 1)


def test_an_order_is_refused_once_its_environment_refuses_unset_values(yard: Yard) -> None:
    yard.add(bot_toml='assets = ["SAP.LOGIN"]\n')
    yard.place()
    assert yard.at_once() is not None
    policy = update(Environment).where(Environment.name == "dev")
    with db.writing(yard.engine) as session:
        session.execute(policy.values(unset="refuse"))
    for _ in range(2):
        with pytest.raises(Unset):
            yard.place()
    with db.writing(yard.engine) as session:
        session.execute(policy.values(unset="warn"))
    assert yard.place()[1]
    assert yard.at_once() is not None


def test_a_reference_is_looked_at_each_time(yard: Yard) -> None:
    for token, error in (("{{ASSET.SAP.LOGIN}}", Invalid), ("{{ASSET. SAP}}", InvalidToken)):
        with pytest.raises(error):
            yard.place(parameters={"login": token})
    assert yard.count() == (1, 1)


def test_a_key_answers_the_job_that_it_made_and_is_refused_for_another(yard: Yard) -> None:
    first = yard.at_once(idempotency_key="k", parameters={"month": 8})
    assert first is not None
    again, new = yard.place(idempotency_key="k", parameters={"month": 8})
    assert (again.job.id, new) == (first.job.id, False)
    with pytest.raises(Conflict):
        yard.place(idempotency_key="k", parameters={"month": 9})
    assert yard.place(idempotency_key="k", parameters={"month": 8}, environment=None)[0].job.id == first.job.id
    assert yard.count() == (2, 2)


def test_a_key_still_answers_when_a_newer_version_refuses_what_it_ordered(yard: Yard) -> None:
    first, _ = yard.place(idempotency_key="k")
    yard.add(bot_toml=DECLARES)
    again, new = yard.place(idempotency_key="k")
    assert (again.job.id, new) == (first.job.id, False)


def test_a_connection_that_was_refused_something_goes_back_as_it_was(yard: Yard) -> None:
    yard.place(idempotency_key="k")
    for _ in range(yard.engine.pool.size()):  # type: ignore[attr-defined]
        assert yard.at_once(idempotency_key="k") is None
    before = yard.count()

    def fail() -> None:
        with db.writing(yard.engine) as session:
            session.execute(update(Job).values(priority=2))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with db.reading(yard.engine) as session:
        assert set(session.scalars(select(Job.priority))) == {1}, "a writer's transaction was undone"
    assert yard.count() == before


def test_a_broken_connection_is_not_used_again(yard: Yard, caplog: pytest.LogCaptureFixture) -> None:
    if yard.engine.dialect.name == "sqlite":
        pytest.skip("there is no connection to break")
    kill = select(func.pg_terminate_backend(func.pg_backend_pid()))
    with pytest.raises(Unavailable), pooled(yard.engine) as run:
        run(kill, {})
    assert yard.at_once() is not None
    assert not caplog.records, "nobody asked the broken one to undo anything"


def test_a_restart_of_the_database_costs_one_order_however_many_connections_were_open(yard: Yard) -> None:
    if yard.engine.dialect.name == "sqlite":
        pytest.skip("there is no connection to break")
    with contextlib.ExitStack() as at_once:
        for _ in range(4):
            at_once.enter_context(pooled(yard.engine))
    with db.writing(yard.engine) as session:
        others = "datname = current_database() AND pid <> pg_backend_pid()"
        session.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"))
    with pytest.raises(Unavailable):
        yard.place()
    for _ in range(4):
        assert yard.place()[1]
