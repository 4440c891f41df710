"""Whole jobs beside a plain Celery task that does `subprocess.run` of the same bot, on the same broker, in one run.

    python -m benchmarks.jobs [--json] [--jobs N] [--latency N] [--store sqlite|postgresql]

Both workers run all the time and are measured in turns, three times; each figure is the median of its rounds.

- throughput: all jobs are queued, then counted until the last has ended
- latency: one job at a time, from before it is queued to the bot's first line
- CPU: of our processes outside the bot: queueing, the worker, and what starts bots; the bot's own is subtracted. Of the
  plain task: sending it, and its worker, whose children are the bots
- assets: the latency with 100 values in the workspace less that of the same bot which declares none, in turns
- memory: the worker idle, and for each further concurrent job (proportional set size, proc_pid_smaps(5)); the latter
  also with 100 values, whose masker each job then has
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from celery import Celery
from sqlalchemy import Engine, func, select, text

from benchmarks.plain import app as plain
from runner import bots, jobs, lanes, orders, workspaces
from runner.archive import canonical, pack
from runner.models import Attempt, Job
from runner.orders import Asker
from runner.requests import Order
from runner.states import FINAL
from runner.worker.environments import provide
from runner.worker.interpreters import own_interpreter
from tests.services import Services, new_services
from tests.support import Started, start_process, wait_until
from vault import assets, db
from vault.audit import Actor
from vault.names import AssetName

#: Bots at the same time, in both worlds.
CONCURRENCY = 4

#: How often each world is measured.
ROUNDS = 3

#: The same in both worlds: it prints a line and writes down when, to the file that its parameters name.
BOT = (
    "import os, time\nnow = time.time()\nprint('first line')\n"
    'stamp = open(os.environ["BOTKEEP_PARAMETERS_FILE"]).read().split(\'"\')[3]\n'
    'open(stamp, "w").write(repr(now))\n'
)
#: Of a bot that may see no asset of the workspace.
BARE = 'assets = ["NOTHING.*"]\n'
SLEEPER = "import time\nprint('asleep')\ntime.sleep(600)\n"

ACTOR = Actor("benchmark")
ASKER = Asker(ACTOR, "job.enqueue")


@dataclass(frozen=True, slots=True)
class Bench:
    """The stores, our runner, and the means to queue."""

    engine: Engine
    app: Celery
    workspace: uuid.UUID
    worker: Started
    stamps: Path

    def enqueue(self, bot: str, stamp: Path | None = None) -> uuid.UUID:
        """Queue one job as the console does, with its audit row."""
        parameters = {} if stamp is None else {"stamp": str(stamp)}
        order = Order(self.workspace, jobs.Cause("api", ACTOR.name), environment="dev", parameters=parameters)
        entry, _ = orders.place(self.engine, bot, order, asker=ASKER, now=datetime.now(UTC))
        job = entry.job
        lanes.publish(self.app, job.id, environment=job.environment, group=job.group_name, bot_id=job.bot_id)
        return job.id

    def ended(self) -> int:
        """How many jobs are final."""
        with db.reading(self.engine) as session:
            return session.scalar(select(func.count()).select_from(Job).where(Job.state.in_(FINAL))) or 0

    def bot_cpu(self) -> float:
        """Seconds of processor that all bots used so far."""
        with db.reading(self.engine) as session:
            return session.scalar(select(func.sum(Attempt.cpu_seconds))) or 0.0


def main(argv: list[str]) -> int:
    """Print ours beside the baseline; non-zero when a target is missed."""
    options = _options(argv)
    services = new_services(on_disk=True)
    try:
        with tempfile.TemporaryDirectory(prefix="bk") as folder:
            figures = _measure(services, Path(folder), options)
    finally:
        services.stop()
    return _report(figures, as_json=options.json)


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.jobs")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--latency", type=int, default=100)
    parser.add_argument("--store", choices=["sqlite", "postgresql"], default="sqlite")
    return parser.parse_args(argv)


def _measure(services: Services, folder: Path, options: argparse.Namespace) -> dict[str, float]:
    redis = services.redis("embedded" if options.store == "sqlite" else "server")
    jobs_each, latencies_each = options.jobs // ROUNDS, options.latency // ROUNDS
    with _plain(redis.url, folder) as worker, _ours(services, redis.url, folder, options.store) as bench:
        rounds = [
            _plain_throughput(worker, folder / f"plain-{number}", jobs_each)
            | _throughput(bench, f"{number}", jobs_each)
            | {"plain_latency_ms": _plain_latency(folder, f"{number}", latencies_each)}
            | {"ours_latency_ms": _latency(bench, latencies_each)}
            for number in range(ROUNDS)
        ]
        figures = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
        _, figures["worker_mb_per_job"] = _memory(bench)
        _hundred_assets(bench)
        _latencies(bench, 5, "tiny", "bare")
        with_all, with_none = _latencies(bench, options.latency, "tiny", "bare")
        figures |= {"ours_latency_100_assets_ms": with_all, "ours_latency_0_of_100_assets_ms": with_none}
        figures["worker_idle_mb"], figures["worker_mb_per_job_100_assets"] = _memory(bench)
    return figures


@contextmanager
def _plain(broker: str, folder: Path) -> Iterator[Started]:
    bot = folder / "plain_bot.py"
    bot.write_text(BOT)
    python = provide(None, root=folder / "environments", interpreter=own_interpreter(), environ=os.environ).python
    plain.conf.broker_url = broker
    worker = start_process(
        [
            sys.executable, "-m", "celery", "-A", "benchmarks.plain", "worker", "--pool=threads",
            f"--concurrency={CONCURRENCY}", "--without-gossip", "--without-mingle", "--without-heartbeat",
            "--loglevel=WARNING",
        ],
        env={"PLAIN_BROKER": broker, "PLAIN_PYTHON": str(python), "PLAIN_BOT": str(bot)},
        log_path=folder / "plain.log",
    )  # fmt: skip
    try:
        _one_plain(folder, "warm")
        yield worker
    finally:
        worker.stop()


def _plain_throughput(worker: Started, name: Path, count: int) -> dict[str, float]:
    before, _ = _cpu(worker.pid)
    started, sent = time.perf_counter(), time.process_time()
    stamps = [name.with_name(f"{name.name}-{number}") for number in range(count)]
    for stamp in stamps:
        plain.send_task("plain.run", args=(str(stamp),), ignore_result=True)
    sending = time.process_time() - sent
    wait_until(lambda: all(stamp.exists() for stamp in stamps), timeout=300, what="the plain tasks")
    elapsed = time.perf_counter() - started
    wait_until(lambda: not _children(worker.pid), timeout=60, what="the end of the plain bots")
    after, _ = _cpu(worker.pid)
    return {
        "plain_jobs_per_second": count / elapsed,
        "plain_cpu_ms_per_job": (sending + after - before) / count * 1000,
    }


def _plain_latency(folder: Path, name: str, count: int) -> float:
    return statistics.median(_one_plain(folder, f"single-{name}-{number}") for number in range(count))


def _one_plain(folder: Path, name: str) -> float:
    stamp = folder / f"plain-{name}"
    started = time.time()
    plain.send_task("plain.run", args=(str(stamp),), ignore_result=True)
    return (_stamped(stamp) - started) * 1000


def _stamped(stamp: Path) -> float:
    written = wait_until(lambda: stamp.exists() and stamp.read_text(), timeout=60, what="the bot's first line")
    return float(written)


@contextmanager
def _ours(services: Services, broker: str, folder: Path, store: str) -> Iterator[Bench]:
    home, stamps = folder / "home", folder / "stamps"
    home.mkdir(mode=0o700)
    stamps.mkdir()
    url = f"sqlite:///{home / 'botkeep.db'}"
    if store == "postgresql":
        url = services.postgres().create_database("benchmark")
    environment = {
        "BOTKEEP_HOME": str(home),
        "BOTKEEP_DATABASE_URL": url,
        "BOTKEEP_REDIS_URL": broker,
        "BOTKEEP_RUN_AS_ROOT": "true",
        "BOTKEEP_BOT_WRITABLE": json.dumps([str(stamps)]),
    }
    for words in (["runner.migrate"], ["vault", "keygen", "--env", "dev"]):
        start_process([sys.executable, "-m", *words], env=environment, log_path=folder / "setup.log").wait()
    words = [sys.executable, "-m", "runner.worker", "--environment", "dev", "--concurrency", str(CONCURRENCY)]
    worker = start_process(words, env=environment, log_path=folder / "worker.log")
    try:
        worker.wait_for("runner.ready", timeout=60)
        engine = db.engine(url)
        with db.writing(engine) as session:
            workspace = workspaces.default_workspace(session)
            for name, source, declared in (("tiny", BOT, ""), ("bare", BOT, BARE), ("sleeper", SLEEPER, "")):
                path = folder / name
                path.mkdir()
                (path / "main.py").write_text(source)
                (path / "bot.toml").write_text(f'name = "{name}"\nentry = "main.py"\n{declared}')
                package, now = canonical(pack(path)), datetime.now(UTC)
                bots.add(session, name, workspace_id=workspace, package=package, actor=ACTOR, now=now)
        bench = Bench(engine, lanes.transport(broker), workspace, worker, stamps)
        bench.enqueue("tiny", stamps / "warm")
        wait_until(lambda: bench.ended() == 1, timeout=60, what="the first job")
        yield bench
    finally:
        worker.stop()


def _throughput(bench: Bench, name: str, count: int) -> dict[str, float]:
    before = bench.ended()
    cpu, bot_cpu = _our_cpu(bench), bench.bot_cpu()
    started, queued = time.perf_counter(), time.process_time()
    for number in range(count):
        bench.enqueue("tiny", bench.stamps / f"ours-{name}-{number}")
    queueing = time.process_time() - queued
    last = bench.stamps / f"ours-{name}-{count - 1}"
    wait_until(lambda: last.exists() and bench.ended() == before + count, timeout=300, what="our jobs")
    elapsed = time.perf_counter() - started
    spent = {part: seconds - cpu[part] for part, seconds in _our_cpu(bench).items()} | {"queueing": queueing}
    spent["launching"] -= bench.bot_cpu() - bot_cpu
    return {
        "ours_jobs_per_second": count / elapsed,
        **{f"ours_cpu_ms_{part}": seconds / count * 1000 for part, seconds in spent.items()},
        "ours_cpu_ms_per_job": sum(spent.values()) / count * 1000,
    }


def _our_cpu(bench: Bench) -> dict[str, float]:
    """Processor seconds of the worker, and of the spawner with what it waited for (bots included)."""
    worker = _cpu(bench.worker.pid)
    below = [pid for child in _children(bench.worker.pid) for pid in (child, *_children(child))]
    return {"worker": worker[0], "launching": worker[1] + sum(sum(_cpu(pid)) for pid in below)}


def _cpu(pid: int) -> tuple[float, float]:
    """Processor seconds of a process, and of its children that it waited for (proc_pid_stat(5))."""
    fields = [int(field) for field in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]]
    ticks = os.sysconf("SC_CLK_TCK")
    return (fields[0] + fields[1]) / ticks, (fields[2] + fields[3]) / ticks


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def _latency(bench: Bench, count: int) -> float:
    (found,) = _latencies(bench, count, "tiny")
    return found


def _latencies(bench: Bench, count: int, *names: str) -> list[float]:
    """The median milliseconds of each of some bots, which are run in turns."""
    found: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(count):
        for name, latencies in found.items():
            stamp = bench.stamps / f"single-{uuid.uuid4().hex}"
            before = bench.ended()
            started = time.time()
            bench.enqueue(name, stamp)
            latencies.append((_stamped(stamp) - started) * 1000)
            _wait_for_end(bench, before)
    return [statistics.median(latencies) for latencies in found.values()]


def _wait_for_end(bench: Bench, before: int) -> None:
    wait_until(lambda: bench.ended() > before, timeout=60, what="the job's end")


def _hundred_assets(bench: Bench) -> None:
    with db.writing(bench.engine) as session:
        for number in range(100):
            assets.set_value(
                session,
                AssetName("BENCH", f"VALUE_{number}"),
                scope=assets.Scope(bench.workspace),
                environment="dev",
                plaintext=f"{uuid.uuid4()}".encode(),
                actor=ACTOR,
                now=datetime.now(UTC),
            )


def _memory(bench: Bench) -> tuple[float, float]:
    """MB of the worker when idle, and for each further job."""
    idle = _pss_mb(bench.worker.pid)
    for _ in range(CONCURRENCY):
        bench.enqueue("sleeper")
    wait_until(lambda: _running(bench) == CONCURRENCY, timeout=60, what="the sleeping bots")
    busy = _pss_mb(bench.worker.pid)
    with db.writing(bench.engine) as session:
        session.execute(text("UPDATE jobs SET cancel_requested_at = created_at WHERE state = 'running'"))
    wait_until(lambda: _running(bench) == 0, timeout=60, what="their end")
    return idle, max(0.0, busy - idle) / CONCURRENCY


def _running(bench: Bench) -> int:
    with db.reading(bench.engine) as session:
        return session.scalar(select(func.count()).select_from(Job).where(Job.state == "running")) or 0


def _pss_mb(pid: int) -> float:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) / 1024


def _report(figures: dict[str, float], *, as_json: bool) -> int:
    ratios = {
        "jobs per second, ours ÷ plain (≥ 0.8)": figures["ours_jobs_per_second"] / figures["plain_jobs_per_second"],
        "median latency, ours ÷ plain (≤ 1.3)": figures["ours_latency_ms"] / figures["plain_latency_ms"],
        "CPU outside the bot, ms a job (≤ 3)": figures["ours_cpu_ms_per_job"],
        "100 assets add, ms (≤ 2)": figures["ours_latency_100_assets_ms"] - figures["ours_latency_0_of_100_assets_ms"],
        "worker idle, MB (≤ 90)": figures["worker_idle_mb"],
        "worker, MB for each further job (≤ 0.2)": figures["worker_mb_per_job"],
    }
    beside = {"CPU outside the bot, ours ÷ plain": figures["ours_cpu_ms_per_job"] / figures["plain_cpu_ms_per_job"]}
    if as_json:
        print(json.dumps(figures | ratios | beside))
    else:
        for name, value in figures.items():
            print(f"{name:44} {value:10.2f}")
        for name, value in (ratios | beside).items():
            print(f"{name:44} {value:10.2f}")
    limits: tuple[Callable[[float], bool], ...] = (
        lambda value: value >= 0.8,
        lambda value: value <= 1.3,
        lambda value: value <= 3,
        lambda value: value <= 2,
        lambda value: value <= 90,
        lambda value: value <= 0.2,
    )
    return 0 if all(met(value) for met, value in zip(limits, ratios.values(), strict=True)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
