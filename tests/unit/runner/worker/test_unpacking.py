"""An attempt starts with the bytes of its package and nothing else, whatever an earlier bot did to its copy."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.archive import files_of, pack
from runner.worker import marks
from runner.worker.unpacking import Layout, listing
from tests.support import wait_until

SOURCES = {"main.py": "print(1)\n", "lib/__init__.py": "", "lib/deep/part.py": "PART = 1\n", "run.sh": "#!/bin/sh\n"}


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    for name, text in SOURCES.items():
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "source" / "run.sh").chmod(0o755)
    return pack(tmp_path / "source")


def held(directory: Path) -> dict[str, tuple[str, int]]:
    """Text and mode of each file."""
    files = (path for path in directory.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(directory)): (path.read_text(), path.stat().st_mode & 0o7777) for path in files}


def _overwrites(copy: Path) -> None:
    (copy / "main.py").write_text("print(2)\n")


def _adds(copy: Path) -> None:
    (copy / "lib" / "__pycache__").mkdir()
    (copy / "lib" / "__pycache__" / "part.cpython-311.pyc").write_bytes(b"evil")


def _adds_an_empty_folder(copy: Path) -> None:
    (copy / "lib" / "json").mkdir()


def _removes(copy: Path) -> None:
    (copy / "lib" / "deep" / "part.py").unlink()


def _links(copy: Path) -> None:
    os.link(copy / "main.py", copy.parent / "second-name")


def _replaces_by_a_link(copy: Path) -> None:
    (copy.parent / "elsewhere.py").write_text("print(1)\n")
    (copy / "main.py").unlink()
    (copy / "main.py").symlink_to(copy.parent / "elsewhere.py")


def _replaces_the_folder(copy: Path) -> None:
    copy.rename(copy.parent / "moved")
    copy.symlink_to(copy.parent / "moved")


def _makes_executable(copy: Path) -> None:
    (copy / "main.py").chmod(0o700)


def _opens(copy: Path) -> None:
    (copy / "lib").chmod(0o777)


def _locks(copy: Path) -> None:
    (copy / "lib" / "deep" / "part.py").chmod(0)
    (copy / "lib").chmod(0)


def _puts_a_pipe(copy: Path) -> None:
    (copy / "main.py").unlink()
    os.mkfifo(copy / "main.py", 0o600)


def _marks(copy: Path) -> None:
    os.setxattr(copy / "main.py", "user.note", b"for the next bot")


CHANGES = [
    _overwrites, _adds, _adds_an_empty_folder, _removes, _links, _replaces_by_a_link, _replaces_the_folder,
    _makes_executable, _opens, _locks, _puts_a_pipe, _marks,
]  # fmt: skip


@pytest.fixture(params=["a moment ago", "long ago"])
def layout(request: pytest.FixtureRequest, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A copy that was made a moment ago, or so long ago that marks tell whether it was changed."""
    made, listed = Layout(tmp_path / "copy"), listing(files_of(content))
    made.restore(content, listed=listed)
    if request.param == "long ago":
        made_at = (tmp_path / "copy").stat().st_ctime_ns
        wait_until(lambda: _touched(tmp_path / "now") > made_at, 5, "the file system's clock to go on")
        monkeypatch.setattr(marks, "_SETTLED", 0)
        made.restore(content, listed=listed)
    assert (made._listed is None) == (request.param == "a moment ago")
    return made


def _touched(path: Path) -> int:
    path.write_text("")
    return path.stat().st_ctime_ns


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_made_anew(
    content: bytes, tmp_path: Path, layout: Layout, change: Callable[[Path], None]
) -> None:
    listed, copy = listing(files_of(content)), tmp_path / "copy"
    before, inode = held(copy), copy.stat().st_ino
    change(copy)
    layout.restore(content, listed=listed if layout._listed is None else layout._listed)
    assert held(copy) == before
    assert not copy.is_symlink()
    assert copy.stat().st_ino != inode or not os.listxattr(copy / "main.py")
    assert (copy / "main.py").stat().st_nlink == 1
    assert {path.name for path in copy.rglob("*") if path.is_dir()} == {"lib", "deep"}


@pytest.mark.parametrize("change", CHANGES)
def test_a_copy_that_its_attempt_changed_is_known(
    tmp_path: Path, layout: Layout, change: Callable[[Path], None]
) -> None:
    change(tmp_path / "copy")
    assert layout.is_changed()


def test_a_copy_that_its_attempt_left_as_it_was_is_known(content: bytes, tmp_path: Path, layout: Layout) -> None:
    assert not layout.is_changed()
    layout.restore(content, listed=layout._listed or listing(files_of(content)))
    (tmp_path / "copy" / "main.py").read_text()
    assert not layout.is_changed()


def test_bytes_are_compared_although_marks_say_that_nothing_was_changed(
    content: bytes, tmp_path: Path, layout: Layout
) -> None:
    copy = tmp_path / "copy"
    (copy / "main.py").write_text("print(2)\n")
    layout._files["main.py"] = marks.at(str(copy / "main.py"))
    layout.restore(content, listed=layout._listed or listing(files_of(content)))
    assert held(copy)["main.py"] == ("print(1)\n", 0o600)


def test_an_unchanged_copy_is_kept(content: bytes, tmp_path: Path, layout: Layout) -> None:
    copy = tmp_path / "copy"
    inodes = {path: path.stat().st_ino for path in copy.rglob("*")}
    for _ in range(2):
        layout.restore(content, listed=layout._listed or listing(files_of(content)))
    assert {path: path.stat().st_ino for path in copy.rglob("*")} == inodes


def test_the_copy_of_another_package_is_replaced(content: bytes, tmp_path: Path, layout: Layout) -> None:
    (tmp_path / "other.py").write_text("print('other')\n")
    other = pack(tmp_path / "other.py")
    copy = tmp_path / "copy"
    layout.restore(other, listed=listing(files_of(other)))
    assert held(copy) == {"other.py": ("print('other')\n", 0o600)}
    layout.restore(content, listed=listing(files_of(content)))
    assert held(copy).keys() == SOURCES.keys()
