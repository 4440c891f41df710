"""No value that lives on one machine passes between console, database, broker and runner, in any form.

Taps on all three connections record a whole session: declare, set, run a bot that leaks all it has, reveal, list, lock,
export. Then the same taps prove that they would have noticed.
"""

import os
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import redis

from tests import canaries
from tests.canaries import Searcher
from tests.local_values import Said, local, local_process
from tests.services import PostgresServer, RedisServer
from tests.support import ROOT, Stores, wait_until
from tests.system import System, running
from tests.wire import Tap, tapped, to_port, to_socket


@dataclass(frozen=True, slots=True)
class Tapped:
    """A running system, of which nothing is said but through taps; its database by the straight way, too."""

    system: System
    client: httpx.Client
    database: Tap
    broker: Tap
    console: Tap
    database_url: str

    @property
    def taps(self) -> tuple[Tap, Tap, Tap]:
        return self.database, self.broker, self.console

    def local(self, *words: str | Path, given: bytes = b"") -> Said:
        said = local(self.system.env, *words, given=given)
        assert said.status == 0, (words, said.err)
        return said

    def ask(self, method: str, path: str, **request: object) -> httpx.Response:
        answer = self.client.request(method, f"/api/v1/{path}", **request)  # type: ignore[arg-type]  # httpx's own
        assert answer.status_code < 300, (path, answer.text)
        return answer


@pytest.fixture
def wired(postgres: PostgresServer, new_redis: Callable[[str], RedisServer]) -> Iterator[Tapped]:
    """PostgreSQL and Redis, as in production; every process is told the taps' addresses only."""
    name, server = f"wire_{os.getpid()}", new_redis("server")
    straight = postgres.create_database(name, template=postgres.migrated_template())
    with (
        tapped("the database", to_socket(f"{postgres.directory}/.s.PGSQL.5432")) as database,
        tapped("the broker", to_port(server.port)) as broker,
    ):
        address = f"postgresql+psycopg://postgres@127.0.0.1:{database.port}/{name}"
        stores = Stores("server", address, server.url.replace(f":{server.port}/", f":{broker.port}/"))
        with running(stores) as system:
            port = urllib.parse.urlsplit(str(system.client.base_url)).port
            assert port is not None
            with tapped("the console", to_port(port)) as console:
                headers = {"Authorization": f"Bearer {system.token}"}
                base = f"http://127.0.0.1:{console.port}"
                with httpx.Client(base_url=base, headers=headers, timeout=30, trust_env=False) as client:
                    yield Tapped(system, client, database, broker, console, straight)
    postgres.drop_database(name)


@pytest.mark.timeout(180)
def test_no_local_value_passes_between_the_processes_of_a_session(wired: Tapped, tmp_path: Path) -> None:
    values = {
        "LOGIN.PASSWORD": canaries.text("a password"),
        "BLOB.FILE": canaries.binary("a file"),
        "SSH.KEY": canaries.lines("a key"),
        "GLOBAL.APIKEY": canaries.plain("a token"),
    }
    passphrase = canaries.plain("the passphrase")
    wired.system.add_bot("leaks", (ROOT / "tests/bots/leaks.py").read_text())
    for name in values:
        wired.ask("PUT", f"assets/{name.replace('.', '/')}/local", params={"bot": "leaks", "description": "a word"})
    for name, canary in values.items():
        file = tmp_path / "value"
        file.write_bytes(canary.value)
        wired.local("set", "leaks", name, "--file", file)
        file.unlink()
    jobs = [run(wired, end) for end in ("", "raise")]
    wired.local("protect", "--with", "passphrase", given=passphrase.value + b"\n")
    wired.local("unlock", given=passphrase.value + b"\n")
    jobs.append(run(wired, "business"))
    shown = local_process(wired.system.env, "reveal", "leaks", "LOGIN.PASSWORD")
    assert shown.out == values["LOGIN.PASSWORD"].value
    for words in (("list", "--json"), ("status",), ("audit",)):
        wired.local(*words)
    wired.local("export", tmp_path / "export.json", given=passphrase.value + b"\n")
    wired.local("lock")
    assert run(wired, "")["reason"] == "undecryptable"
    for job in jobs:
        assert [reading["scope"] for reading in job["readings"]] == ["local"] * 4
        for path in (f"jobs/{job['id']}/log", f"jobs/{job['id']}/log/stream", f"jobs/{job['id']}/outputs"):
            wired.ask("GET", path)
    for path in ("local-values", "assets?bot=leaks", "coverage?bot=leaks", "runners", "audit", "jobs", "bots/leaks"):
        wired.ask("GET", path)
    searcher = Searcher([*values.values(), passphrase])
    found = searcher.look(place for tap in wired.taps for place in tap.places())
    found |= searcher.look(canaries.rows(wired.database_url))
    found |= searcher.look(canaries.files(wired.system.home))
    found |= searcher.look([("the export", (tmp_path / "export.json").read_bytes())])
    assert sorted(map(str, found)) == []
    assert all(tap.size > 20_000 for tap in wired.taps), "the taps heard a session"
    assert b"LOGIN" in b"".join(content for _, content in wired.database.places())
    notice_every_form(wired)


def run(wired: Tapped, end: str) -> dict[str, Any]:
    """A job at its end, asked for through the tap."""
    order = {"bot": "leaks", "parameters": {"end": end, "token": "x{{ASSET.GLOBAL.APIKEY}}y"}}
    job_id = wired.ask("POST", "jobs", json=order).json()["id"]

    def ended() -> dict[str, Any] | None:
        job: dict[str, Any] = wired.ask("GET", f"jobs/{job_id}").json()
        return job if job["state"] in {"succeeded", "failed"} else None

    found = wait_until(ended, 60, f"job {job_id} to end")
    assert found is not None
    return found


def notice_every_form(wired: Tapped) -> None:
    """Each form of a value, said on each of the three connections, is found there."""
    planted = canaries.text("planted")
    shapes = {shape for part in (planted.value, *planted.cores) for _, shape in canaries.forms(part)}
    host = f"host=127.0.0.1 port={wired.database.port} user=postgres dbname=postgres"
    searcher = Searcher([planted])
    with (
        psycopg.connect(host, autocommit=True) as database,
        redis.Redis.from_url(wired.system.stores.redis_url) as broker,
    ):
        for shape in shapes:
            database.execute("SELECT %b", (shape,))
            broker.echo(shape)
            wired.client.post("/api/v1/jobs", content=shape)
        for tap in wired.taps:
            forms = {hit.form for hit in searcher.look(tap.places())}
            assert {"raw", "hex", "base64 at 0", "URL", "UTF-16 LE", "UTF-16 BE"} <= forms, (tap.name, forms)
    # And what the product itself passes on: a value in a parameter reaches the console and the database.
    leak = canaries.plain("in a parameter")
    wired.system.add_bot("echoes", "import botkeep\n", toml='name = "echoes"\n[parameters.x]\n')
    order = {"bot": "echoes", "parameters": {"x": leak.value.decode()}}
    wired.ask("POST", "jobs", json=order)
    hits = {hit.place.partition(",")[0] for tap in wired.taps for hit in Searcher([leak]).look(tap.places())}
    assert hits == {"the console", "the database"}
