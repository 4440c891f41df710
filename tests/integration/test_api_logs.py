"""The log of a job over HTTP: pages that resume exactly, and a stream that ends with the job."""

import contextlib
import errno
import itertools
import json
import os
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from console import app
from runner.output import LogWriter
from runner.states import State
from tests.api import Api, error_of, serving
from tests.support import Stores, wait_until


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as running:
        running.add_bot()
        yield running


#: The logs that tests write, as their runners would.
WRITERS: dict[tuple[uuid.UUID, int], LogWriter] = {}


@pytest.fixture(autouse=True)
def no_writer_is_left() -> Iterator[None]:
    yield
    for log in WRITERS.values():
        log.close()
    WRITERS.clear()


@dataclass(frozen=True, slots=True)
class Event:
    name: str
    id: str
    data: dict[str, Any]


def write(api: Api, job_id: str, *lines: str, attempt: int = 1, stream: str = "stdout") -> None:
    key = uuid.UUID(job_id), attempt
    log = WRITERS.get(key) or WRITERS.setdefault(key, LogWriter(api.console.store, *key))
    log.write(stream, lines, at=api.console.now())
    log.settle()


def log(api: Api, job_id: str, **query: int) -> dict[str, Any]:
    answer = api.client.get(f"/api/v1/jobs/{job_id}/log", params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def follow(api: Api, job_id: str, *, headers: dict[str, str] | None = None, **query: int) -> list[Event]:
    """Every event until the stream ends."""
    path = f"/api/v1/jobs/{job_id}/log/stream"
    with api.client.stream("GET", path, params=query, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        return list(events(answer))


def watch(api: Api, job_id: str, seen: list[Event]) -> None:
    """Adds each event as it comes, until the stream ends."""
    path = f"/api/v1/jobs/{job_id}/log/stream"
    with httpx.stream("GET", api.url + path, headers=api.client.headers, verify=False, timeout=20) as answer:
        seen.extend(events(answer))


def events(answer: httpx.Response) -> Iterator[Event]:
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        if line.startswith(":"):
            continue
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            yield Event(fields["event"], fields["id"], json.loads(fields["data"]))
            fields = {}


def test_a_job_that_has_not_started_has_an_empty_log_that_may_grow(api: Api) -> None:
    job_id = api.run()["id"]
    assert log(api, job_id) == {"items": [], "next": 0, "complete": False, "note": None}
    api.client.post(f"/api/v1/jobs/{job_id}/cancellation")
    assert log(api, job_id) == {"items": [], "next": 0, "complete": True, "note": None}


def test_pages_of_a_log_go_on_exactly_where_the_last_one_ended(api: Api) -> None:
    job_id = api.run()["id"]
    claim = api.claim(job_id)
    write(api, job_id, *[f"line {number} é\r\u2028" for number in range(10)])
    texts, after = [], 0
    while True:
        page = log(api, job_id, after=after, limit=3)
        assert page["complete"] is False
        if not page["items"]:
            break
        texts += [line["text"] for line in page["items"]]
        assert len(texts) <= 10
        assert page["items"][-1]["next"] == page["next"]
        after = page["next"]
    assert texts == [f"line {number} é\r\u2028" for number in range(10)]
    api.finish(claim)
    assert log(api, job_id, after=after)["complete"] is True
    assert log(api, job_id, limit=9)["complete"] is False
    assert log(api, job_id, limit=10)["complete"] is True


def test_a_page_that_cannot_be_is_refused(api: Api) -> None:
    job_id = api.run()["id"]
    for query in ("after=-1", "after=x", "limit=0", "limit=5001", "attempt=0", "after=1" + "0" * 30):
        assert (query, api.client.get(f"/api/v1/jobs/{job_id}/log?{query}").status_code) == (query, 422)


def test_a_position_beyond_the_end_or_inside_a_line_fails_nothing(api: Api) -> None:
    job_id = api.run()["id"]
    api.claim(job_id)
    write(api, job_id, "first", "second")
    assert log(api, job_id, after=2**40)["items"] == []
    assert [line["text"] for line in log(api, job_id, after=3)["items"]] == ["second"]


def test_an_attempt_that_never_was_is_not_found(api: Api) -> None:
    job_id = api.run()["id"]
    api.claim(job_id)
    for rest in ("log", "log/stream"):
        answer = api.client.get(f"/api/v1/jobs/{job_id}/{rest}", params={"attempt": 2})
        assert answer.status_code == 404
        assert "no attempt 2" in error_of(answer)


def test_a_stream_shows_what_is_there_and_ends_with_the_job(api: Api) -> None:
    job_id = api.run()["id"]
    claim = api.claim(job_id)
    write(api, job_id, "one", "two")
    write(api, job_id, "oh", stream="stderr")
    api.finish(claim, State.FAILED)
    *lines, end = follow(api, job_id)
    assert [(line.name, line.data["stream"], line.data["text"]) for line in lines] == [
        ("line", "stdout", "one"),
        ("line", "stdout", "two"),
        ("line", "stderr", "oh"),
    ]
    assert [line.id for line in lines] == [str(line.data["next"]) for line in lines]
    assert (end.name, end.data) == ("end", {"state": "failed", "reason": None, "exit_code": 0})


def test_a_stream_is_taken_up_where_it_broke(api: Api) -> None:
    job_id = api.run()["id"]
    claim = api.claim(job_id)
    write(api, job_id, *[f"line {number}" for number in range(2500)])
    api.finish(claim)
    everything = follow(api, job_id)
    assert len(everything) == 2501
    middle = everything[1200]
    by_header = follow(api, job_id, headers={"Last-Event-ID": middle.id})
    by_query = follow(api, job_id, after=int(middle.id))
    assert by_header == by_query == everything[1201:]


def test_a_stream_follows_a_job_from_the_queue_to_its_end(api: Api) -> None:
    job_id = api.run()["id"]
    seen: tuple[list[Event], list[Event]] = ([], [])

    threads = [threading.Thread(target=watch, args=(api, job_id, one)) for one in seen]
    for thread in threads:
        thread.start()
    claim = api.claim(job_id)
    write(api, job_id, "begun")
    wait_until(lambda: [len(one) for one in seen] == [1, 1], what="the first line, while the job runs")
    write(api, job_id, "done")
    api.finish(claim)
    for thread in threads:
        thread.join(10)
    assert [event.data.get("text", event.name) for event in seen[0]] == ["begun", "done", "end"]
    assert seen[1] == seen[0]


def test_many_followers_see_the_same(api: Api) -> None:
    job_id = api.run()["id"]
    claim = api.claim(job_id)
    ended: list[list[Event]] = []
    threads = [threading.Thread(target=lambda: ended.append(follow(api, job_id))) for _ in range(40)]
    for thread in threads:
        thread.start()
    write(api, job_id, "for all")
    api.finish(claim)
    for thread in threads:
        thread.join(30)
    assert [[event.name for event in events] for events in ended] == [["line", "end"]] * 40


def test_followers_whose_looks_take_long_leave_room_for_other_requests(api: Api) -> None:
    engine = api.console.engine
    if engine.dialect.name == "sqlite":
        pytest.skip("Nothing makes a reader of SQLite wait.")
    job_id = api.run()["id"]
    claim = api.claim(job_id)
    write(api, job_id, "begun")
    seen: list[list[Event]] = [[] for _ in range(app.THREADS + 4)]
    threads = [threading.Thread(target=watch, args=(api, job_id, one)) for one in seen]
    for thread in threads:
        thread.start()
    wait_until(lambda: all(seen), what="every follower's first line")
    with engine.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
        waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'jobs'::regclass AND NOT granted"
        wait_until(lambda: connection.exec_driver_sql(waiting).scalar_one() >= 4, what="followers that wait")
        # Long enough for every follower to look again, every 200 ms.
        until = time.monotonic() + 1
        while time.monotonic() < until:
            answer = api.client.get("/readyz", timeout=5)
            assert answer.status_code == 200, answer.text
    api.finish(claim)
    for thread in threads:
        thread.join(10)
    assert [[event.name for event in one] for one in seen] == [["line", "end"]] * len(seen)


@contextlib.contextmanager
def unreadable(job_id: str, *, after: int = 0) -> Iterator[None]:
    """The operating system refuses the job's log when it was opened `after` times; root would not be refused."""
    opened, really_open = itertools.count(1), os.open

    def refuse(path: Path | str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if job_id in str(path) and next(opened) > after:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return really_open(path, flags, mode, dir_fd=dir_fd)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", refuse)
        yield


def test_a_log_that_cannot_be_read_is_said_before_a_stream_begins(api: Api) -> None:
    job_id = api.run()["id"]
    api.claim(job_id)
    write(api, job_id, "one")
    with unreadable(job_id):
        answer = api.client.get(f"/api/v1/jobs/{job_id}/log/stream")
    assert answer.status_code == 503
    assert "BOTKEEP_LOG_GROUP" in error_of(answer)


def test_a_stream_whose_log_cannot_be_read_any_more_ends_in_order(api: Api) -> None:
    job_id = api.run()["id"]
    api.claim(job_id)
    write(api, job_id, "one")
    with unreadable(job_id, after=2):
        assert [event.name for event in follow(api, job_id)] == ["line"]


def test_a_stream_ends_when_the_console_stops(api: Api) -> None:
    job_id = api.run()["id"]
    ended: list[list[Event]] = []
    thread = threading.Thread(target=lambda: ended.append(follow(api, job_id)))
    thread.start()
    wait_until(thread.is_alive, what="the follower")
    api.console.stopping.set()
    thread.join(10)
    assert ended == [[]]
