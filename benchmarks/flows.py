"""Queues and workflows: from a step's end to the next step's start, and what running workflows cost the scheduler.

    python -m benchmarks.flows [--json] [--steps N] [--workflows N] [--store sqlite|postgresql]

- step: from the end of a step's job (its row) to the claim of the next one's, on an idle system
- bare: from the insertion of a plain job to its claim, on the same system in the same run
- idle tick: one round of the scheduler over N running workflows of which none is due, beside one `SELECT 1`
- look: one look at a workflow of which a job has ended, which makes the next one
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise

from sqlalchemy import Engine, select, update

from runner import bots, lanes, workspaces
from runner.archive import canonical
from runner.jobs import Cause
from runner.models import Job
from runner.states import State
from scheduler import flows, runs
from scheduler.advancing import LONGEST_LOOK, Advancer
from scheduler.flows import Kind
from scheduler.models import Run
from scheduler.runs import Wanted
from tests.api import zipped
from tests.services import new_services
from tests.support import Stores, wait_until
from tests.system import System, new_stores, running
from vault import db
from vault.audit import Actor

KINDS = {"sqlite": "embedded", "postgresql": "server"}

#: The p50 of a step's turn may be so many times that of a plain job; its look and its hint come on top.
TARGET = 6.0


def main(argv: list[str]) -> int:
    """Print ours beside the baseline; non-zero when a step's turn takes `TARGET` times a plain job's, or longer."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flows")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--workflows", type=int, default=1000)
    parser.add_argument("--store", choices=KINDS)
    options = parser.parse_args(argv)
    services = new_services(on_disk=True)
    figures: dict[str, float] = {}
    try:
        for name in [options.store] if options.store else KINDS:
            with new_stores(services, services.postgres, KINDS[name]) as (stores, _broker):
                measured = _turns(stores, options.steps) | _ticks(stores, options.workflows)
                figures |= {f"{name} {key}": value for key, value in measured.items()}
    finally:
        services.stop()
    if options.json:
        print(json.dumps(figures))
    else:
        for key, value in figures.items():
            print(f"{key:44} {value:10.3f}")
    return 1 if any(value > TARGET for key, value in figures.items() if key.endswith("ratio")) else 0


def _turns(stores: Stores, steps: int) -> dict[str, float]:
    with running(stores) as system:
        system.add_bot("quick", "pass")
        system.run("quick")
        bare = [_waited(system, system.run("quick")["id"]) for _ in range(steps)]
        items = [{"bot": "quick", "name": f"s{place}"} for place in range(min(steps, 200))]
        system.client.post("/api/v1/queues", params={"name": "bench"}, json={"items": items})
        run_id = system.client.post("/api/v1/queues/bench/runs", json={}).json()["id"]

        def ended() -> bool:
            return str(system.client.get(f"/api/v1/runs/{run_id}").json()["state"]) != "running"

        wait_until(ended, 30 + steps, "the queue to end")
        with db.reading(system.engine) as session:
            query = select(Job.started_at, Job.finished_at).where(Job.cause_id == run_id).order_by(Job.id)
            rows = session.execute(query).all()
    gaps = [1000 * (later.started_at - former.finished_at).total_seconds() for former, later in pairwise(rows)]
    return {
        "step p50 ms": statistics.median(gaps),
        "step p95 ms": _p95(gaps),
        "bare p50 ms": statistics.median(bare),
        "bare p95 ms": _p95(bare),
        "step to bare, p50 ratio": statistics.median(gaps) / max(0.1, statistics.median(bare)),
    }


def _waited(system: System, job_id: str) -> float:
    """Milliseconds from a job's insertion to its claim, both by clocks of this machine."""
    job = system.job(job_id)
    begun, made = (datetime.fromisoformat(job[key]) for key in ("started_at", "created_at"))
    return 1000 * (begun - made).total_seconds()


def _ticks(stores: Stores, count: int) -> dict[str, float]:
    engine, now = db.engine(stores.database_url), datetime.now(UTC)
    advancer = Advancer(engine, lanes.transport(stores.redis_url))
    with db.writing(engine) as session:
        workspace = workspaces.default_workspace(session)
        package = canonical(zipped("pass"))
        bots.add(session, "b", workspace_id=workspace, package=package, actor=Actor("bench"), now=now)
        steps = {"a": {"bot": "b"}, "b": {"bot": "b", "after": "a"}, "c": {"bot": "b", "after": ["a", "b"]}}
        definition = flows.restored(Kind.WORKFLOW, {"steps": steps})
        saved = flows.save(
            session, Kind.WORKFLOW, "w", definition, workspace_id=workspace, actor=Actor("bench"), now=now
        )
        wanted = Wanted(Cause("api", "bench"), "bench")
        for _ in range(count):
            runs.start(session, saved.flow, wanted, now=now)
    first = _timed(advancer.look_at_due, 1)
    with db.writing(engine) as session:
        session.execute(update(Run).values(look_at=db.clock(LONGEST_LOOK)))
    idle = _timed(advancer.look_at_due, 20)
    one = _timed(lambda: _select(engine), 20)
    with db.writing(engine) as session:
        session.execute(
            update(Job).where(Job.state == State.QUEUED).values(state=State.SUCCEEDED, finished_at=db.clock())
        )
    look = _timed(advancer.look_at_due, 1) / count
    engine.dispose()
    return {
        "idle tick ms": idle,
        "SELECT 1 ms": one,
        "first look at a run ms": first / count,
        "look that makes the next step ms": look,
    }


def _select(engine: Engine) -> None:
    with db.reading(engine) as session:
        db.ready(session)


def _timed(do: Callable[[], object], times: int) -> float:
    """The median of so many times, in milliseconds."""
    found = []
    for _ in range(times):
        since = time.perf_counter()
        do()
        found.append(1000 * (time.perf_counter() - since))
    return statistics.median(found)


def _p95(values: list[float]) -> float:
    return sorted(values)[int(0.95 * (len(values) - 1))]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
