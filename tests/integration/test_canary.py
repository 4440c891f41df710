"""No value is where it does not belong: not in an answer, a file, the broker, /proc or memory, in any form.

First a recorded session with bots that print all they are given, on each pair of stores. Then the proof that the
search would notice: every form, planted in every kind of place, is found.
"""

import base64
import contextlib
import json
import os
import shutil
import sqlite3
import tomllib
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest
import redis

from tests import canaries, recorder
from tests.canaries import Canary, Place, Searcher
from tests.conftest import Start
from tests.recorder import Seen
from tests.services import PostgresServer, RedisServer
from tests.session import (
    BOTKEEP,
    SHELL_COMMAND,
    Session,
    add_bots,
    ask_for_everything,
    run_bots,
    set_refused_values,
    set_values,
)
from tests.support import ROOT, ProcessId, Started, clean_environment, descendants, wait_until


@pytest.fixture(params=["embedded", "server"])
def where(
    request: pytest.FixtureRequest, new_redis: Callable[[str], RedisServer], home: Path
) -> Iterator[tuple[dict[str, str], tuple[Path, ...]]]:
    """What configures `botkeep up`, and the folders of its stores outside the home."""
    if request.param == "embedded":
        yield {}, ()
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name, broker = f"canary_{os.getpid()}", new_redis("server")
    url = server.create_database(name)
    yield {"BOTKEEP_DATABASE_URL": url, "BOTKEEP_REDIS_URL": broker.url}, (server.data, broker.directory)
    server.drop_database(name)


@pytest.fixture
def up(where: tuple[dict[str, str], tuple[Path, ...]], start: Start, home: Path, tmp_path: Path) -> Started:
    """Every process of Botkeep, whose temporary files are below `tmp_path`, too."""
    (tmp_path / "tmp").mkdir()
    own = {"TMPDIR": str(tmp_path / "tmp"), "BOTKEEP_RUN_AS_ROOT": "true"}
    own["BOTKEEP_BOT_WRITABLE"] = json.dumps([str(tmp_path)])  # the bots wait at pipes there
    started = start(BOTKEEP, "up", "--port", "0", env={**where[0], **own}, name="up")
    started.wait_for("Botkeep is ready at", 120)
    return started


@pytest.fixture
def session(
    up: Started, where: tuple[dict[str, str], tuple[Path, ...]], home: Path, tmp_path: Path
) -> Iterator[Session]:
    """A client of it, through the recording proxy."""
    url, token = tomllib.loads((home / "client.toml").read_text()).values()
    broker_url = where[0].get("BOTKEEP_REDIS_URL") or (home / "broker/url").read_text().strip()
    broker = redis.Redis.from_url(broker_url.replace("redis+socket", "unix").replace("?virtual_host", "?db"))
    with recorder.proxy(url) as (address, exchanges), broker:
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=address, headers=headers, timeout=60, trust_env=False) as client:
            yield Session(
                home=home,
                database_url=where[0].get("BOTKEEP_DATABASE_URL", f"sqlite:///{home}/botkeep.db"),
                broker=broker,
                stores=where[1],
                folder=tmp_path,
                environ={**clean_environment(), "BOTKEEP_URL": address, "BOTKEEP_TOKEN": token},
                client=client,
                exchanges=exchanges,
            )


@pytest.mark.timeout(240)
def test_no_value_is_found_after_a_session(session: Session, up: Started) -> None:
    with recorder.monitored(session.broker) as commands, recorder.watched(os.getpid()) as seen:
        add_bots(session)
        set_values(session)
        set_refused_values(session)
        jobs = run_bots(session, seen)
        ask_for_everything(session, jobs)
        searcher = Searcher(session.planted)
        found = searcher.look(canaries.keys(session.broker))
        found |= searcher.look(canaries.memory(int(session.broker.info()["process_id"])))
        found |= searcher.look(canaries.memory(process_of(seen, b"-m\0scheduler\0", below=up.pid).pid))
        found |= searcher.look(session.kept())
    found |= searcher.look(("MONITOR", command) for command in commands)
    found |= searcher.look(recorder.traffic(session.exchanges))
    found |= searcher.look(recorder.shown_by_proc(seen, owns_values=is_of_a_bot))
    found |= searcher.look(("what a command said", text) for text in session.said)
    assert up.stop() == 0
    found |= searcher.look(session.kept())
    assert sorted(map(str, found)) == []
    assert_all_was_recorded(session, searcher, jobs=jobs, seen=seen, commands=commands)


def is_of_a_bot(seen: Seen) -> bool:
    """A command's environment is its own, and so is that of what a bot starts; that of a Python bot shows no value."""
    return seen.cmdline == SHELL_COMMAND or BOTS_CHILD in seen.cmdline


def process_of(seen: set[Seen], words: bytes, *, below: int) -> ProcessId:
    """The living process below another with these words in its command line."""
    family = set(descendants(below))
    (process,) = {each.process for each in seen if words in each.cmdline and each.process in family}
    return process


