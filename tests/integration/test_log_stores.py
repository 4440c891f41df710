"""Logs and artefacts in a folder and in an object store that speaks S3, and a store that is away."""

import errno
import os
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest
from moto.server import ThreadedMotoServer

from runner import logs, object_sink, objects
from runner import stores as log_stores
from runner.directory import Directory
from runner.errors import Invalid, NotFound, Unavailable
from runner.logs import Ask
from runner.object_sink import ObjectSink
from runner.output import LogWriter
from runner.scatter import TOP_OF_HIERARCHIES, attributes, scatter
from runner.stores import Store
from runner.worker.masker import Masker
from runner.worker.pump import Pump
from tests.support import Stores, free_port, wait_until
from tests.system import running

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The URL of a bucket of a server that speaks S3."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=free_port(), verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "tests",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": "http://{}:{}".format(*server.get_host_and_port()),
        }.items():
            patch.setenv(name, value)
        made = objects.Objects("s3://botkeep-tests")
        made._files.mkdir("botkeep-tests")
        yield "s3://botkeep-tests/logs"
    server.stop()


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "s3":
        return log_stores.store(f"{request.getfixturevalue('bucket')}/{uuid.uuid4().hex}")
    return log_stores.store(f"file://{tmp_path}/logs")


def text(store: Store, job_id: uuid.UUID) -> bytes:
    with logs.opened(store, job_id, 1) as log:
        return b"".join(log.text())


def test_what_is_settled_can_be_read_while_the_log_grows(store: Store) -> None:
    job_id = uuid.uuid4()
    assert text(store, job_id) == b""
    with LogWriter(store, job_id, 1) as writer:
        whole = b""
        for number in range(5):
            line = b"line %d \xff\x00\n" % number
            whole += line
            writer.append("stdout", line, at=NOW)
            writer.settle()
            wait_until(lambda: text(store, job_id) == whole, 20, "what was settled")  # noqa: B023
    assert text(store, job_id) == whole


def test_a_long_log_is_read_from_its_middle_and_its_end(store: Store) -> None:
    job_id = uuid.uuid4()
    noise = [os.urandom(1000).hex().encode() + b"\n" for _ in range(3000)]
    with LogWriter(store, job_id, 1) as writer:
        for line in noise:
            writer.append("stdout", line, at=NOW)
    with logs.opened(store, job_id, 1) as log:
        assert log.end() == (sum(map(len, noise)), 3000)
        assert b"".join(log.text(4_000_000, 4_000_500)) == b"".join(noise)[4_000_000:4_000_500]
        start = log.position_of(2990)
        assert [line.text.encode() + b"\n" for line in log.page(Ask(after=start)).lines] == noise[2990:]
        found = log.page(Ask(search=noise[2500].decode().strip().upper()))
        assert [line.number for line in found.lines] == [2500]
    assert store.remove(job_id, 1) is True
    assert text(store, job_id) == b""
    assert store.remove(job_id, 1) is False


def test_a_log_that_is_cut_takes_no_more_than_its_limit(store: Store) -> None:
    job_id = uuid.uuid4()
    with LogWriter(store, job_id, 1) as writer:
        writer.limit(2_000_000)
        for _ in range(40):
            writer.append("stdout", os.urandom(100_000).replace(b"\n", b"") + b"\n", at=NOW)
    assert 1_500_000 < sum(part.size for part in store.parts(job_id, 1)) < 2_050_000
    with logs.opened(store, job_id, 1) as log:
        (gap,) = log.page(Ask(stream="system")).lines
    assert gap.text.startswith(f"{writer.dropped:,} bytes")


def test_artefacts_come_back_and_go(store: Store) -> None:
    job_id = uuid.uuid4()
    content = [os.urandom(100_000) for _ in range(30)]
    store.keep(job_id, 1, 0, content)
    assert b"".join(store.artefact(job_id, 1, 0)) == b"".join(content)
    store.discard(job_id, 1, 0)
    with pytest.raises(NotFound):
        store.artefact(job_id, 1, 0)
    store.keep(job_id, 1, 1, [b"x"])
    assert store.remove(job_id, 1) is True
    with pytest.raises(NotFound):
        store.artefact(job_id, 1, 1)


