"""The setting BOTKEEP_BOT_USERS: which users there are for bots, and whether they can be used here.

Refuses at the start what cannot work, with a sentence that says what to do: users that a bot must not be, fewer than
bots at the same time, a runner that may not switch, folders through which they cannot pass, or too much behind those.
"""

from __future__ import annotations

import os
import pwd
import re
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from runner.errors import Invalid
from runner.logging import logger
from runner.worker import privileges
from runner.worker.interpreters import own_interpreter
from runner.worker.launch import HERE
from runner.worker.launching import sdk_folder
from runner.worker.leases import BotUser, BotUsers, lock_file, valet
from runner.worker.settings import RunnerSettings

#: Users that a pool may have; each has a file.
MOST = 4096

#: Numbers that belong to nobody in particular: the kernel's stand-in for users without one, and what means none.
NOBODY = frozenset({65534, 65535})

#: The folders of the home through which bots' users pass: to their folders and to their virtual environments.
OPENED = ("work", "environments")

_log = logger()

_RANGE = re.compile(r"([0-9]{1,10})(?:-([0-9]{1,10}))?", re.ASCII)


def of(settings: RunnerSettings) -> list[BotUser]:
    """The users of the setting, who may be few enough, and lays aside what it takes to switch to them.

    From here on this process has no capability in force, and what it executes gets none, unless it is root.

    Raises:
        Invalid: what the setting names cannot be used, or this process may not switch.
    """
    users = parse(settings.bot_users)
    if not users:
        privileges.forget_ambient()  # bots would get it
        return users
    require(users, concurrency=settings.concurrency)
    privileges.lay_aside()
    return users


def prepare(users: Sequence[BotUser], settings: RunnerSettings, memory: Path | None) -> BotUsers:
    """The pool, once all is seen to that it needs; `memory` is the folder in memory for values.

    Raises:
        Invalid: they cannot be locked, or cannot reach what they must, or could reach too much.
    """
    open_locks(settings.bot_users_dir, users)
    folders = passages(settings.home, memory)
    let_through(folders)
    require_closed(settings.home)
    require_reachable(users[0], folders=folders)
    return BotUsers(users, settings.bot_users_dir, occupied=lambda name: _log.warning("user.occupied", user=name))


def parse(text: str) -> list[BotUser]:
    """The users of a setting: names, numbers and ranges of numbers, separated by commas.

    A number that the host has no name for has the group of the same number.

    Raises:
        Invalid: for what names no user, or one that no bot may have.
    """
    found: dict[int, BotUser] = {}
    for word in filter(None, (part.strip() for part in text.split(","))):
        for user in _named(word):
            _refuse_unfit(user)
            if user.number in found:
                raise Invalid(f"BOTKEEP_BOT_USERS names user {user.number} twice.")
            found[user.number] = user
            if len(found) > MOST:
                raise Invalid(f"BOTKEEP_BOT_USERS names more than {MOST:,} users.")
    return list(found.values())


def _named(word: str) -> Iterable[BotUser]:
    matched = _RANGE.fullmatch(word)
    if matched is None:
        try:
            entry = pwd.getpwnam(word)
        except (KeyError, ValueError):
            raise Invalid(f"BOTKEEP_BOT_USERS names {word!r}, and this host has no such user.") from None
        return [BotUser(entry.pw_uid, entry.pw_gid, word)]
    first, last = int(matched[1]), int(matched[2] or matched[1])
    if last < first or last >= 2**31:
        raise Invalid(f"BOTKEEP_BOT_USERS has the range {word}; write the smaller number first, as in 70000-70015.")
    if last - first >= MOST:
        raise Invalid(f"BOTKEEP_BOT_USERS names more than {MOST:,} users.")
    return (_numbered(number) for number in range(first, last + 1))


def _numbered(number: int) -> BotUser:
    try:
        entry = pwd.getpwuid(number)
    except KeyError:
        return BotUser(number, number, str(number))
    return BotUser(number, entry.pw_gid, entry.pw_name)


def _refuse_unfit(user: BotUser) -> None:
    why = None
    if user.number == 0:
        why = "who is root"
    elif user.number in (os.geteuid(), os.getuid()):
        why = "who is the runner's own"
    elif user.number in NOBODY:
        why = "who stands for anybody"
    elif user.group == 0 or user.group in (os.getegid(), *os.getgroups()):
        why = f"whose group {user.group} is root's or the runner's own"
    if why is not None:
        raise Invalid(f"BOTKEEP_BOT_USERS names user {user.name}, {why}; give bots users who are nothing else.")


