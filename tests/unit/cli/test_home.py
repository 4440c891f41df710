"""The home is its owner's alone, and the client's file is refused when it is not."""

import os
import stat
from pathlib import Path

import pytest

from cli.connection import Connection, connection, read_client
from cli.doctor import check_home
from cli.errors import Denied, Refused, Unreachable
from cli.home import Home, last_lines, locate, open_log, prepare, strange, write_private
from tests.support import a_closed_folder, an_ordinary_user


def client_file(home: Path, content: str = 'url = "http://localhost:1/"\ntoken = "bk_local"\n') -> Path:
    path = home / "client.toml"
    path.write_text(content)
    path.chmod(0o600)
    return path


def test_the_home_is_named_by_option_then_variable_then_data_folder() -> None:
    environ = {"BOTKEEP_HOME": "/srv/bk", "XDG_DATA_HOME": "/data", "HOME": "/home/ann"}
    assert locate(environ, override=Path("/opt/bk")).path == Path("/opt/bk")
    assert locate(environ).path == Path("/srv/bk")
    del environ["BOTKEEP_HOME"]
    assert locate(environ).path == Path("/data/botkeep")
    del environ["XDG_DATA_HOME"]
    assert locate(environ).path == Path("/home/ann/.local/share/botkeep")
    assert locate({"HOME": "/home/ann", "BOTKEEP_HOME": "bk"}).path.is_absolute()


def test_a_prepared_home_lets_nobody_else_in(tmp_path: Path) -> None:
    home = Home(tmp_path / "deep" / "home")
    prepare(home)
    prepare(home)
    for path in (home.path, home.broker, home.logs, home.run):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_an_open_home_is_closed_when_empty_and_refused_when_not(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    prepare(Home(tmp_path))
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
    tmp_path.chmod(0o755)
    with pytest.raises(Refused, match="open to other users") as refused:
        prepare(Home(tmp_path))
    assert f"chmod 700 {tmp_path}" in refused.value.sentence


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("below", ["botkeep.db", "keys/prod.key", "broker/password", "logs/up.log", "run/up.lock"])
def test_a_home_with_something_of_another_user_is_refused_with_the_command_that_mends_it(below: str) -> None:
    with a_closed_folder() as folder:
        os.chown(folder, 65534, -1)
        with an_ordinary_user():
            prepare(Home(folder))
        (folder / below).parent.mkdir(mode=0o700, exist_ok=True)
        os.chown((folder / below).parent, 65534, -1)
        (folder / below).write_text("root's")
        with an_ordinary_user():
            with pytest.raises(Refused, match=f"{folder / below} belongs to another user") as refused:
                prepare(Home(folder))
            assert f"sudo chown -R 65534 {folder}" in refused.value.sentence
            finding, _ = check_home(Home(folder))
        assert (finding.level, finding.mend) == ("fail", refused.value.hint)
        os.chown(folder / below, 65534, -1)
        with an_ordinary_user():
            prepare(Home(folder))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("below", ["lost+found", "work/slot", "backup/prod.key"])
def test_what_botkeep_does_not_need_may_be_anybodys(below: str) -> None:
    with a_closed_folder() as folder:
        os.chown(folder, 65534, -1)
        (folder / below).mkdir(parents=True)
        if "work" in below:
            os.chown(folder / "work", 65534, -1)
        with an_ordinary_user():
            prepare(Home(folder))
            assert strange(Home(folder)) is None


def test_a_private_file_is_replaced_at_once_and_never_readable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_the_last_lines_of_a_log_are_its_last(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert last_lines(path) == []
    with open_log(path) as log:
        log.write("".join(f"line {n}\n\n" for n in range(10_000)).encode())
    assert last_lines(path, 2) == ["line 9998", "line 9999"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_file_in_the_home_is_used_when_the_environment_says_nothing(home: Path) -> None:
    client_file(home)
    assert connection({}, Home(home)) == Connection("http://localhost:1", "bk_local")
    assert connection({"BOTKEEP_TOKEN": "bk_x"}, Home(home)).token == "bk_x"
    assert connection({"BOTKEEP_URL": "http://localhost:1"}, Home(home)).token == "bk_local"


def test_the_token_in_the_file_never_goes_to_another_address(home: Path) -> None:
    client_file(home)
    with pytest.raises(Denied, match="no token"):
        connection({"BOTKEEP_URL": "https://elsewhere.example"}, Home(home))


def test_without_an_address_the_next_step_is_said(home: Path) -> None:
    with pytest.raises(Unreachable) as missing:
        connection({}, Home(home))
    assert "botkeep up" in missing.value.sentence


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_that_others_can_open_is_refused_with_the_mend(home: Path, mode: int) -> None:
    path = client_file(home)
    path.chmod(mode)
    with pytest.raises(Refused) as refused:
        read_client(path)
    assert f"chmod 600 {path}" in refused.value.sentence


@pytest.mark.parametrize("content", ["url = ", 'url = "http://x"', 'token = "t"', "url = 1\ntoken = 2"])
def test_a_file_that_makes_no_sense_is_refused_without_being_quoted(home: Path, content: str) -> None:
    with pytest.raises(Refused) as refused:
        read_client(client_file(home, content))
    assert content not in refused.value.sentence


def test_an_address_without_a_scheme_is_refused(home: Path) -> None:
    with pytest.raises(Refused) as refused:
        connection({"BOTKEEP_URL": "example.com", "BOTKEEP_TOKEN": "bk"}, Home(home))
    assert "https://" in refused.value.sentence
