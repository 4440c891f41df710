"""Claims beside a bare `UPDATE … RETURNING` by the driver alone, and the time from a death to the next attempt.

    python -m benchmarks.claims [--json] [--claims N] [--deaths N] [--store sqlite|postgresql]

- claim: one transaction of a runner, at 1, 2, 8 and 32 claimers in one process, each with jobs of its own
- bare: the same number of threads, each with a connection of the driver, the same table, the same number of rows
- death: from SIGKILL of the runner to the first line of the next attempt's bot on another runner
"""

from __future__ import annotations

import argparse
import json
import signal
import sqlite3
import statistics
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from sqlalchemy import Engine

from benchmarks.soak_yard import SHORT_HEARTBEAT, SHORT_LEASE, lease
from runner import bots, jobs, requests, workspaces
from runner.archive import canonical
from runner.jobs import Cause, Request
from runner.requests import Order
from tests.api import zipped
from tests.services import new_services
from tests.support import Started, Stores, start_process, wait_until
from tests.system import System, new_stores, running
from vault import db
from vault.audit import Actor
from vault.direct import Direct

CLAIMERS = (1, 2, 8, 32)

#: Seconds beyond the lease within which the next attempt must have begun.
BEYOND = 5.0

#: Waits the first time it runs; says when it began.
BOT = """
import json, os, time
given = json.load(open(os.environ["BOTKEEP_PARAMETERS_FILE"]))
attempt = os.environ["BOTKEEP_ATTEMPT"]
with open(given["stamp"] + attempt, "w") as stamp:
    stamp.write(repr(time.time()))
if attempt == "1":
    time.sleep(3600)
"""


@dataclass(frozen=True, slots=True)
class Yard:
    """A database with one bot."""

    engine: Engine
    direct: Direct
    stores: Stores
    request: Request

    def enqueue(self, count: int) -> list[uuid.UUID]:
        """The ids of new jobs."""
        with db.writing(self.engine) as session:
            return [jobs.enqueue(session, self.request, now=datetime.now(UTC)) for _ in range(count)]

    def claim(self, _job_id: uuid.UUID) -> None:
        """One claim as a runner makes it: of whichever job is next in the lane."""
        won = jobs.claim(self.direct, environment="dev", group="default", runner="one")
        assert won is not None


def main(argv: list[str]) -> int:
    """Print ours beside the baseline; non-zero when a death costs more than the lease and `BEYOND`."""
    options = _options(argv)
    services = new_services(on_disk=True)
    figures: dict[str, float] = {}
    try:
        for name in [options.store] if options.store else ["sqlite", "postgresql"]:
            with new_stores(services, services.postgres, _kind(name)) as (stores, _broker):
                figures |= {f"{name} {key}": value for key, value in _claims(stores, options.claims).items()}
                figures |= {f"{name} {key}": value for key, value in _deaths(stores, options.deaths).items()}
    finally:
        services.stop()
    return _report(figures, as_json=options.json)


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.claims")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--claims", type=int, default=640)
    parser.add_argument("--deaths", type=int, default=3)
    parser.add_argument("--store", choices=["sqlite", "postgresql"])
    return parser.parse_args(argv)


def _kind(store: str) -> str:
    return "embedded" if store == "sqlite" else "server"


def _claims(stores: Stores, count: int) -> dict[str, float]:
    figures: dict[str, float] = {}
    yard = _yard(stores)
    yard.claim(yard.enqueue(1)[0])  # builds what is built once
    for claimers in CLAIMERS:
        ours = _timed(yard.enqueue(count), claimers, lambda: yard.claim)
        with ExitStack() as connections:
            bare = _timed(yard.enqueue(count), claimers, lambda: connections.enter_context(_bare(stores)))
        for name, (seconds, elapsed) in (("claim", ours), ("bare", bare)):
            figures[f"{name} a second, {claimers} claimers"] = count / elapsed
            figures[f"{name} p50, ms, {claimers} claimers"] = 1000 * statistics.median(seconds)
            figures[f"{name} p99, ms, {claimers} claimers"] = 1000 * statistics.quantiles(seconds, n=100)[98]
    yard.direct.close()
    yard.engine.dispose()
    return figures


def _yard(stores: Stores) -> Yard:
    engine = db.engine(stores.database_url, pool_size=max(CLAIMERS))
    now = datetime.now(UTC)
    with db.writing(engine) as session:
        workspace = workspaces.default_workspace(session)
        package = canonical(zipped("print()"))
        bots.add(session, "bot", workspace_id=workspace, package=package, actor=Actor("benchmark"), now=now)
        request = requests.prepare(session, "bot", Order(workspace, Cause("benchmark", "benchmark")))
    return Yard(engine, Direct(engine), stores, request)