def assert_all_was_recorded(
    session: Session, searcher: Searcher, *, jobs: list[str], seen: set[Seen], commands: list[bytes]
) -> None:
    """An empty record holds no value either; so this one must have what the session is known to have done."""
    for words in (b"-m\0console\0", b"-m\0scheduler\0", b"-m\0runner.worker\0", b"spawner", b"bootstrap.py\0"):
        assert any(words in each.cmdline for each in seen), words
    own = searcher.look(("its environment", each.environ) for each in seen if is_of_a_bot(each))
    assert {hit.canary for hit in own} >= {"LOGIN.PASSWORD, prod", "SSH.KEY, prod", "GLOBAL.APIKEY, prod"}
    sent = searcher.look(("a request", each.request_body) for each in session.exchanges if each.sets_a_value)
    assert {hit.canary for hit in sent} == {canary.name for canary in session.planted}
    for job in jobs:
        (file,) = (session.home / "logs/jobs").rglob(f"{job}.1.log")
        log = canaries.text_of(file.read_bytes())
        assert log.count(b"***") >= (0 if b"no text" in log else 3), log.decode()
    answers = b"".join(each.answer for each in session.exchanges)
    assert answers.count(b"before *** after") >= 200
    assert any(b"botkeep.look" in command or b"PUSH" in command for command in commands)
    assert b'"job.finished"' in (session.home / "logs/runner.log").read_bytes()


# The search itself: each form of each kind of value is a canary of its own, so that the name of what is found says
# which form it was.


def in_json(content: bytes, *, ascii_only: bool = True) -> bytes:
    return json.dumps([content.decode(errors="replace")], ensure_ascii=ascii_only).encode()


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "raw": bytes,
    "base64": base64.b64encode,
    "base64, one byte on": lambda value: base64.b64encode(b"x" + value + b"yz"),
    "base64, two bytes on": lambda value: base64.b64encode(b"xx" + value + b"y"),
    "base64url": lambda value: base64.urlsafe_b64encode(b"x" + value + b"\xff"),
    "hex": lambda value: value.hex().encode(),
    "HEX": lambda value: value.hex().upper().encode(),
    "URL": lambda value: urllib.parse.quote(value).encode(),
    "URL, all of it": lambda value: urllib.parse.quote(value, safe="").encode(),
    "form": lambda value: urllib.parse.quote_plus(value).encode(),
    "repr": lambda value: repr(value).encode(),
}
TEXT_FORMS: dict[str, Callable[[bytes], bytes]] = {
    "UTF-16 LE": lambda value: value.decode().encode("utf-16-le"),
    "UTF-16 BE": lambda value: value.decode().encode("utf-16-be"),
    "UTF-16 in JSON": lambda value: in_json(value.decode().encode("utf-16-le")),
    "JSON": in_json,
    "JSON, not ASCII": lambda value: in_json(value, ascii_only=False),
    "repr of text": lambda value: repr(value.decode()).encode(),
    "repr in JSON": lambda value: in_json(repr(value.decode()).encode()),
    "log line": lambda value: in_json(b"token=" + base64.b64encode(value) + b";"),
}
#: What the child of the bot `leaks` says in its command line.
BOTS_CHILD = b"raise RuntimeError(value)"

KINDS = {"text": canaries.text, "plain": canaries.plain, "lines": canaries.lines, "binary": canaries.binary}


class Plants:
    """One canary for each form of each kind of value; `shapes` is what is to be planted."""

    def __init__(self) -> None:
        self.canaries: list[Canary] = []
        self.shapes: list[bytes] = []
        for kind, make in KINDS.items():
            for form, shape in (FORMS if kind == "binary" else FORMS | TEXT_FORMS).items():
                canary = make(f"{kind} as {form}")
                self.canaries.append(canary)
                self.shapes.append(b"x " + shape(canary.value) + b" y")

    def missed(self, places: Iterable[Place]) -> list[str]:
        """What the search does not find there."""
        found = {hit.canary for hit in Searcher(self.canaries).look(places)}
        return [canary.name for canary in self.canaries if canary.name not in found]


@pytest.fixture(scope="module")
def plants() -> Plants:
    return Plants()


def test_the_search_finds_every_form_in_files(plants: Plants, tmp_path: Path) -> None:
    for number, shape in enumerate(plants.shapes):
        (tmp_path / f"{number}").write_bytes(shape)
    assert plants.missed(canaries.files(tmp_path)) == []


def test_the_search_finds_a_value_that_is_a_file_s_name(tmp_path: Path) -> None:
    canary = canaries.plain("a name")
    (tmp_path / canary.value.decode()).touch()
    assert {hit.canary for hit in Searcher([canary]).look(canaries.files(tmp_path))} == {"a name"}


def test_the_search_finds_nothing_where_nothing_is(plants: Plants, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    (tmp_path / "random").write_bytes(os.urandom(1 << 20))
    assert len(plants.missed(canaries.files(tmp_path))) == len(plants.canaries)


def test_the_search_finds_every_form_in_sqlite_and_in_its_log(plants: Plants, tmp_path: Path) -> None:
    path = tmp_path / "scratch.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = wal")
        database.execute("CREATE TABLE scratch (content BLOB)")
        database.commit()
        assert len(plants.missed(canaries.files(tmp_path))) == len(plants.canaries)
        database.executemany("INSERT INTO scratch VALUES (?)", [(shape,) for shape in plants.shapes])
        database.commit()
        assert plants.missed([("the log", path.with_name("scratch.db-wal").read_bytes())]) == []
        assert plants.missed(canaries.rows(f"sqlite:///{path}")) == []
    assert plants.missed([("the file", path.read_bytes())]) == []


