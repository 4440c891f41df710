"""When the wall around bots stands, and that it keeps no bot from what the operator granted."""

import sys
from pathlib import Path

import pytest

from runner.worker import isolation
from runner.worker.interpreters import Interpreter
from runner.worker.premises import ground
from runner.worker.process import Grants
from runner.worker.settings import RunnerSettings

FACTS = isolation.Facts(landlock=6, signal_scope=True, bubblewrap=None, root=False)
PYTHON = Interpreter(Path(sys.executable), "3", "any")


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with other people's settings and ours."""
    folder = tmp_path / "etc"
    for name in ("botkeep/keys", "fonts", "ssl"):
        (folder / name).mkdir(parents=True)
    monkeypatch.setattr(isolation, "OUR_SETTINGS", folder / "botkeep")
    return folder


def grounds(etc: Path, *, home: str, readable: Path) -> tuple[Grants, Grants]:
    """What every bot is granted, and the wall."""
    settings = RunnerSettings(home=etc.parent / home, bot_readable=(readable,))
    _, made = ground(settings, FACTS, own=[settings.home, etc / "botkeep/keys"], interpreter=PYTHON)
    assert made is not None
    return made[1:]


def below(grants: Grants, folder: Path) -> set[str]:
    """The names of what is granted in a folder; a dot for the folder itself."""
    paths = [Path(path) for path, _ in grants]
    return {str(path.relative_to(folder)) for path in paths if path.is_relative_to(folder)}


def test_our_settings_are_behind_a_wall_and_all_beside_them_is_one_rule(etc: Path) -> None:
    granted, wall = grounds(etc, home="home", readable=etc)
    assert below(granted, etc) == {"."}
    assert below(wall, etc) == {"fonts", "ssl"}
    assert not any(etc.is_relative_to(path) for path, _ in wall)


def test_a_file_among_our_settings_that_bots_may_read_needs_an_opening(etc: Path) -> None:
    (etc / "botkeep/ca.pem").touch()
    granted, wall = grounds(etc, home="home", readable=etc / "botkeep/ca.pem")
    assert below(granted, etc) == {"botkeep/ca.pem"}
    assert wall == ()


def test_a_runner_that_lives_among_our_settings_has_no_wall_before_its_bots_folders(etc: Path) -> None:
    (etc / "botkeep/home").mkdir()
    granted, wall = grounds(etc, home="etc/botkeep/home", readable=etc)
    assert below(granted, etc) == {"fonts", "ssl"}
    assert wall == ()
