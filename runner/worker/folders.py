"""Folders that file triggers watch: a complete file fires once, and moves away when its job has ended.

A file counts as complete when its size and its time of change have stayed the same for the trigger's `stable`; writing
it elsewhere and renaming it into the folder is the sure way. What tells files apart is path, inode, time of change and
size: a file that is written anew fires anew.

| it dies | then |
|---|---|
| before the firing is written down | the file is still there: it is seen again |
| after it | the firing is unique: seen again, it changes nothing, and the scheduler decides about it |
| after the end of the job, before the move | the file is still there, its job has ended: it is moved |
| while several runners look at a shared folder | one firing is written, one move succeeds |

Refuses folders that `BOTKEEP_WATCH_FOLDERS` does not allow, also by way of links, and everything that is no regular
file. Never opens, changes or removes a file.
"""

from __future__ import annotations

import stat
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Self

import watchfiles
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from runner import arrivals
from runner.durations import duration
from runner.logging import logger
from runner.triggers import Kind, Trigger
from runner.worker.settings import RunnerSettings
from vault import db
from vault.errors import VaultError

#: Seconds between two looks where nothing is heard of: on file systems without notifications, and for stability.
LOOK = 2.0

#: Files of one folder that are looked at in one go; the rest follows.
MOST = 1000

#: Where a definition names no other folder, as `scheduler.definitions.File`.
_DEFAULTS = {"pattern": "*", "stable": 2.0, "done": "done", "failed": "failed"}

_log = logger()


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as it was at one look."""

    path: Path
    inode: int
    changed_ns: int
    size: int

    @property
    def key(self) -> str:
        """What tells it apart from every other file, and from what it was before."""
        return f"file:{self.path}:{self.inode}:{self.changed_ns}:{self.size}"

    def event(self) -> dict[str, Any]:
        """What the trigger's `parameters_from` may take."""
        return {
            "path": str(self.path),
            "name": self.path.name,
            "folder": str(self.path.parent),
            "size": self.size,
            "modified_at": datetime.fromtimestamp(self.changed_ns / 1e9, UTC).isoformat(),
        }


