"""What a bot's way to a database costs: a million rows through the runner, beside the driver alone.

    python -m benchmarks.sources [--json] [--rows N] [--rounds N]

A PostgreSQL of its own holds a table of 10 columns (integers, texts, a decimal, a date, an instant, a boolean, a UUID,
a float). The sides take turns in one run: psycopg alone in a process (a cursor on the server, all rows fetched), and a
bot in a process that reads the same rows with the SDK, through the job's endpoint of another process that reads them
from the database. Misses its target when the bot gets less than half of the driver's rows a second, or when the memory
of the process in the middle grows by more than 64 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psycopg

from runner.connection_policy import ConnectionPolicy
from runner.definitions import check
from runner.worker import sql_source
from runner.worker.endpoint import Endpoint
from runner.worker.failures import SourceFailed
from runner.worker.filling import Values
from runner.worker.grant import Grant
from runner.worker.questions import Context, Opened, Question, Reply
from tests.services import PostgresServer
from vault.decrypt import Secret
from vault.names import AssetName

ROOT = Path(__file__).resolve().parent.parent

#: The least part of the driver's speed, and the most memory in bytes that the process in the middle may take.
SPEED, MEMORY = 0.5, 64 << 20

TABLE = """
    CREATE TABLE rows AS SELECT g AS id, 'name ' || g AS name, (g * 1.01)::numeric(12, 2) AS amount,
        date '2020-01-01' + g %% 1000 AS day, now() + g * interval '1 s' AS at, g %% 2 = 0 AS flag,
        gen_random_uuid() AS key, g * 0.5::float8 AS score, 'a longer text of some words ' || g AS note,
        g::bigint * 7 AS big
    FROM generate_series(1, %s) g
"""


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.sources", description="Rows through the runner.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        server = PostgresServer(Path(folder, "pg"), os.getpid())
        server.create()
        server.start()
        try:
            with server.connect() as connection:
                connection.execute(TABLE, (arguments.rows,))
            figures = measure(server, arguments.rounds)
        finally:
            server.stop()
    if arguments.json:
        print(json.dumps(figures))
    else:
        show(figures)
    return int(figures["speed"] < SPEED or figures["memory_mb"] > MEMORY >> 20)


def measure(server: PostgresServer, rounds: int) -> dict[str, float]:
    plain, ours, memory = [], [], []
    for _ in range(rounds):
        plain.append(told("plain", str(server.directory))["rows_a_second"])
        middle = subprocess.Popen(command("serve", str(server.directory)), stdout=subprocess.PIPE, cwd=ROOT, text=True)
        assert middle.stdout is not None
        place = json.loads(middle.stdout.readline())
        ours.append(told("read", place["url"], place["token"])["rows_a_second"])
        memory.append(json.loads(middle.communicate()[0])["grown"])
    return {
        "driver_rows_a_second": statistics.median(plain),
        "bot_rows_a_second": statistics.median(ours),
        "speed": statistics.median(ours) / statistics.median(plain),
        "memory_mb": max(memory) / (1 << 20),
    }


def show(figures: dict[str, float]) -> None:
    print(f"driver alone     {figures['driver_rows_a_second']:>12,.0f} rows/s")
    print(f"bot              {figures['bot_rows_a_second']:>12,.0f} rows/s")
    print(f"part             {figures['speed']:>12.2f}         target {SPEED:g} or more")
    print(f"runner's memory  {figures['memory_mb']:>12.1f} MB      target {MEMORY >> 20} or less")


def command(role: str, *words: str) -> list[str]:
    return [sys.executable, "-c", f"from benchmarks.sources import {role}; import sys; {role}(*sys.argv[1:])", *words]


def told(role: str, *words: str) -> dict[str, float]:
    done = subprocess.run(command(role, *words), cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout))


def plain(directory: str) -> None:
    """The driver alone."""
    began, count = time.perf_counter(), 0
    with (
        psycopg.connect(host=directory, user="postgres", dbname="postgres") as connection,
        connection.cursor(name="plain") as cursor,
    ):
        cursor.execute("SELECT * FROM rows")
        while rows := cursor.fetchmany(1000):
            count += len(rows)
    print(json.dumps({"rows_a_second": count / (time.perf_counter() - began)}))


def read(url: str, token: str) -> None:
    """The bot: every row, by the SDK."""
    sys.path.insert(0, str(ROOT / "sdk"))
    import botkeep  # noqa: PLC0415

    os.environ["BOTKEEP_ENDPOINT"], os.environ["BOTKEEP_TOKEN"] = url, token
    began, count = time.perf_counter(), 0
    for _row in botkeep.source("rows").tuples():
        count += 1
    print(json.dumps({"rows_a_second": count / (time.perf_counter() - began)}))


@dataclass
class Once:
    """The sources of one attempt that has one, as the endpoint asks them."""

    opened: Opened

    def names(self) -> list[str]:
        """The one source."""
        return ["rows"]

    def ask(self, _name: str, question: Question) -> Reply:
        """What the source answers."""
        return self.opened.answer(question)

    def sentence(self, name: str, failure: SourceFailed) -> str:
        """What went wrong."""
        return failure.sentence(name, "dev")


def serve(directory: str) -> None:
    """The process in the middle: says where it answers, and at the end how its memory grew."""
    values = Values({AssetName("DB", "PASSWORD"): Secret(b"unused")}, "dev", lambda _pairs: None)
    folders = (str(Path(directory).parent),)
    context = Context("rows", "dev", uuid.uuid4(), "bench", ConnectionPolicy(paths=folders), cast("Any", None))
    connection = f"host={directory} user=postgres dbname=postgres password='{{{{ASSET.DB.PASSWORD}}}}'"
    stored, _ = check("sql", {"connection": connection, "query": "SELECT * FROM rows", "row_limit": 0})
    endpoint = Endpoint()
    endpoint.start()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    source = Once(sql_source.open(stored, values, context))
    token = endpoint.admit(Grant(tuple, lambda _name: None, lambda _value: True, source))
    print(json.dumps({"url": endpoint.url, "token": token}), flush=True)
    while not idle(source.opened):
        time.sleep(0.05)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    source.opened.close(succeeded=True)
    endpoint.close()
    print(json.dumps({"grown": grown}))


_asked: list[bool] = []


def idle(opened: Opened) -> bool:
    """Whether the one question was asked and answered."""
    busy = bool(cast("Any", opened)._busy.locked())  # noqa: SLF001
    if busy:
        _asked.append(True)
    return bool(_asked) and not busy


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