def require(users: Sequence[BotUser], *, concurrency: int) -> None:
    """Raises `Invalid` where there are too few, or where this process may not switch to them."""
    if len(users) < concurrency:
        raise Invalid(
            f"BOTKEEP_BOT_USERS names {len(users)} users for {concurrency} bots at the same time; name more, or lower "
            "BOTKEEP_CONCURRENCY."
        )
    if lacking := privileges.missing():
        raise Invalid(
            f"BOTKEEP_BOT_USERS is set, but this runner may not switch users: it lacks {', '.join(lacking)}. Let the "
            "service manager give it AmbientCapabilities="
            f"{' '.join(privileges.NEEDED)} (deploy/systemd/bot-users.conf), or leave the setting out."
        )


def open_locks(folder: Path, users: Iterable[BotUser]) -> None:
    """Makes the files of locks; those who share the folder's group may lock them, too.

    Raises:
        Invalid: where the folder is not there, or others could write in it, or a file is another runner's alone.
    """
    if os.geteuid() == 0:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        found = folder.lstat()
    except OSError as error:
        raise Invalid(
            f"The folder {folder}, in which runners of this host lock the users of their bots, cannot be used "
            f"({error.strerror}). As root: install -d -m 3770 -g GROUP {folder}, with a group of all runners; or set "
            "BOTKEEP_BOT_USERS_DIR."
        ) from None
    trusted = stat.S_ISDIR(found.st_mode) and found.st_uid in (0, os.geteuid()) and not found.st_mode & stat.S_IWOTH
    if not trusted:
        raise Invalid(f"{folder} must be a folder of root or of this runner, and not writable by everybody.")
    for user in users:
        try:
            file = lock_file(folder, user)
        except OSError as error:
            raise Invalid(
                f"{folder}/{user.number} cannot be opened ({error.strerror}): the folder is not this runner's, or "
                f"another one has user {user.name}. Let the runners of this host share the folder's group, and give "
                "each users of its own."
            ) from None
        try:
            if os.fstat(file).st_uid == os.geteuid():
                os.fchmod(file, 0o660)
        finally:
            os.close(file)


def passages(home: Path, memory: Path | None) -> list[Path]:
    """The folders of the runner through which bots' users must pass: its home, those in it, and one in memory."""
    inside = [home / name for name in OPENED]
    return [home, *inside, *([] if memory is None else [memory])]


def let_through(folders: Iterable[Path]) -> None:
    """Lets everybody pass through these folders, which are made where they lack, and list none that was not open.

    Raises OSError.
    """
    for folder in folders:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
        if found.st_uid == os.geteuid() and found.st_mode & 0o001 == 0:
            folder.chmod(stat.S_IMODE(found.st_mode) | 0o011)


def require_closed(home: Path) -> None:
    """Raises `Invalid` where bots' users could reach something in the runner's home beside what is meant for them."""
    for entry in home.iterdir():
        found = entry.lstat()
        if entry.name not in OPENED and not stat.S_ISLNK(found.st_mode) and found.st_mode & 0o007:
            raise Invalid(
                f"{entry} is open to everybody ({stat.S_IMODE(found.st_mode):04o}), and bots with users of their own "
                f"pass through its folder: chmod o-rwx {entry}"
            )


def open_environment(home: Path) -> None:
    """Lets everybody read a virtual environment, which stays the runner's to write. Does nothing where it is done."""
    if home.stat().st_mode & 0o005 == 0o005:
        return
    for folder, folders, files in os.walk(home):
        for name in (*folders, *files):
            path = Path(folder, name)
            mode = path.lstat().st_mode
            if not stat.S_ISLNK(mode):
                path.chmod(stat.S_IMODE(mode) | 0o004 | (0o001 if mode & 0o100 else 0))
    home.chmod(stat.S_IMODE(home.stat().st_mode) | 0o005)  # last: it says that all is done


def require_reachable(user: BotUser, *, folders: Sequence[Path] = ()) -> None:
    """Raises `Invalid` where bots' users cannot reach what every Python bot needs, or these folders."""
    files = [HERE / "bootstrap.py", HERE / "bot_main.py", sdk_folder() / "__init__.py"]
    require_reach(user, own_interpreter().executable, files=files, folders=folders)


#: Run as a bot's user: names what that cannot reach.
_REACH = "import os, sys; print(*(p for p in sys.argv[1:] if not os.access(p, os.R_OK if p[-1] != '/' else os.X_OK)))"


def require_reach(user: BotUser, interpreter: Path, *, files: Iterable[Path], folders: Iterable[Path]) -> None:
    """Raises `Invalid` where bots' users cannot execute the interpreter, read `files` or pass through `folders`."""
    places = [*map(str, files), *(f"{folder}/" for folder in folders)]
    done = valet("run", *user.told[:2], interpreter, "-I", "-S", "-c", _REACH, *places)
    what = done.stdout.split() if done.returncode == 0 else [str(interpreter)]
    if what:
        raise Invalid(
            f"The users of BOTKEEP_BOT_USERS cannot reach {', '.join(what)}. Install Botkeep and its Python where "
            "everybody may read, such as /opt/botkeep, and let others pass through the folders above (chmod o+x)."
        )
