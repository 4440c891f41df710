"""Queues, workflows and work items under the database role of each process that touches them."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, select

from runner import bots, jobs, results, work_items
from runner.archive import canonical, pack
from runner.jobs import Cause, Report
from runner.models import Job
from runner.states import State
from runner.work_items import Draft, Holder
from runner.workspaces import default_workspace
from scheduler import advancing, flows, runs, standing
from scheduler.flows import Kind
from scheduler.runs import Wanted
from tests.integration.ruled import copy_of_ruled, ruled_cluster
from tests.services import PostgresServer
from vault import db
from vault.audit import Actor
from vault.direct import Direct

NOW = datetime(2026, 8, 1, tzinfo=UTC)
ANN, BOB = Actor("ann"), Actor("bob")
STEPS = {
    "a": {"bot": "report"},
    "ask": {"after": "a", "approval": {}},
    "b": {"bot": "report", "after": "ask", "parameters": {"n": "{{STEP.a.n}}"}},
}


@pytest.fixture(scope="module")
def cluster(postgres: PostgresServer) -> Iterator[PostgresServer]:
    with ruled_cluster(postgres) as server:
        yield server


@pytest.fixture
def engines(cluster: PostgresServer) -> Iterator[dict[str, Engine]]:
    with copy_of_ruled(cluster) as name:
        found = {role: db.engine(cluster.url(name, f"botkeep_{role}")) for role in ("console", "scheduler", "runner")}
        yield found
        for engine in found.values():
            engine.dispose()


def test_a_workflow_passes_through_every_role(engines: dict[str, Engine], tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("print(1)\n")
    with db.writing(engines["console"]) as session:
        workspace = default_workspace(session)
        package = canonical(pack(tmp_path / "main.py"))
        bots.add(session, "report", workspace_id=workspace, package=package, actor=ANN, now=NOW)
        definition = flows.restored(Kind.WORKFLOW, {"steps": STEPS})
        saved = flows.save(session, Kind.WORKFLOW, "w", definition, workspace_id=workspace, actor=ANN, now=NOW)
        flows.pause(session, saved.flow, actor=ANN, now=NOW)
        flows.resume(session, saved.flow, actor=ANN, now=NOW)
        wanted = Wanted(Cause("api", "ann"), "ann", environment="prod")
        run = runs.start(session, saved.flow, wanted, now=NOW)
        runs.pause(session, run, actor=ANN, now=NOW)
        runs.resume(session, run, now=NOW)
    advance(engines, run.id)
    work(engines, n=3)
    advance(engines, run.id)
    with db.writing(engines["console"]) as session:
        found, flow = runs.require(session, run.id, workspace_id=workspace)
        runs.answer(session, found, "ask", allowed=True, comment="fine", actor=BOB, now=NOW)
        assert standing.outlook(session, found, flow, now=NOW)[0].steps["ask"].standing == "succeeded"
    advance(engines, run.id)
    work(engines)
    advance(engines, run.id)
    with db.writing(engines["console"]) as session:
        found, flow = runs.require(session, run.id, workspace_id=workspace)
        assert found.state == "succeeded"
        again = runs.restart(session, found, flow, wanted=wanted, step="b", now=NOW)
        runs.cancel(session, again, actor=ANN, now=NOW)
    advance(engines, again.id)


def advance(engines: dict[str, Engine], run_id: UUID) -> None:
    with db.reading(engines["scheduler"]) as session:
        assert run_id in advancing.due(session)
    with db.writing(engines["scheduler"]) as session:
        advancing.advance(session, run_id)


def work(engines: dict[str, Engine], **given: Any) -> None:  # noqa: ANN401 - JSON
    """One job from its claim to its end, with what its bot says of results and work items."""
    with closing(Direct(engines["runner"])) as direct:
        _work(engines, direct, given)


def _work(engines: dict[str, Engine], direct: Direct, given: Mapping[str, Any]) -> None:
    claim = jobs.claim(direct, environment="prod", group="default", runner="r1")
    assert claim is not None
    holder = Holder(claim.workspace_id, "prod", claim.job_id, claim.attempt)
    draft = Draft("tray", "prod", {"n": 1}, retries=0)
    with db.writing(engines["runner"]) as session:
        for key, value in given.items():
            results.give(session, claim.job_id, key, value, attempt=claim.attempt)
        work_items.add(session, draft, workspace_id=claim.workspace_id, by="job", now=NOW)
        item = work_items.reserve(session, "tray", holder=holder)
        assert item is not None
        work_items.complete(session, item.id, holder=holder, result={"ok": True})
        work_items.add(session, draft, workspace_id=claim.workspace_id, by="job", now=NOW)
        left = work_items.reserve(session, "tray", holder=holder)
        assert left is not None
    assert jobs.finish(direct, claim.job_id, attempt=claim.attempt, report=Report(State.SUCCEEDED, None))
    direct.close()
    with db.writing(engines["scheduler"]) as session:
        assert session.scalar(select(work_items.unsettled()))
        assert work_items.settle(session) == 1
    with db.writing(engines["console"]) as session:
        dead = work_items.require(session, left.id, workspace_id=claim.workspace_id)
        assert dead.state == "dead"
        work_items.retry(session, left.id, workspace_id=claim.workspace_id, now=NOW)
        work_items.remove(session, left.id, workspace_id=claim.workspace_id)


def test_the_scheduler_makes_no_job_of_a_bot_that_was_removed(engines: dict[str, Engine], tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("print(1)\n")
    with db.writing(engines["console"]) as session:
        workspace = default_workspace(session)
        package = canonical(pack(tmp_path / "main.py"))
        bots.add(session, "report", workspace_id=workspace, package=package, actor=ANN, now=NOW)
        definition = flows.restored(Kind.QUEUE, {"items": [{"bot": "report"}]})
        saved = flows.save(session, Kind.QUEUE, "q", definition, workspace_id=workspace, actor=ANN, now=NOW)
        run = runs.start(session, saved.flow, Wanted(Cause("api", "ann"), "ann"), now=NOW + timedelta(0))
        bots.remove(session, "report", workspace_id=workspace, actor=ANN, now=NOW)
    with db.writing(engines["scheduler"]) as session:
        done = advancing.advance(session, run.id)
        assert done.end is not None
        assert done.end.state == State.FAILED
        assert session.query(Job).count() == 0
