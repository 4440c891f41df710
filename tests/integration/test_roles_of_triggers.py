"""What fires triggers runs under each process's own database role."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Engine, select, update

from console.hook_keys import HookRing
from console.key_file import KeyFile
from runner import arrivals, bots, workspaces
from runner.archive import canonical
from runner.arrivals import Outcome
from runner.models import Job
from runner.started import runs_of
from runner.triggers import Firing, Kind, Trigger
from scheduler import advancing, calendars, completion, due, firing, flow_files, flows, pending, triggers
from scheduler.definitions import Style
from scheduler.queues import Queue
from scheduler.shots import Shot
from tests.api import TESTER, zipped
from tests.integration.ruled import ROLES, copy_of_ruled, ruled_cluster
from tests.services import PostgresServer
from vault import db

NOW = datetime(2031, 3, 3, 6, tzinfo=UTC)
SEVEN = NOW.replace(hour=7)


@pytest.fixture(scope="module")
def cluster(postgres: PostgresServer) -> Iterator[PostgresServer]:
    with ruled_cluster(postgres) as server:
        yield server


@pytest.fixture
def engines(cluster: PostgresServer) -> Iterator[dict[str, Engine]]:
    with copy_of_ruled(cluster) as name:
        made = {role: db.engine(cluster.url(name, user=f"botkeep_{role}"), pool_size=2) for role in ROLES}
        yield made
        for engine in made.values():
            engine.dispose()


def save(engines: dict[str, Engine], name: str, *, flow: str = "", **definition: object) -> UUID:
    """As the console does; answers the trigger's id. It starts the bot `hello`, or a queue of it."""
    with db.writing(engines["console"]) as session:
        workspace_id = workspaces.default_workspace(session)
        package = canonical(zipped("print('hello')\n"))
        bots.add(session, "hello", workspace_id=workspace_id, package=package, actor=TESTER, now=NOW)
        calendars.put(session, "free", ["2031-03-04"], workspace_id=workspace_id, actor=TESTER, now=NOW)
        if flow:
            queue = flow_files.from_json({"items": [{"bot": "hello"}]}, Queue)
            flows.save(session, flows.Kind.QUEUE, flow, queue, workspace_id=workspace_id, actor=TESTER, now=NOW)
        given = {**({"queue": flow} if flow else {"bot": "hello"}), **definition}
        return triggers.save(session, name, given, workspace_id=workspace_id, actor=TESTER, now=NOW).trigger.id


def test_the_scheduler_fires_what_the_console_saved(engines: dict[str, Engine]) -> None:
    save(engines, "daily", overlap="cancel_previous", schedule={"cron": "0 7 * * *", "calendars": ["free"]})
    for day in (0, 2):
        with db.writing(engines["scheduler"]) as session:
            claimed, fired = due.fire_batch(session, now=SEVEN + timedelta(days=day))
        assert (claimed, [one.state for one in fired]) == (1, ["started"])
    with db.reading(engines["scheduler"]) as session:
        assert list(session.scalars(select(Job.state).order_by(Job.id))) == ["cancelled", "queued"]


def test_a_runner_leaves_a_pending_firing_and_the_scheduler_starts_it(
    engines: dict[str, Engine], tmp_path: Path
) -> None:
    trigger_id = save(engines, "files", file={"folder": str(tmp_path)})
    with db.writing(engines["runner"]) as session:
        served = arrivals.watched(session, Kind.FILE, environments=["dev"], groups=["default"])
        assert [trigger.name for trigger in served] == ["files"]
        assert arrivals.arrive(session, trigger_id, "key", event={"name": "a.csv"})
        assert not arrivals.arrive(session, trigger_id, "key", event={"name": "a.csv"})
    with db.writing(engines["scheduler"]) as session:
        assert [one.state for one in pending.decide_batch(session)] == ["started"]
    with db.reading(engines["runner"]) as session:
        assert not arrivals.outcomes(session, trigger_id, ["key"])["key"].over


def test_a_queue_is_started_and_cancelled_by_the_scheduler_and_the_runner_sees_its_end(
    engines: dict[str, Engine], tmp_path: Path
) -> None:
    trigger_id = save(engines, "files", flow="q", overlap="cancel_previous", file={"folder": str(tmp_path)})
    for key in ("first", "second"):
        with db.writing(engines["runner"]) as session:
            assert arrivals.arrive(session, trigger_id, key, event={"name": key})
        with db.writing(engines["scheduler"]) as session:
            assert [one.state for one in pending.decide_batch(session)] == ["started"]
            run_id = advancing.due(session)[0]
            advancing.advance(session, run_id)
    with db.writing(engines["scheduler"]) as session:
        while found_due := advancing.due(session):
            for run_id in found_due:
                advancing.advance(session, run_id)
    with db.reading(engines["runner"]) as session:
        found = arrivals.outcomes(session, trigger_id, ["first", "second"])
        assert runs_of(session, list(session.scalars(select(Job.id)))) != []
    assert found == {"first": Outcome(over=True, succeeded=False), "second": Outcome(over=False, succeeded=False)}


def test_the_console_fires_deliveries_and_keeps_their_keys(engines: dict[str, Engine], tmp_path: Path) -> None:
    trigger_id = save(engines, "hook", webhook={"style": "github"})
    ring = HookRing(KeyFile(tmp_path / "hooks.key"))
    with db.writing(engines["console"]) as session:
        ring.set(session, trigger_id, style=Style.GITHUB, key="k" * 20, actor=TESTER, now=NOW)
    with db.writing(engines["console"]) as session:
        ring.set(session, trigger_id, style=Style.GITHUB, key="n" * 20, actor=TESTER, now=NOW)
        assert ring.proof(session, trigger_id, style=Style.GITHUB) == b"n" * 20
        trigger = session.get_one(Trigger, trigger_id)
        fired = [firing.fire(session, Shot(trigger, "delivery:1", NOW, event={}), now=NOW) for _ in range(2)]
        triggers.pause(session, trigger, actor=TESTER, now=NOW)
        triggers.resume(session, trigger, actor=TESTER, now=NOW)
        triggers.remove(session, trigger, actor=TESTER, now=NOW)
    assert [one.new for one in fired] == [True, False]
    with db.writing(engines["console"]) as session:
        assert len(session.scalars(select(Firing.id)).all()) == 1


def test_the_scheduler_finds_ends_and_remembers_how_far_it_looked(engines: dict[str, Engine]) -> None:
    trigger_id = save(engines, "after", environment="staging", completion={"bot": "hello", "environment": "dev"})
    with db.writing(engines["console"]) as session:
        session.execute(update(Trigger).where(Trigger.id == trigger_id).values(watched_until=NOW - timedelta(days=1)))
    with db.writing(engines["scheduler"]) as session:
        assert completion.fire_batch(session, trigger_id, now=NOW) == ([], False)
        assert session.get_one(Trigger, trigger_id).watched_until == NOW