def _timed(
    ids: list[uuid.UUID], claimers: int, claimer: Callable[[], Callable[[uuid.UUID], None]]
) -> tuple[list[float], float]:
    """Seconds of each claim and of all; every claimer has its share of the jobs, and all begin at the same moment."""
    barrier = threading.Barrier(claimers)
    own = [claimer() for _ in range(claimers)]

    def work(number: int) -> list[float]:
        barrier.wait(60)
        seconds = []
        for job_id in ids[number::claimers]:
            begun = time.perf_counter()
            own[number](job_id)
            seconds.append(time.perf_counter() - begun)
        return seconds

    begun = time.perf_counter()
    with ThreadPoolExecutor(claimers) as pool:
        spent = [each for seconds in pool.map(work, range(claimers)) for each in seconds]
    return spent, time.perf_counter() - begun


@contextmanager
def _bare(stores: Stores) -> Iterator[Callable[[uuid.UUID], None]]:
    """One connection of the driver, and its claim: one statement in one transaction."""
    statement = (
        "UPDATE jobs SET state = 'running', attempt = attempt + 1, runner = 'one' WHERE id = {} AND state = 'queued' "
        "RETURNING attempt, bot_id, version_id, environment, parameters"
    )
    if stores.name == "embedded":
        lite = sqlite3.connect(stores.database_url.removeprefix("sqlite:///"), timeout=60, check_same_thread=False)
        lite.isolation_level = None
        lite.execute("PRAGMA synchronous = FULL")

        def claim_lite(job_id: uuid.UUID) -> None:
            lite.execute("BEGIN IMMEDIATE")
            row = lite.execute(statement.format("?"), (job_id.hex,)).fetchone()
            lite.execute("COMMIT")
            assert row, "the row was not there"

        yield claim_lite
        lite.close()
        return
    with psycopg.connect(stores.database_url.replace("+psycopg", "")) as connection:

        def claim(job_id: uuid.UUID) -> None:
            row = connection.execute(statement.format("%s"), (job_id,)).fetchone()
            connection.commit()
            assert row, "the row was not there"

        yield claim


def _deaths(stores: Stores, count: int) -> dict[str, float]:
    """Seconds from SIGKILL of a runner to the next attempt, on a system with two."""
    env = {"BOTKEEP_LEASE": str(SHORT_LEASE), "BOTKEEP_HEARTBEAT": str(SHORT_HEARTBEAT)}
    with running(stores, parts=("console", "scheduler"), env=env) as system:
        system.add_bot("waits", BOT, toml='retries = { limit = 3, delay = "0s" }\n')
        runners = {name: _runner(system, name) for name in ("runner-1", "runner-2")}
        try:
            spent = [_death(system, runners, system.shared / f"stamp-{number}-") for number in range(count)]
        finally:
            for each in runners.values():
                each.identity.kill_tree()
                each.popen.wait(10)
    seconds = [each for each in spent if each is not None]
    if not seconds:
        return {"deaths after which an attempt followed": 0}
    return {
        "death to next attempt, s, median": statistics.median(seconds),
        "death to next attempt, s, longest": max(seconds),
        f"lease and {BEYOND:g} s": lease() + BEYOND,
    }


def _runner(system: System, name: str) -> Started:
    argv = [sys.executable, "-m", "runner.worker", "--environment", "dev", "--name", name]
    started = start_process(argv, env=system.env, log_path=system.home / "process-logs" / f"{name}.log")
    started.wait_for("runner.ready", 100)
    return started


def _death(system: System, runners: dict[str, Started], stamp: Path) -> float | None:
    job_id = system.enqueue("waits", parameters={"stamp": str(stamp)})
    first, second = Path(f"{stamp}1"), Path(f"{stamp}2")
    wait_until(lambda: first.exists() and first.read_text(), 60, "the first attempt")
    name = system.job(job_id)["runner"]
    killed_at = time.time()
    runners[name].stop(signal.SIGKILL)

    def followed_or_ended() -> bool:
        return bool(second.exists() and second.read_text()) or system.job(job_id)["state"] == "failed"

    wait_until(followed_or_ended, lease() + 60, "the next attempt")
    runners[name] = _runner(system, name)
    return float(second.read_text()) - killed_at if second.exists() else None


def _report(figures: dict[str, float], *, as_json: bool) -> int:
    ratios = {
        f"{name.replace(' claim ', ' ').replace(', ms', '')}, times the bare one": value
        / figures[name.replace(" claim ", " bare ")]
        for name, value in figures.items()
        if " claim " in name
    }
    if as_json:
        print(json.dumps(figures | ratios))
    else:
        for name, value in (figures | ratios).items():
            print(f"{name:52} {value:10.2f}")
    late = [name for name, value in figures.items() if "longest" in name and value > lease() + BEYOND]
    return 1 if late or any("an attempt followed" in name for name in figures) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
