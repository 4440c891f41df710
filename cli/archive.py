"""Makes the archive that `bot add` sends: the files of a bot, in a fixed order and without their times.

It refuses links and anything that is neither file nor folder, and what the server would refuse for its size,
before a byte is sent. What tools leave behind (`.git`, `__pycache__`, `*.pyc`, a virtual environment of any
name) stays behind.
"""

from __future__ import annotations

import io
import json
import os
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

from cli.errors import NotFound, Refused

#: Names and endings that are no part of a bot, the same as the server's.
LEFT_OUT = frozenset(
    {".git", ".hg", ".svn", ".venv", ".tox", "__pycache__", "__MACOSX", ".DS_Store"}
    | {".mypy_cache", ".pytest_cache", ".ruff_cache"}
)
LEFT_OUT_ENDINGS = (".pyc", ".pyo")

#: The server's limits.
MAX_BYTES = 64 * 1024 * 1024
MAX_FILES = 10_000

#: The oldest time a ZIP archive can express.
_EPOCH = (1980, 1, 1, 0, 0, 0)


def archive(path: Path, *, task: str | None = None) -> bytes:
    """A ZIP archive of a `.py` file, or of a folder that has a `bot.toml` or a `robot.yaml`.

    `task` says which task of a robot.yaml is meant; it is written into a bot.toml, which the folder must not have then.

    Raises:
        NotFound: when nothing is at the path.
        Refused: when it is no bot, holds a link or a device, or is too large.
    """
    if not path.exists():
        raise NotFound(f"There is nothing at {path}.", hint="Name a .py file or a folder with a bot.toml.")
    buffer = io.BytesIO()
    size = 0
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for count, (name, file) in enumerate(_members(path), start=1):
            content = _content(file)
            size += len(content)
            if size > MAX_BYTES or count > MAX_FILES:
                raise Refused(
                    f"{path} has more than {MAX_BYTES // 1024 // 1024} MiB or {MAX_FILES} files.",
                    hint="Leave out data and tools that the bot does not need.",
                )
            target.writestr(_entry(name, file), content)
        if task is not None:
            _add_task(path, task, target)
    return buffer.getvalue()


def _add_task(path: Path, task: str, target: zipfile.ZipFile) -> None:
    if not (path / "robot.yaml").is_file():
        raise Refused(f"{path} has no robot.yaml, so it has no tasks.", hint="Leave --task out.")
    if (path / "bot.toml").exists():
        raise Refused(f"{path} has a bot.toml.", hint=f"Write there: [robot] and below it task = {json.dumps(task)}")
    entry = zipfile.ZipInfo("bot.toml", date_time=_EPOCH)
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    target.writestr(entry, f"[robot]\ntask = {json.dumps(task)}\n")


def _members(path: Path) -> Iterator[tuple[str, Path]]:
    if path.is_dir():
        if not any((path / name).is_file() for name in ("bot.toml", "robot.yaml")):
            raise Refused(f"{path} has no bot.toml.", hint="Add one that names the entry point, or name a .py file.")
        yield from _walk(path)
    elif path.suffix == ".py":
        yield path.name, path
    else:
        raise Refused(f"{path} is not a bot.", hint="Name a .py file or a folder with a bot.toml.")


def _walk(root: Path) -> Iterator[tuple[str, Path]]:
    for folder, names, files in os.walk(root):
        here = Path(folder)
        names[:] = sorted(name for name in names if not _left_out(name))
        for name in names:
            if (here / name).is_symlink():
                _refuse_link(here / name)
        names[:] = [name for name in names if not (here / name / "pyvenv.cfg").exists()]
        for name in sorted(files):
            if not _left_out(name):
                yield (here / name).relative_to(root).as_posix(), here / name


def _left_out(name: str) -> bool:
    return name in LEFT_OUT or name.endswith(LEFT_OUT_ENDINGS)


def _content(file: Path) -> bytes:
    # A link is refused by the open itself, a device or a pipe without being opened for reading.
    mode = file.lstat().st_mode
    if stat.S_ISLNK(mode):
        _refuse_link(file)
    if not stat.S_ISREG(mode):
        raise Refused(f"{file} is not a regular file.", hint="Move it out of the bot's folder.")
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as source:
            return source.read(MAX_BYTES + 1)
    except OSError as error:
        raise Refused(f"{file} cannot be read: {error.strerror}.", hint="Mend its permissions.") from None


def _refuse_link(file: Path) -> None:
    raise Refused(f"{file} is a link.", hint="A bot holds files only; put a copy in its place.")


def _entry(name: str, file: Path) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, date_time=_EPOCH)
    mode = 0o755 if file.stat().st_mode & stat.S_IXUSR else 0o644
    entry.external_attr = (stat.S_IFREG | mode) << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry
