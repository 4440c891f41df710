"""What a job costs at least, whoever does it: the parts of `benchmarks.jobs` as bare as they can be, one after another.

    python -m benchmarks.floor [--json] [--count N] [--store sqlite|postgresql]

- message: a Celery task that does nothing, with the threads pool: its worker, and `send_task` in this process
- transactions: what a job cannot do without, by the driver alone: its row, its claim, its end, each committed
- launch: a process of ten lines that starts `true`, waits for it, and makes one line last (fdatasync(2))

Milliseconds of processor of our processes for each; that of the stores and of `true` is not in them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import psycopg

from benchmarks.plain import app as plain
from tests.services import Services, new_services
from tests.support import start_process, wait_until

#: Bots at the same time, as in `benchmarks.jobs`.
CONCURRENCY = 4

#: Its own processor time, without that of its children.
LAUNCHER = """
import os, resource, sys
journal = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
for _ in range(int(sys.argv[2])):
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
    os.write(journal, b'{"exit_code": 0}\\n' * 20)
    os.fdatasync(journal)
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime)
"""

COLUMNS = "id TEXT PRIMARY KEY, state TEXT, attempt INTEGER, parameters TEXT, runner TEXT, began TEXT, ended TEXT"


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floor")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--store", choices=["sqlite", "postgresql"], default="sqlite")
    options = parser.parse_args(argv)
    services = new_services(on_disk=True)
    try:
        with tempfile.TemporaryDirectory(prefix="bk") as folder:
            figures = measure(services, Path(folder), store=options.store, count=options.count)
    finally:
        services.stop()
    figures["sum"] = sum(figures.values())
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:28} {value:6.2f} ms")
    return 0


def measure(services: Services, folder: Path, *, store: str, count: int) -> dict[str, float]:
    broker = services.redis("embedded" if store == "sqlite" else "server").url
    execute = _sqlite(folder) if store == "sqlite" else _postgresql(services)
    return {
        **_message(broker, folder, count),
        "transactions": _transactions(execute, count),
        "launch": _launch(folder, count),
    }


def _message(broker: str, folder: Path, count: int) -> dict[str, float]:
    plain.conf.broker_url = broker
    words = ["-A", "benchmarks.floor_task", "worker", "--pool=threads", f"--concurrency={CONCURRENCY}"]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=WARNING"]
    done = folder / "done"
    worker = start_process(
        [sys.executable, "-m", "celery", *words, *quiet],
        env={"PLAIN_BROKER": broker, "FLOOR_DONE": str(done)},
        log_path=folder / "floor.log",
    )
    try:
        _send(1, done)
        before, sending = _cpu(worker.pid), time.process_time()
        for _ in range(count):
            plain.send_task("floor.nothing", ignore_result=True)
        sent = time.process_time() - sending
        _send(1, done)  # first in, first out, but for what other threads still do
        received = _cpu(worker.pid) - before
    finally:
        worker.stop()
    return {"message, sent": sent / count * 1000, "message, received": received / count * 1000}


def _send(count: int, done: Path) -> None:
    done.unlink(missing_ok=True)
    for _ in range(count):
        plain.send_task("floor.last", ignore_result=True)
    wait_until(done.exists, timeout=120, what="the last task")


def _cpu(pid: int) -> float:
    """Processor seconds of a process (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _sqlite(folder: Path) -> Callable[[str, tuple[object, ...]], object]:
    connection = sqlite3.connect(folder / "floor.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"CREATE TABLE jobs ({COLUMNS})")
    return lambda statement, values: connection.execute(statement, values).fetchall()


def _postgresql(services: Services) -> Callable[[str, tuple[object, ...]], object]:
    url = services.postgres().create_database("floor").replace("+psycopg", "")
    connection = psycopg.connect(url, autocommit=True)
    connection.execute(f"CREATE TABLE jobs ({COLUMNS})")

    def execute(statement: str, values: tuple[object, ...]) -> object:
        cursor = connection.execute(statement.replace("?", "%s").encode(), values)
        return cursor.fetchall() if cursor.description else None

    return execute


def _transactions(execute: Callable[[str, tuple[object, ...]], object], count: int) -> float:
    began = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(count):
        job = str(uuid.uuid4())
        execute("INSERT INTO jobs (id, state, attempt, parameters) VALUES (?, 'queued', 0, ?)", (job, '{"stamp": "x"}'))
        execute(
            "UPDATE jobs SET state = 'running', attempt = attempt + 1, runner = ?, began = ? WHERE id = ? AND "
            "state = 'queued' RETURNING id, attempt, parameters",
            ("one", "now", job),
        )
        execute(
            "UPDATE jobs SET state = 'succeeded', ended = ? WHERE id = ? AND state = 'running' AND attempt = 1",
            ("now", job),
        )
    used = resource.getrusage(resource.RUSAGE_SELF)
    return (used.ru_utime + used.ru_stime - began.ru_utime - began.ru_stime) / count * 1000


def _launch(folder: Path, count: int) -> float:
    words = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(folder / "journal")]

    def used(times: int) -> float:
        return float(subprocess.run([*words, str(times)], check=True, capture_output=True, text=True).stdout)

    return (used(count) - used(0)) / count * 1000


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
