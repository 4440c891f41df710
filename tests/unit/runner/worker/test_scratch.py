"""Work folders: private, apart, and gone afterwards, whoever died."""

import contextlib
import errno
import os
import signal
import stat
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.worker import marks
from runner.worker.environment import Folders
from runner.worker.scratch import Scratch
from tests.support import ROOT, wait_until


def scratch(tmp_path: Path) -> Scratch:
    memory = tmp_path / "memory"
    memory.mkdir(exist_ok=True)
    return Scratch(tmp_path / "work", instance=uuid.uuid4(), memory=memory)


def left(tmp_path: Path) -> list[Path]:
    """What is there below both roots."""
    vault = tmp_path / "memory" / f"botkeep-{os.geteuid()}"
    return [*(tmp_path / "work").iterdir(), *vault.iterdir()]


def test_all_folders_of_an_attempt_are_private_and_empty(tmp_path: Path) -> None:
    folders = scratch(tmp_path).open()
    for folder in (folders.root, folders.home, folders.tmp, folders.output, folders.assets):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not folders.package.exists(), "unpacking makes it"
    assert folders.parameters.parent == folders.assets
    assert folders.assets.is_relative_to(tmp_path / "memory")
    assert folders.root.is_relative_to(tmp_path / "work")


def test_attempts_share_nothing(tmp_path: Path) -> None:
    made = scratch(tmp_path)
    one, two, other = made.open(), made.open(), made.open()
    assert len({one.root, two.root, other.root, one.assets, two.assets, other.assets}) == 6


def test_discarding_removes_what_a_bot_locked(tmp_path: Path) -> None:
    made = scratch(tmp_path)
    folders = made.open()
    for base in (folders.root, folders.home, folders.assets):
        deep = base / "a" / "b"
        deep.mkdir(parents=True)
        (deep / "file").write_text("x")
        (deep / "file").chmod(0)
        deep.chmod(0)
        deep.parent.chmod(0)
    made.discard(folders)
    assert sorted(path.name for path in folders.root.rglob("*")) == ["home", "output", "tmp"]
    assert list(folders.assets.iterdir()) == []


def test_the_next_attempt_gets_the_emptied_folders_again(tmp_path: Path) -> None:
    made = scratch(tmp_path)
    first = made.open()
    first.package.mkdir(mode=0o700)
    inodes = [folder.stat().st_ino for folder in (first.root, first.assets)]
    for folder in (first.home, first.tmp, first.output, first.root, first.assets):
        (folder / "left").write_text("x")
    made.discard(first)
    second = made.open()
    assert second == first
    assert [folder.stat().st_ino for folder in (second.root, second.assets)] == inodes, "what was granted, still is"
    assert list(second.assets.iterdir()) == []
    assert sorted(path.name for path in second.root.rglob("*")) == ["home", "output", "package", "tmp"]


def _opens(folder: Path) -> None:
    folder.chmod(0o777)


def _replaces(folder: Path) -> None:
    outside = folder.parents[3] / "outside"
    outside.mkdir(mode=0o700, exist_ok=True)
    (outside / "kept").touch()
    folder.rmdir()
    folder.symlink_to(outside)


def _removes(folder: Path) -> None:
    folder.rmdir()


def _exchanges(folder: Path) -> None:
    folder.rename(folder.with_name("former"))
    folder.mkdir(mode=0o700)


def _marks(folder: Path) -> None:
    os.setxattr(folder, "user.note", b"for the next bot")


@pytest.mark.parametrize("change", [_opens, _replaces, _removes, _marks])
@pytest.mark.parametrize("name", ["home", "tmp", "output"])
def test_folders_that_a_bot_changed_are_not_used_again(
    tmp_path: Path, change: Callable[[Path], None], name: str
) -> None:
    made = scratch(tmp_path)
    folders = made.open()
    change(folders.root / name)
    made.discard(folders)
    assert not folders.root.exists()
    assert not (tmp_path / "outside").exists() or (tmp_path / "outside" / "kept").exists()
    again = made.open()
    assert again.root != folders.root
    for folder in (again.home, again.tmp, again.output):
        assert stat.S_IMODE(folder.lstat().st_mode) == 0o700


@pytest.mark.parametrize("change", [_opens, _removes, _exchanges, _marks])
@pytest.mark.parametrize("name", ["assets", "root"])
def test_a_path_never_stands_for_another_folder_than_before(
    tmp_path: Path, change: Callable[[Path], None], name: str
) -> None:
    made = scratch(tmp_path)
    folders = made.open()
    folder = folders.assets if name == "assets" else folders.root
    if change is _removes:
        for inside in (folders.home, folders.tmp, folders.output):
            inside.rmdir()
    try:
        change(folder)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP or change is not _marks:
            raise
        pytest.skip("a file system without attributes")
    made.discard(folders)
    assert not folders.root.exists()
    assert not folders.assets.exists()
    again = made.open()
    assert again.root != folders.root
    assert again.assets != folders.assets
    for made_anew in (again.root, again.assets):
        assert stat.S_IMODE(made_anew.lstat().st_mode) == 0o700


def _as_made(folders: Folders) -> None:
    folders.parameters.write_text("{}")


def _and_a_value(folders: Folders) -> None:
    folders.parameters.write_text("{}")
    (folders.assets / "SAP.PASSWORD").write_text("value")


def _and_a_folder(folders: Folders) -> None:
    folders.parameters.write_text("{}")
    (folders.assets / "roboto").mkdir()
    (folders.assets / "roboto" / "parameters.json").write_text("{}")


def _something_else(folders: Folders) -> None:
    (folders.assets / "left").write_text("value")


