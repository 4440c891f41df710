"""`botkeep up` starts everything in order, keeps it running, refuses what would do harm, and leaves nothing behind."""

import json
import os
import signal
import socket
import sys
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli import installation
from cli.connection import read_client
from cli.home import Home
from cli.installation import Running, is_running
from cli.up import LOG_LIMIT, warn_about_root
from tests.conftest import Start
from tests.integration.stand_ins import write_stand_ins
from tests.support import ProcessId, Started, descendants, wait_until
from tests.unit.cli.conftest import Botkeep, command

UP = (sys.executable, "-m", "cli", "up", "--port", "0")


@dataclass(frozen=True, slots=True)
class Place:
    """A home in which `up` starts stand-ins."""

    home: Home
    env: dict[str, str]

    def events(self) -> list[str]:
        path = self.home.path / "events"
        return path.read_text().splitlines() if path.exists() else []

    def mark(self, name: str) -> None:
        (self.home.path / name).touch()

    def components(self) -> dict[str, ProcessId]:
        noted = json.loads(self.home.components.read_text())["components"]
        found = {each["name"]: ProcessId.of(each["pid"]) for each in noted if each["pid"]}
        return {name: process for name, process in found.items() if process}

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(read_client(self.home.client).url + "/readyz", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False


@pytest.fixture
def botkeep(capsys: pytest.CaptureFixture[str]) -> Botkeep:
    return command(capsys)


@pytest.fixture
def place(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    path = str(write_stand_ins(tmp_path / "stand-ins"))
    monkeypatch.setenv("PYTHONPATH", path)
    return Place(Home(home), {"PYTHONPATH": path, "BOTKEEP_TOKEN": "bk_of-a-person"})


@pytest.fixture
def up(place: Place, start: Start) -> Callable[..., Started]:
    """Starts `up` and waits until it is ready."""

    def begin(**more: str) -> Started:
        process = start(*UP, env=place.env | more, name="up")
        process.wait_for("Botkeep is ready at http://127.0.0.1:")
        return process

    return begin


def test_everything_starts_in_order_and_stops_in_order(place: Place, up: Callable[..., Started]) -> None:
    process = up()
    first, *then = place.events()[:3]
    assert (first, sorted(then)) == ("migrate", ["keygen", "token"]), "the latter two run side by side"
    started = sorted(event for event in place.events() if " started" in event)
    assert started[1:] == [
        "runner started --environment dev --environment staging --environment prod",
        "scheduler started ",
    ]
    assert started[0].startswith("console started --fd ")
    components = place.components()
    assert list(components) == ["broker", "console", "scheduler", "runner"]
    assert process.stop() == 0
    stopped = [event for event in place.events() if event.endswith("stopped")]
    assert stopped == ["scheduler stopped", "runner stopped", "console stopped"]
    assert not any(component.alive for component in components.values())
    assert not place.home.components.exists()


def test_no_password_and_no_token_is_in_any_command_line_or_environment(
    place: Place, up: Callable[..., Started]
) -> None:
    process = up()
    password = (place.home.broker / "password").read_bytes().strip()
    looked_at = 0
    for component in descendants(process.pid):
        for name in ("cmdline", "environ"):
            content = Path(f"/proc/{component.pid}/{name}").read_bytes()
            looked_at += len(content)
            assert not any(word in content for word in (password, b"bk_of-a-person", b"bk_local"))
    assert looked_at > 1000
    assert process.stop() == 0


def test_a_second_up_on_one_home_is_refused_and_names_the_first(
    place: Place, up: Callable[..., Started], botkeep: Botkeep
) -> None:
    first = up()
    second = botkeep("up", "--port", "0")
    assert second.status == 5
    assert f"process {first.pid}" in second.err
    assert "botkeep down" in second.err
    assert place.answers()


def test_a_busy_port_is_refused_with_the_option_that_helps(place: Place, botkeep: Botkeep) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = botkeep("up", "--port", port)
    assert result.status == 5
    assert f"Port {port} is in use. " in result.err
    assert "--port" in result.err
    assert place.events() == []


@pytest.mark.parametrize("name", ["console", "runner", "broker"])
def test_what_dies_starts_again_at_the_same_address_and_is_reported(
    place: Place, up: Callable[..., Started], name: str
) -> None:
    process = up()
    url = read_client(place.home.client).url
    before = place.components()[name]
    before.send(signal.SIGKILL)
    process.wait_for(f"The {name} was ended by SIGKILL; it starts again in 0.5 s.")
    wait_until(lambda: place.components().get(name, before) != before, 10, f"another {name}")
    wait_until(place.answers, 10, "the console to answer")
    assert read_client(place.home.client).url == url
    assert process.stop() == 0


@pytest.mark.parametrize("name", ["migrate", "keygen", "console", "scheduler", "runner"])
def test_a_component_that_does_not_start_is_named_with_its_last_words(
    place: Place, botkeep: Botkeep, name: str
) -> None:
    place.mark(f"fail-{name}")
    result = botkeep("up", "--port", "0")
    assert result.status == 1
    assert "exit status 3" in result.err
    assert (f"the {name} has a headache" in result.err) == (name not in ("migrate", "keygen"))


def test_a_runner_whose_name_is_not_yet_free_is_tried_again_before_all_is_ready(
    place: Place, up: Callable[..., Started]
) -> None:
    place.mark("refuse-runner")
    process = up()
    assert "The runner ended with exit status 75; it starts again" in process.log
    assert "runner" in place.components()
    assert process.stop() == 0


def test_a_runner_that_was_drained_stays_away_until_the_next_up(
    place: Place, up: Callable[..., Started], botkeep: Botkeep
) -> None:
    process = up()
    runner = place.components()["runner"]
    place.mark("drained")
    runner.send(signal.SIGTERM)
    process.wait_for("The runner was drained and has ended; the next `botkeep up` starts it again.")
    place.components()["scheduler"].send(signal.SIGKILL)
    wait_until(lambda: place.events().count("scheduler started ") == 2, 10, "another look at all components")
    assert "runner" not in place.components()
    shown = botkeep("status", "--json")
    assert shown.status == 0
    assert [each["name"] for each in shown.lines[0]["components"] if each["drained"]] == ["runner"]
    assert "runner     drained" in botkeep("status").out
    assert process.stop() == 0
    again = up()
    assert "runner" in place.components()
    assert again.stop() == 0


def test_a_runner_that_nobody_drained_starts_again_whatever_its_exit_status(
    place: Place, up: Callable[..., Started]
) -> None:
    process = up()
    place.components()["runner"].send(signal.SIGTERM)
    process.wait_for("The runner ended with exit status 0; it starts again")
    assert process.stop() == 0


def test_a_log_that_grew_large_is_moved_aside_while_it_is_written(place: Place, up: Callable[..., Started]) -> None:
    process = up()
    log = place.home.log("scheduler")
    with log.open("ab") as written:
        written.write(b"first\n")
        written.truncate(LOG_LIMIT + 1)
        place.components()["scheduler"].send(signal.SIGKILL)
        wait_until(lambda: log.stat().st_size < LOG_LIMIT, 10, "the log to be cut")
        written.write(b"then\n")
    assert log.read_bytes() == b"then\n"
    moved = log.with_suffix(".log.1")
    assert (moved.stat().st_size, moved.stat().st_mode & 0o077) == (LOG_LIMIT + 1, 0)
    assert process.stop() == 0


def test_what_a_killed_up_started_ends_by_itself(place: Place, up: Callable[..., Started]) -> None:
    process = up()
    components = place.components().values()
    process.stop(signal.SIGKILL)
    wait_until(lambda: not any(component.alive for component in components), 20, "every process to end")


def test_what_is_left_is_ended_and_a_recycled_process_id_is_spared(
    place: Place, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installation, "LEFTOVER_PATIENCE", 0.2)
    (place.home.run).mkdir()
    left, other = (start("sleep", "60", name=name) for name in ("left", "other"))
    noted = [
        Running("console", left.pid, installation.began(left.pid), 0),
        Running("runner", other.pid, (installation.began(other.pid) or 0) - 1, 0),
    ]
    installation.note(place.home, url="http://127.0.0.1:1", processes=noted)
    assert installation.end_leftovers(place.home) == 1
    assert not left.identity.alive
    assert other.identity.alive


def test_after_a_kill_of_up_its_processes_end_and_the_next_up_starts(place: Place, up: Callable[..., Started]) -> None:
    process = up()
    components = place.components()
    process.stop(signal.SIGKILL)
    again = up()
    assert not any(component.alive for component in components.values())
    assert place.answers()
    assert again.stop() == 0


def test_further_signals_shorten_the_stop(place: Place, up: Callable[..., Started]) -> None:
    place.mark("deaf-runner")
    process = up()
    runner = place.components()["runner"]
    process.identity.send(signal.SIGTERM)
    wait_until(lambda: "scheduler stopped" in place.events(), 10, "the stop to begin")
    assert runner.alive

    def gone() -> bool:
        process.identity.send(signal.SIGINT)
        return not runner.alive

    wait_until(gone, 15, "the runner to be ended long before its grace of 30 seconds")
    assert process.wait() == 0


def test_with_a_broker_of_its_own_none_is_started(place: Place, start: Start) -> None:
    process = start(*UP, env=place.env | {"BOTKEEP_REDIS_URL": "redis://127.0.0.1:1"}, name="up")
    process.wait_for("Botkeep is ready")
    assert list(place.components()) == ["console", "scheduler", "runner"]
    assert not place.home.broker_url.exists()
    assert process.stop() == 0


def test_a_folder_of_the_same_name_in_the_working_directory_is_not_run(
    place: Place, start: Start, tmp_path: Path
) -> None:
    (tmp_path / "console").mkdir()
    (tmp_path / "console" / "__init__.py").touch()
    (tmp_path / "console" / "__main__.py").write_text("raise SystemExit('not ours')")
    botkeep = Path(sys.executable).parent / "botkeep"
    process = start(botkeep, "up", "--port", "0", env=place.env, name="up", cwd=tmp_path)
    process.wait_for("Botkeep is ready")
    assert process.stop() == 0


def test_detached_it_returns_when_ready_and_down_stops_it(place: Place, start: Start, botkeep: Botkeep) -> None:
    begun = botkeep("up", "--detach", "--port", "0", "--json")
    assert begun.status == 0
    pid = begun.lines[0]["pid"]
    assert begun.lines[0]["url"] == read_client(place.home.client).url
    assert os.getsid(pid) == pid
    shown = botkeep("status", "--json")
    assert shown.status == 0
    assert [each["running"] for each in shown.lines[0]["components"]] == [True] * 4
    assert shown.lines[0]["ready"]
    assert "[dev]" in botkeep("status").out
    stopped = botkeep("down", "--grace", "10s", "--json")
    assert (stopped.status, stopped.lines[0]["pid"]) == (0, pid)
    assert botkeep("down").out == f"Botkeep does not run in {place.home.path}.\n"
    assert botkeep("status").status == 6


def test_detached_it_keeps_nothing_of_the_persons_token(
    place: Place, botkeep: Botkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as persons:
        persons.setenv("BOTKEEP_TOKEN", "bk_of-a-person")
        persons.setenv("BOTKEEP_URL", "https://botkeep.example")
        process = ProcessId.of(botkeep("up", "--detach", "--port", "0", "--json").lines[0]["pid"])
    assert process is not None
    kept = Path(f"/proc/{process.pid}/environ").read_bytes()
    assert b"PATH=" in kept
    assert not any(word in kept for word in (b"BOTKEEP_TOKEN", b"BOTKEEP_URL", b"bk_of-a-person"))
    assert botkeep("down", "--grace", "10s").status == 0
    wait_until(lambda: not process.alive, 10, "the detached process to end")


def test_root_is_told_what_its_bots_are(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    warn_about_root(told.append, {})
    assert "bots run as root without capabilities" in told[0]
    warn_about_root(told.append, {"BOTKEEP_BOT_USERS": "70000-70007"})
    assert "bots have users of their own" in told[1]
    assert "bots run as root" not in told[1]
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    warn_about_root(told.append, {})
    assert len(told) == 2


def test_detached_it_reports_what_failed_and_leaves_nothing(place: Place, botkeep: Botkeep) -> None:
    place.mark("fail-scheduler")
    result = botkeep("up", "--detach", "--port", "0")
    assert result.status == 1
    assert "the scheduler has a headache" in result.err
    assert not is_running(place.home)
    assert not place.home.components.exists()

    def there() -> list[str]:
        commands = [process.command for process in descendants(os.getpid())]
        return [command for command in commands if str(place.home.path) in command]

    wait_until(lambda: not there(), 10, "the detached process to end")


def test_the_home_and_all_in_it_is_for_its_owner_only(place: Place, up: Callable[..., Started]) -> None:
    process = up()
    open_to_others = [path for path in place.home.path.rglob("*") if path.lstat().st_mode & 0o077]
    assert open_to_others == []
    assert process.stop() == 0