def test_an_artefact_that_fails_half_way_leaves_nothing(store: Store) -> None:
    def blocks() -> Iterator[bytes]:
        yield b"half"
        raise ZeroDivisionError

    with pytest.raises((ZeroDivisionError, Unavailable)):
        store.keep(uuid.UUID(int=1), 1, 0, blocks())
    with pytest.raises(NotFound):
        store.artefact(uuid.UUID(int=1), 1, 0)


def test_a_store_that_is_away_loses_what_it_must_and_stops_nobody(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = objects.Objects(f"{bucket}/{uuid.uuid4().hex}")
    job_id, really = uuid.uuid4(), store._files.pipe_file
    away = True

    def refuse(path: str, data: bytes) -> None:
        if away:
            raise ConnectionError
        really(path, data)

    monkeypatch.setattr(store._files, "pipe_file", refuse)
    monkeypatch.setattr(object_sink, "PAUSE", 0.0)
    with LogWriter(store, job_id, 1) as writer:
        for _ in range(80):
            writer.append("stdout", os.urandom(100_000).hex().encode() + b"\n", at=NOW)
        writer.settle()
        away = False
        writer.append("stdout", b"last\n", at=NOW)
    assert writer.lost > 0
    with logs.opened(store, job_id, 1) as log:
        lines = log.page(Ask(limit=10_000)).lines
    assert lines[-1].text == "last"
    assert "left out here" in lines[0].text


def test_a_store_that_takes_a_connection_and_never_answers_stops_no_bot(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bot prints far more than pipes and buffers hold, and ends while the store still hangs."""
    monkeypatch.setattr(object_sink, "STALLED", 0.5)
    monkeypatch.setattr(object_sink, "CLOSING", 0.5)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    quickly = {"connect_timeout": 1, "read_timeout": 2, "retries": {"max_attempts": 1}}
    monkeypatch.setattr(objects, "_OPTIONS", {"s3": {"config_kwargs": quickly}})
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "tests")
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        writer = LogWriter(objects.Objects(f"s3://silent-{uuid.uuid4().hex}/logs"), uuid.uuid4(), 1)
        sink = cast("ObjectSink", writer._sink)
        pump, most = Pump(writer, Masker(), limit=1 << 30), 0
        program = "import os\nfor _ in range(40): print(os.urandom(250_000).hex())"
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as bot:
            assert bot.stdout is not None
            while data := os.read(bot.stdout.fileno(), 65536):
                pump.feed("stdout", data)
                writer.settle()
                most = max(most, sum(map(len, sink._held.values())))
        assert bot.returncode == 0
        pump.close()
        assert sink._thread is not None
        writer.close()
        assert sink._thread.is_alive(), "it waits for an answer still"
    assert most <= object_sink.HELD + 2 * object_sink.PART
    assert writer.lost > 8_000_000, "nothing was ever stored"
    sink._thread.join(30)
    assert not sink._thread.is_alive()


def test_a_store_that_cannot_be_read_says_so_without_its_credentials(bucket: str) -> None:
    store = log_stores.store("s3://KEY:PASSWORD@no-such-bucket/logs")
    assert "PASSWORD" not in store.shown
    with pytest.raises(Unavailable, match=r"s3://no-such-bucket/logs cannot be used") as caught:
        store.keep(uuid.uuid4(), 1, 0, [b"x"])
    assert "PASSWORD" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["", "nonsense", "file://host/folder", "file:relative", "s3://", "gopher-x://a/b", "//["]
)
def test_a_url_that_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(Invalid, match="BOTKEEP_LOG_URL"):
        log_stores.store(url)


def test_a_usual_log_is_one_small_file(tmp_path: Path) -> None:
    store = log_stores.directory(tmp_path)
    for number in range(3):
        with LogWriter(store, uuid.UUID(int=number), 1) as writer:
            writer.write("stdout", ["hello"], at=NOW)
    with LogWriter(store, uuid.UUID(int=9), 1):
        pass  # a bot that prints nothing costs nothing
    shard, *files = sorted(tmp_path.rglob("*"))
    assert shard.is_dir()
    assert len(files) == 3
    assert all(file.stat().st_size < 120 and file.stat().st_mode & 0o777 == 0o600 for file in files)


def test_no_link_in_a_logs_place_is_followed(tmp_path: Path) -> None:
    store = log_stores.directory(tmp_path)
    with LogWriter(store, uuid.UUID(int=1), 1) as writer:
        writer.write("stdout", ["hello"], at=NOW)
    (file,) = tmp_path.rglob("*.log")
    file.unlink()
    file.symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic"):
        store.parts(uuid.UUID(int=1), 1)


@pytest.mark.timeout(180)
def test_a_whole_system_keeps_its_logs_in_a_bucket(bucket: str, stores: Stores) -> None:
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL")
    env = {name: os.environ[name] for name in names} | {"BOTKEEP_LOG_URL": f"{bucket}/{uuid.uuid4().hex}"}
    source = (
        "import os\nprint(sorted(name for name in os.environ if name.startswith('AWS_')))\n"
        "open(os.environ['BOTKEEP_OUTPUT_DIR'] + '/file', 'w').write('left')\n"
    )
    with running(stores, env=env, forked=True) as system:
        system.add_bot("prints", source)
        job = system.run("prints")
        assert job["state"] == "succeeded"
        assert system.log(job["id"], "stdout") == ["[]"]
        assert system.client.get(f"/api/v1/jobs/{job['id']}/outputs/file").text == "left"
        (shown,) = [runner["log_store"] for runner in system.runners()]
        assert shown == env["BOTKEEP_LOG_URL"]
        assert not (system.home / "logs" / "jobs").exists()


def test_the_folders_of_logs_are_spread_over_the_disk(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        scatter(tmp_path)
        if not attributes(descriptor) & TOP_OF_HIERARCHIES:
            pytest.skip("another file system than ext4")
    except OSError:
        pytest.skip("a file system without attributes")
    finally:
        os.close(descriptor)
    store = log_stores.directory(tmp_path / "logs")
    with LogWriter(store, uuid.uuid4(), 1) as writer:
        writer.write("stdout", ["one"], at=NOW)
    descriptor = os.open(tmp_path / "logs", os.O_RDONLY)
    try:
        assert attributes(descriptor) & TOP_OF_HIERARCHIES
    finally:
        os.close(descriptor)


def test_those_who_make_a_folder_at_the_same_time_find_all_they_put_into_it(tmp_path: Path) -> None:
    ids = [uuid.UUID(int=number) for number in range(1, 33)]  # of one shard
    begin = threading.Barrier(len(ids))

    def write(job_id: uuid.UUID) -> None:
        store = log_stores.directory(tmp_path / "logs")  # as another runner's
        begin.wait(30)
        with LogWriter(store, job_id, 1) as writer:
            writer.write("stdout", [str(job_id)], at=NOW)

    threads = [threading.Thread(target=write, args=(job_id,)) for job_id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    store = log_stores.directory(tmp_path / "logs")
    assert [text(store, job_id) for job_id in ids] == [f"{job_id}\n".encode() for job_id in ids]
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["0000000"]


def test_a_folder_that_cannot_be_put_in_its_place_is_said_once_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_self: Path, _target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = Directory(tmp_path / "logs", host="")
    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(OSError, match="No space"):
        store.make(tmp_path / "logs" / "0123456" / "a.log")
    assert list((tmp_path / "logs").iterdir()) == []


def test_a_folder_that_cannot_be_spread_is_left_as_it_is(tmp_path: Path) -> None:
    scatter(tmp_path / "missing")
    scatter("/proc/self")
