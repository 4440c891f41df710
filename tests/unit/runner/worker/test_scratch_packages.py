"""What a bot did with the folder of its package goes with its attempt; where it did nothing, the folder stays."""

import errno
import stat
from pathlib import Path

import pytest

from runner.archive import files_of, pack
from runner.worker import marks, removal
from runner.worker import scratch as module
from runner.worker.unpacking import listing
from tests.unit.runner.worker.test_scratch import scratch


@pytest.fixture
def packed(tmp_path: Path) -> bytes:
    (tmp_path / "bot").mkdir()
    (tmp_path / "bot" / "main.py").write_text("print(1)\n")
    return pack(tmp_path / "bot")


@pytest.mark.parametrize("change", ["added", "overwritten"])
def test_what_a_bot_wrote_into_its_package_goes_with_its_attempt(tmp_path: Path, packed: bytes, change: str) -> None:
    made, listed = scratch(tmp_path), listing(files_of(packed))
    folders = made.open()
    made.lay_out(folders, packed, listed=listed)
    (folders.package / ("main.py" if change == "overwritten" else "report.csv")).write_text("x7!Kq-live")
    made.discard(folders)
    assert not folders.package.exists()
    assert made.open() == folders, "its other folders are used again"
    made.lay_out(folders, packed, listed=listed)
    assert [path.name for path in folders.package.iterdir()] == ["main.py"]


def test_a_package_that_a_bot_left_as_it_was_is_kept(tmp_path: Path, packed: bytes) -> None:
    made, listed = scratch(tmp_path), listing(files_of(packed))
    inodes = set()
    for _ in range(3):
        folders = made.open()
        made.lay_out(folders, packed, listed=listed)
        inodes.add((folders.package / "main.py").stat().st_ino)
        made.discard(folders)
    assert len(inodes) == 1


def test_a_package_that_a_bot_made_hard_to_remove_takes_its_folders_along(
    tmp_path: Path, packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = scratch(tmp_path)
    folders = made.open()
    made.lay_out(folders, packed, listed=listing(files_of(packed)))
    (folders.package / "report.csv").write_text("x7!Kq-live")
    tried: list[Path] = []

    def refused_at_first(tree: Path) -> None:
        tried.append(tree)
        if len(tried) == 1:
            raise PermissionError(errno.EACCES, "as a mount would be")
        removal.remove(tree)

    monkeypatch.setattr(module, "remove", refused_at_first)
    made.discard(folders)
    assert tried[0] == folders.package
    assert not folders.root.exists()
    assert made.open() != folders


def test_a_package_is_not_removed_through_a_link(tmp_path: Path, packed: bytes) -> None:
    made = scratch(tmp_path)
    folders = made.open()
    made.lay_out(folders, packed, listed=listing(files_of(packed)))
    victim = tmp_path / "victim"
    (victim / "package").mkdir(parents=True)
    (victim / "package" / "kept").write_text("somebody else's")
    folders.root.rename(tmp_path / "elsewhere")
    folders.root.symlink_to(victim)
    made.discard(folders)
    assert (victim / "package" / "kept").read_text() == "somebody else's"
    assert made.open() != folders


def test_a_package_that_others_had_meanwhile_is_kept(
    tmp_path: Path, packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "settled", lambda _marks: True)
    made, listed = scratch(tmp_path), listing(files_of(packed))
    folders = made.open()
    made.lay_out(folders, packed, listed=listed)
    before = (folders.package / "main.py").stat()
    made.discard(folders)
    made.lay_out(made.open(), packed, listed=listed)
    (folders.package / "main.py").chmod(stat.S_IMODE(before.st_mode))  # as taking it back does: another ctime
    made.discard(folders)
    assert (folders.package / "main.py").stat().st_ino == before.st_ino