def test_the_search_finds_every_form_in_postgresql_and_in_its_files(plants: Plants, postgres: PostgresServer) -> None:
    name = f"scratch_{os.getpid()}"
    url = postgres.create_database(name)
    try:
        with postgres.connect(name) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE scratch (content bytea)")
            # Several times: a record may lie across two pages of the log, with a header in its middle.
            cursor.executemany("INSERT INTO scratch VALUES (%s)", [(shape,) for shape in plants.shapes] * 3)
            cursor.execute("CHECKPOINT")
        assert plants.missed(canaries.rows(url)) == []
        assert plants.missed(canaries.files(postgres.data / "base")) == []
        assert plants.missed(canaries.files(postgres.data / "pg_wal")) == []
    finally:
        postgres.drop_database(name)


@pytest.mark.parametrize("kind", ["embedded", "server"])
def test_the_search_finds_every_form_in_the_broker(
    plants: Plants, kind: str, new_redis: Callable[[str], RedisServer]
) -> None:
    server = new_redis(kind)
    with redis.Redis.from_url(server.url) as broker:
        with recorder.monitored(broker) as commands:
            for number, shape in enumerate(plants.shapes):
                plant(broker, number, shape)
        assert plants.missed(canaries.keys(broker)) == []
        assert plants.missed(("MONITOR", command) for command in commands) == []
        assert plants.missed(canaries.memory(int(broker.info()["process_id"]))) == []
        assert plants.missed(canaries.files(server.directory)) == []


def plant(broker: "redis.Redis", number: int, shape: bytes) -> None:
    """Put a shape into a key of one kind after the other."""
    key = f"key {number}"
    match number % 5:
        case 0:
            broker.set(key, shape)
        case 1:
            broker.rpush(key, b"first", shape)
        case 2:
            broker.hset(key, mapping={b"field": shape, b"other": b""})
        case 3:
            broker.sadd(key, shape)
        case _:
            broker.zadd(key, {shape: 1.0})


def test_the_search_finds_every_form_in_a_command_line(plants: Plants, start: Start) -> None:
    # A NUL ends an argument, and /proc shows it as NUL: so UTF-16 is many short arguments.
    words = [os.fsdecode(word) for shape in plants.shapes for word in shape.split(b"\0")]
    with recorder.watched(os.getpid()) as seen:
        process = start("sh", "-c", "kill -STOP $$", *words)
        wait_until(lambda: any(len(each.cmdline) > len(words) for each in set(seen)), 20, process.name)
    assert plants.missed(recorder.shown_by_proc(seen, owns_values=lambda _: True)) == []


def test_the_search_finds_every_form_in_an_environment(plants: Plants, start: Start) -> None:
    # No variable can hold a NUL.
    possible = [shape for shape in plants.shapes if b"\0" not in shape]
    env = {f"NAME_{number}": os.fsdecode(shape) for number, shape in enumerate(possible)}
    with recorder.watched(os.getpid()) as seen:
        process = start("sh", "-c", "kill -STOP $$", env=env)
        wait_until(lambda: any(b"NAME_0" in each.environ for each in set(seen)), 20, process.name)
    missed = plants.missed(recorder.shown_by_proc(seen, owns_values=lambda _: False))
    assert len(missed) == len(plants.shapes) - len(possible)


def test_the_search_finds_every_form_in_requests_and_in_answers(plants: Plants) -> None:
    with echo() as target, recorder.proxy(target) as (address, exchanges):
        with httpx.Client(base_url=address, trust_env=False) as client:
            for shape in plants.shapes:
                assert client.post("/", content=shape).content == shape
        assert plants.missed(recorder.traffic(replace(each, answer=b"") for each in exchanges)) == []
        assert plants.missed(recorder.traffic(replace(each, request_body=b"") for each in exchanges)) == []


def test_the_search_leaves_out_only_the_body_that_sets_a_value() -> None:
    sent, asked = canaries.plain("a body"), canaries.plain("an address")
    path = f"/api/v1/assets/A/B/values/dev?description={asked.value.decode()}"
    exchange = recorder.Exchange("PUT", path, b"", sent.value, b"HTTP/1.0 200 OK\r\n\r\n")
    answered = recorder.Exchange("PUT", path, b"", b"", sent.value)
    searcher = Searcher([sent, asked])
    assert {hit.canary for hit in searcher.look(recorder.traffic([exchange]))} == {"an address"}
    assert {hit.canary for hit in searcher.look(recorder.traffic([answered]))} == {"a body", "an address"}


@contextlib.contextmanager
def echo() -> Iterator[str]:
    """A server that answers what it was sent."""

    class Echo(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