def _a_folder_instead(folders: Folders) -> None:
    folders.parameters.mkdir()
    (folders.parameters / "left").write_text("value")


def _nothing(_folders: Folders) -> None:
    pass


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no file system in memory")
@pytest.mark.parametrize(
    ("leave", "same"),
    [
        (_as_made, True),
        (_and_a_value, True),
        (_and_a_folder, True),
        (_nothing, True),
        (_something_else, False),
        (_a_folder_instead, False),
    ],
)
def test_nothing_is_left_in_memory_of_what_an_attempt_had(
    tmp_path: Path, leave: Callable[[Folders], None], *, same: bool
) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        made = Scratch(tmp_path / "work", instance=uuid.uuid4(), memory=Path(memory))
        former = made.open()
        leave(former)
        made.discard(former)
        found = made.open()
        assert list(found.assets.iterdir()) == []
        assert (found == former) == same
        assert former.assets.exists() == same
        made.close()


def test_no_attempt_gets_folders_in_which_a_former_one_may_live_on(tmp_path: Path) -> None:
    made = scratch(tmp_path)
    folders = made.open()
    made.discard(folders, again=False)
    assert not folders.root.exists()
    assert not folders.assets.exists()
    assert made.open().root != folders.root


def test_discarding_does_not_follow_links(tmp_path: Path) -> None:
    made = scratch(tmp_path)
    folders = made.open()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    (folders.home / "link").symlink_to(outside)
    (folders.assets / "link").symlink_to(outside / "kept")
    made.discard(folders)
    assert (outside / "kept").exists()
    assert list(folders.home.iterdir()) == []


def test_closing_removes_everything_of_this_process(tmp_path: Path) -> None:
    made = scratch(tmp_path)
    made.open()
    made.close()
    assert left(tmp_path) == []


def test_a_living_neighbours_folders_are_left_alone(tmp_path: Path) -> None:
    folders = scratch(tmp_path).open()
    second = scratch(tmp_path)
    assert folders.home.exists()
    second.close()
    assert folders.home.exists()


def test_what_a_killed_worker_left_is_removed_at_the_next_start(tmp_path: Path) -> None:
    code = f"""
import sys, time, uuid
from pathlib import Path
from runner.worker.scratch import Scratch
made = Scratch(Path({str(tmp_path / "work")!r}), instance=uuid.uuid4(), memory=Path({str(tmp_path / "memory")!r}))
(made.open().assets / "SAP.PASSWORD").write_text("value")
print("made", flush=True)
sys.stdin.read()
"""
    (tmp_path / "memory").mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"made\n"
        scratch(tmp_path).close()
        assert len(left(tmp_path)) == 2, "its lock is held"
        worker.send_signal(signal.SIGKILL)
    wait_until(lambda: worker.poll() is not None, 10, "the worker to be gone")
    scratch(tmp_path).close()
    assert left(tmp_path) == []


def test_without_memory_backed_storage_values_lie_below_the_home(tmp_path: Path) -> None:
    made = Scratch(tmp_path / "work", instance=uuid.uuid4(), memory=None)
    folders = made.open()
    assert folders.assets.is_relative_to(tmp_path / "work" / "memory")
    made.close()


def test_a_second_worker_without_memory_backed_storage_leaves_the_firsts_values_alone(tmp_path: Path) -> None:
    first = Scratch(tmp_path / "work", instance=uuid.uuid4(), memory=None)
    folders = first.open()
    second = Scratch(tmp_path / "work", instance=uuid.uuid4(), memory=None)
    assert folders.assets.exists()
    second.close()
    first.close()


@pytest.mark.parametrize("spoil", ["open", "link"])
def test_a_folder_for_values_that_others_can_read_is_refused(tmp_path: Path, spoil: str) -> None:
    vault = tmp_path / "memory" / f"botkeep-{os.geteuid()}"
    vault.parent.mkdir()
    if spoil == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        vault.symlink_to(tmp_path / "elsewhere")
    else:
        vault.mkdir()
        vault.chmod(0o755)
    with pytest.raises(PermissionError, match="remove it"):
        scratch(tmp_path)


def test_a_tree_deeper_than_a_path_or_a_call_can_go_is_removed(tmp_path: Path) -> None:
    made = scratch(tmp_path)
    folders = made.open()
    with contextlib.chdir(folders.home):
        for _ in range(3000):
            Path("deep").mkdir()
            Path("file").touch()
            os.chdir("deep")
    made.discard(folders)
    assert list(folders.home.iterdir()) == []
    assert made.open().root == folders.root


def test_what_a_bot_changes_is_seen_in_folders_that_were_empty_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "_SETTLED", 0)  # what was changed a moment ago is remembered, too
    made = scratch(tmp_path)
    made.discard(made.open())
    folders = made.open()
    assert made.is_unused(folders), "nothing was left in it"
    changes: tuple[Callable[[], object], ...] = (
        lambda: (folders.output / "report").write_text("x"),
        (folders.home / "inside").mkdir,
        lambda: folders.tmp.chmod(0o755),
        lambda: (folders.root / "beside").write_text("x"),
    )
    for number, change in enumerate(changes, 3):
        change()
        assert made.is_unused(folders) == (number > 3)
        made.discard(folders)
        folders = made.open()
        found = sorted((path.name, stat.S_IMODE(path.stat().st_mode)) for path in folders.root.rglob("*"))
        assert found == [("home", 0o700), ("output", 0o700), ("tmp", 0o700)]
        made.discard(folders)
        folders = made.open()
    folders.output.rename(folders.home / "elsewhere")
    assert not made.is_unused(folders)
