"""Schedules and batches, ours beside the same work one by one.

    python -m benchmarks.triggers [--json] [--schedules N] [--idle N] [--jobs N] [--store sqlite|postgresql]

- burst: N schedules of 100 bots that are due in the same minute, until every job is inserted and published
- one by one: some of the same schedules, each in a transaction of its own
- idle: what a scheduler process uses of a core with N schedules of which none is due, and with none at all
- batch: jobs queued in batches of 500 and announced; single: one transaction and one message each
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine, func, insert, select
from uuid_utils.compat import uuid7

from runner import batches, bots, jobs, lanes, requests, workspaces
from runner.archive import canonical
from runner.jobs import Cause, Request
from runner.logging import configure
from runner.models import Job
from runner.requests import Order
from runner.triggers import Trigger
from scheduler import due
from tests.api import zipped
from tests.services import Services, new_services
from tests.support import Stores, start_process
from tests.system import new_stores
from vault import db
from vault.audit import Actor

#: What the burst may take in seconds, an idle scheduler of a core in percent, and jobs a second in batches.
MOST_SECONDS, MOST_IDLE, LEAST_JOBS = 10.0, 0.5, 2000.0

BOTS, BATCH, ONE_BY_ONE = 100, 500, 200

SCHEDULE = {"cron": "*/5 * * * *", "zone": "Europe/Berlin"}

#: Seconds over which an idle scheduler is watched.
WATCHED = 20.0

ACTOR = Actor("benchmark")


@dataclass(frozen=True, slots=True)
class Yard:
    """A database with bots, and a broker."""

    engine: Engine
    stores: Stores
    requests: list[Request]

    def add_schedules(self, count: int, *, next_at: datetime) -> None:
        """Schedules of each minute that wait for `next_at`."""
        now = datetime.now(UTC)
        rows = [
            {
                "id": uuid7(),
                "workspace_id": self.requests[0].workspace_id,
                "name": f"t{number}",
                "kind": "schedule",
                "target_kind": "bot",
                "target": f"bot{number % BOTS}",
                "environment": "dev",
                "group_name": "default",
                "parameters": {"number": number},
                "definition": {
                    "bot": f"bot{number % BOTS}",
                    "schedule": {"cron": "*/5 * * * *", "zone": "Europe/Berlin"},
                },
                "enabled": True,
                "next_instant": next_at,
                "next_fire_at": next_at,
                "created_at": now,
                "created_by": "benchmark",
                "changed_at": now,
            }
            for number in range(count)
        ]
        with db.writing(self.engine) as session:
            for start in range(0, count, 5000):
                session.connection().execute(insert(Trigger), rows[start : start + 5000])

    def count(self) -> int:
        with db.reading(self.engine) as session:
            return session.scalar(select(func.count()).select_from(Job)) or 0


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.triggers", description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--schedules", type=int, default=10_000)
    parser.add_argument("--idle", type=int, default=100_000)
    parser.add_argument("--jobs", type=int, default=5_000)
    parser.add_argument("--store", choices=["sqlite", "postgresql"], default="postgresql")
    given = parser.parse_args(argv)
    configure("benchmark", level="warning")
    services = new_services(on_disk=True)
    try:
        figures = {
            **_burst(services, given.store, given.schedules),
            **_idle(services, given.store, given.idle),
            **_batches(services, given.store, given.jobs),
        }
    finally:
        services.stop()
    return _report(figures, given)


def _burst(services: Services, store: str, count: int) -> dict[str, float]:
    minute = datetime.now(UTC).replace(second=0, microsecond=0)
    minute -= timedelta(minutes=minute.minute % 5)
    with _yard(services, store) as yard:
        app = lanes.transport(yard.stores.redis_url)
        yard.add_schedules(count, next_at=minute)
        begun = time.perf_counter()
        due.fire_due(yard.engine, app)
        burst = time.perf_counter() - begun
        assert yard.count() == count, yard.count()
        assert lanes.depth(app, environment="dev") == count
    with _yard(services, store) as yard:
        app = lanes.transport(yard.stores.redis_url)
        some = min(ONE_BY_ONE, count)
        yard.add_schedules(some, next_at=minute)
        begun = time.perf_counter()
        for _ in range(some):
            with db.writing(yard.engine) as session:
                _, fired = due.fire_batch(session, now=datetime.now(UTC), limit=1)
            batches.announce(app, fired[0].queued)
        single = (time.perf_counter() - begun) / some * count
    return {"burst_seconds": burst, "one_by_one_seconds": single, "burst_ratio": single / burst}


def _idle(services: Services, store: str, count: int) -> dict[str, float]:
    later = datetime.now(UTC) + timedelta(days=1)
    used = {}
    for name, schedules in (("empty", 0), ("idle", count)):
        with _yard(services, store) as yard, tempfile.TemporaryDirectory() as folder:
            if schedules:
                yard.add_schedules(schedules, next_at=later)
            environment = {**yard.stores.environment, "BOTKEEP_HOME": folder}
            command = [sys.executable, "-m", "scheduler"]
            process = start_process(command, env=environment, log_path=Path(folder) / "log")
            try:
                process.wait_for("scheduler.ready", 60)
                time.sleep(2)  # its first looks load what they need
                before, begun = _cpu(process.pid), time.perf_counter()
                time.sleep(WATCHED)
                used[name] = (_cpu(process.pid) - before) / (time.perf_counter() - begun) * 100
            finally:
                process.stop()
    return {"idle_percent": used["idle"], "empty_percent": used["empty"]}


def _batches(services: Services, store: str, count: int) -> dict[str, float]:
    with _yard(services, store) as yard:
        app = lanes.transport(yard.stores.redis_url)

        def batch() -> None:
            for start in range(0, count, BATCH):
                some = [yard.requests[number % BOTS] for number in range(start, min(start + BATCH, count))]
                with db.writing(yard.engine) as session:
                    queued = batches.enqueue(session, some, now=datetime.now(UTC))
                assert batches.announce(app, queued)

        def single() -> None:
            for number in range(count // 10):
                request = yard.requests[number % BOTS]
                with db.writing(yard.engine) as session:
                    job_id = jobs.enqueue(session, request, now=datetime.now(UTC))
                assert lanes.publish(app, job_id, environment="dev", group="default")

        return {
            "batch_jobs_per_second": count / _seconds(batch),
            "single_jobs_per_second": count // 10 / _seconds(single),
        }


def _seconds(work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _cpu(pid: int) -> float:
    """Seconds of processor time, of user and system (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _yard(services: Services, store: str) -> Iterator[Yard]:
    kind = "embedded" if store == "sqlite" else "server"
    with new_stores(services, services.postgres, kind) as (stores, broker):
        broker.empty()
        engine = db.engine(stores.database_url)
        now = datetime.now(UTC)
        package = canonical(zipped("print('hello')\n"))
        with db.writing(engine) as session:
            workspace_id = workspaces.default_workspace(session)
            for number in range(BOTS):
                bots.add(session, f"bot{number}", workspace_id=workspace_id, package=package, actor=ACTOR, now=now)
            wanted = [
                requests.prepare(session, f"bot{number}", Order(workspace_id, Cause("api", "benchmark")))
                for number in range(BOTS)
            ]
        yield Yard(engine, stores, wanted)
        engine.dispose()


def _report(figures: dict[str, float], given: argparse.Namespace) -> int:
    met = (
        figures["burst_seconds"] <= MOST_SECONDS
        and figures["idle_percent"] <= MOST_IDLE
        and (figures["batch_jobs_per_second"] >= LEAST_JOBS or given.store == "sqlite")
    )
    if given.json:
        print(json.dumps(figures))
        return 0 if met else 1
    print(f"{given.schedules:,} schedules of one minute (≤ {MOST_SECONDS:g} s): {figures['burst_seconds']:.2f} s")
    print(f"  one by one: {figures['one_by_one_seconds']:.2f} s, {figures['burst_ratio']:.1f} times as long")
    print(f"scheduler with {given.idle:,} schedules (≤ {MOST_IDLE:g} % of a core): {figures['idle_percent']:.2f} %")
    print(f"  with none: {figures['empty_percent']:.2f} %")
    print(f"jobs in batches of {BATCH} (≥ {LEAST_JOBS:g}/s on PostgreSQL): {figures['batch_jobs_per_second']:,.0f}/s")
    print(f"  one by one: {figures['single_jobs_per_second']:,.0f}/s")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