class Folders:
    """Looks at the folders of the file triggers that this runner serves, in a thread of its own."""

    def __init__(
        self, engine: Engine, *, environments: Sequence[str], groups: Sequence[str], allowed: Sequence[Path]
    ) -> None:
        self._engine, self._environments, self._groups = engine, environments, groups
        self._allowed = [path.resolve() for path in allowed]
        self._since: dict[Seen, float] = {}
        self._refused: set[Path] = set()
        self._stop, self._wake = threading.Event(), threading.Event()
        self._threads: list[threading.Thread] = []

    @classmethod
    def of(cls, engine: Engine, settings: RunnerSettings) -> Self:
        """As a runner's settings say."""
        return cls(engine, environments=settings.environments, groups=settings.groups, allowed=settings.watch_folders)

    def start(self) -> None:
        """Begin to look; does nothing on a runner that may watch no folder."""
        if not self._allowed:
            return
        for name, run in (("folders", self._run), ("folders-hear", self._hear)):
            thread = threading.Thread(target=run, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def close(self) -> None:
        """Look no more."""
        self._stop.set()
        self._wake.set()
        for thread in self._threads:
            thread.join(5)

    def look(self, *, now: float) -> None:
        """One look at every folder; `now` is monotonic, in seconds. Raises `Unavailable`."""
        with db.reading(self._engine) as session:
            found = arrivals.watched(session, Kind.FILE, environments=self._environments, groups=self._groups)
        current: set[Seen] = set()
        for trigger in found:
            folder = self._folder(trigger)
            if folder is not None:
                files = list(_files(folder, _setting(trigger, "pattern")))
                current.update(files)
                self._attend(trigger, files, now=now)
        self._since = {file: since for file, since in self._since.items() if file in current}

    def _attend(self, trigger: Trigger, files: Sequence[Seen], *, now: float) -> None:
        if not files:
            return
        with db.reading(self._engine) as session:
            known = arrivals.outcomes(session, trigger.id, [file.key for file in files])
        stable = duration(_setting(trigger, "stable")).total_seconds()
        for file in files:
            outcome = known.get(file.key)
            if outcome is None:
                if trigger.active and now - self._since.setdefault(file, now) >= stable:
                    self._fire(trigger, file)
            elif outcome.over and _move(file, _setting(trigger, "done" if outcome.succeeded else "failed")):
                with db.writing(self._engine) as session:
                    arrivals.moved(session, trigger.id, file.key)

    def _fire(self, trigger: Trigger, file: Seen) -> None:
        with db.writing(self._engine) as session:
            new = arrivals.arrive(session, trigger.id, file.key, event=file.event())
        if new:
            _log.info("file.arrived", trigger=trigger.name, file=str(file.path))

    def _folder(self, trigger: Trigger) -> Path | None:
        """The trigger's folder, where links lead nowhere that is not allowed."""
        named = Path(trigger.definition["file"]["folder"])
        try:
            folder = named.resolve(strict=True)
        except OSError as error:
            self._refuse(trigger, named, error.strerror or "it cannot be reached")
            return None
        if not any(folder.is_relative_to(allowed) for allowed in self._allowed):
            self._refuse(trigger, named, "BOTKEEP_WATCH_FOLDERS of this runner does not allow it")
            return None
        self._refused.discard(named)
        return folder

    def _refuse(self, trigger: Trigger, folder: Path, why: str) -> None:
        if folder not in self._refused:
            self._refused.add(folder)
            _log.warning("folder.refused", trigger=trigger.name, folder=str(folder), why=why)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.look(now=time.monotonic())
            except (VaultError, SQLAlchemyError, OSError) as error:
                _log.warning("folders.delayed", error=str(error).partition("\n")[0])
            except Exception:
                _log.exception("folders.broken")
            self._wake.wait(LOOK)
            self._wake.clear()

    def _hear(self) -> None:
        """Wake up for what the kernel tells of; where it cannot, looking remains."""
        present = [path for path in self._allowed if path.is_dir()]
        try:
            for _ in watchfiles.watch(*present, stop_event=self._stop, raise_interrupt=False, rust_timeout=1000):
                self._wake.set()
        except Exception as error:
            _log.warning("folders.deaf", error=str(error).partition("\n")[0])


def _setting(trigger: Trigger, name: str) -> Any:  # noqa: ANN401 - text or seconds
    return trigger.definition["file"].get(name, _DEFAULTS[name])


def _files(folder: Path, pattern: str) -> Iterator[Seen]:
    """The first regular files, by name, that match; hidden ones are being written."""
    try:
        names = sorted(path.name for path in folder.iterdir() if _fits(path.name, pattern))
    except OSError:
        return
    for name in names[:MOST]:
        if (seen := _seen(folder / name)) is not None:
            yield seen


def _fits(name: str, pattern: str) -> bool:
    """Whether a name matches, is not hidden, and can be told to a bot."""
    return fnmatchcase(name, pattern) and not name.startswith(".") and name.isprintable()


def _seen(path: Path) -> Seen | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return Seen(path, status.st_ino, status.st_mtime_ns, status.st_size)


def _move(file: Seen, where: str) -> bool:
    """Move a file that is done with, unless it is another one by now or another runner moved it; tells if it did."""
    if _seen(file.path) != file:
        return False
    target = file.path.parent / where
    try:
        target.mkdir(exist_ok=True)
        file.path.rename(_free(target, file.path))
    except FileNotFoundError:
        return False
    except OSError as error:
        _log.warning("file.stays", file=str(file.path), error=error.strerror)
        return False
    return True


def _free(folder: Path, path: Path) -> Path:
    """A name in the folder that nothing has; a second file of a name gets a number."""
    number, chosen = 1, folder / path.name
    while chosen.exists() or chosen.is_symlink():
        chosen = folder / f"{path.stem}.{number}{path.suffix}"
        number += 1
    return chosen
