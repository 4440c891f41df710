"""Files that their owner alone may read, written at once or not at all.

Promises that a file is written under another name, synced, then published, and that of two writers one waits for the
other. Refuses (`IdentityFileError`) what others may read or replace, what belongs to someone else, links and pipes.
"""

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from vault.errors import IdentityFileError

#: Time between two looks at a lock that somebody else holds, in seconds.
_LOOK = 0.02


def read_private(
    path: Path,
    *,
    missing: str,
    what: str = "key file",
    advice: str = "rotate the key",
    limit: int,
    forbidden: int = 0o077,
    owners: frozenset[int] | None = None,
) -> bytes:
    """The content of a plain file, at most `limit` bytes, that nobody but its owners can read or replace.

    `what` names the file in sentences; `missing` is the sentence where there is none, `advice` what to do when others
    may have read it. Every check is made on the open descriptor, so that the file checked is the file read.
    """
    try:
        # O_NONBLOCK: a pipe in place of the file must be refused, not waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise IdentityFileError(missing) from None
    except PermissionError:
        raise _closed(path, what) from None
    except OSError as error:
        reason = "a symbolic link" if error.errno == errno.ELOOP else f"unreadable ({error.strerror})"
        raise IdentityFileError(f"The {what} {path} is {reason}: put the file itself there.") from None
    try:
        status = os.fstat(descriptor)
        _check_owned(path, status, what=what, advice=advice, forbidden=forbidden, owners=owners)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(limit)
    finally:
        os.close(descriptor)


def present(path: Path, *, what: str = "key file") -> bool:
    """Whether anything has this name, a link to nowhere too; refuses where nobody lets us look."""
    try:
        path.lstat()
    except PermissionError:
        raise _closed(path, what) from None
    except OSError:
        return False
    return True


def _closed(path: Path, what: str) -> IdentityFileError:
    return IdentityFileError(
        f"The {what} {path} is closed to the user {os.geteuid()}: run as its owner, or give file and folder to that "
        "user with chown."
    )


def _check_owned(
    path: Path, status: os.stat_result, *, what: str, advice: str, forbidden: int, owners: frozenset[int] | None
) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise IdentityFileError(f"The {what} {path} is not a plain file: put the file itself there.")
    if status.st_uid not in (owners or {os.geteuid()}):
        raise IdentityFileError(
            f"The {what} {path} belongs to the user {status.st_uid}: run as that user, or give the file to "
            f"the user {os.geteuid()}."
        )
    if status.st_mode & forbidden:
        raise IdentityFileError(
            f"The {what} {path} can be used by others (mode {stat.S_IMODE(status.st_mode):04o}): "
            f"run `chmod 600 {path}`, and {advice} if anyone may have read it."
        )
    check_directory(path.parent, what=what)


def check_directory(directory: Path, *, what: str = "key file") -> None:
    """Refuse a directory in which others can replace files."""
    status = directory.stat()
    if status.st_mode & 0o022 or status.st_uid not in {os.geteuid(), 0}:
        raise IdentityFileError(
            f"Others can replace files in {directory}, where a {what} is: run `chmod 700 {directory}` as "
            "its owner, or keep it elsewhere."
        )


@contextmanager
def locked(directory: Path, *, what: str = "key file", patience: timedelta | None = None) -> Iterator[None]:
    """One writer at a time, in a directory that only we can write to; what was written is durable.

    Waits for as long as it takes, or for `patience`.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise IdentityFileError(
            f"The directory {directory} cannot hold a {what} ({error.strerror}): choose another."
        ) from None
    try:
        check_directory(directory, what=what)
        _lock(descriptor, directory, patience)
        yield
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, directory: Path, patience: timedelta | None) -> None:
    if patience is None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return
    deadline = time.monotonic() + patience.total_seconds()
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise IdentityFileError(
                    f"Another process is writing in {directory} and does not end: nothing was saved, try again."
                ) from None
            time.sleep(_LOOK)
        else:
            return


@contextmanager
def written(path: Path, content: bytes, *, what: str = "key file") -> Iterator[Path]:
    """The content in a synced file beside the path, which is gone afterwards unless it was renamed."""
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    except OSError as error:
        raise IdentityFileError(
            f"The {what} {path} cannot be written ({error.strerror}); it is as it was before."
        ) from None
    finally:
        temporary.unlink(missing_ok=True)


def publish_new(path: Path, content: bytes, *, what: str = "key file") -> bool:
    """Write a file that does not exist yet; false, with nothing changed, where it does."""
    with written(path, content, what=what) as fresh:
        try:
            # A link, because a rename would overwrite what someone else created a moment ago.
            os.link(fresh, path)
        except FileExistsError:
            return False
    return True


def replace(path: Path, content: bytes, *, what: str = "key file") -> None:
    """Put the content in the place of a file, at once."""
    with written(path, content, what=what) as fresh:
        fresh.replace(path)
