"""Where the key of this host is kept, and whether it can be had now.

Three protections, each a line in the key's file: `file` is the key itself, readable by its owner only, as the keys of
the environments are; `passphrase` opens it, by hand (`unlock` leaves it in memory-backed storage until `lock` or the
next boot) or from a file; `keyring` leaves it to the operating system. Promises that a key is never written over
before the new line is on the disk. Never takes a key or a passphrase from an environment variable or an argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.worker.local import key as keys
from runner.worker.local.errors import Damaged, Locked
from runner.worker.local.key import HostKey
from runner.worker.local.settings import LocalSettings
from vault import private_files
from vault.errors import Conflict, IdentityFileError
from vault.identities import Credential, file_passphrase, read_source

PROTECTIONS = ("file", "passphrase", "keyring")

#: Under which name a keyring holds the keys of hosts; the key's id stands for the user.
SERVICE = "botkeep local values"

_WHAT = "key file"
_HEADER = "# The key of this host's local values. Whoever reads this, and the values, reads what they are.\n"


@dataclass(frozen=True, slots=True)
class State:
    """How the key is protected, its id, and whether it cannot be had now."""

    protection: str
    key_id: str
    locked: bool


class Custody:
    """The key of this host, wherever it is."""

    def __init__(self, settings: LocalSettings, *, memory: Sequence[Path]) -> None:
        """`memory` are private folders in memory where an unlocked key may lie, the first one that of this process."""
        self._source, self._passphrase_file = settings.local_key(), settings.local_passphrase_file
        self._memory = tuple(memory)

    @property
    def path(self) -> Path:
        """The key's file."""
        return self._source.path if isinstance(self._source, Credential) else self._source

    @property
    def exists(self) -> bool:
        """Whether this host has a key."""
        return self.path.exists()

    def signature(self) -> tuple[object, ...]:
        """Changes whenever the key may be another one, or be had no more."""
        return tuple(map(_stamp, (self.path, *self._unlocked(self._kind()[1]))))

    def state(self) -> State:
        """What is known of the key; asks nobody for anything.

        Raises:
            IdentityFileError: where there is no key, or its file is not as it must be.
        """
        protection, key_id = self._kind()
        locked = protection == "passphrase" and self._passphrase_file is None and self._found(key_id) is None
        return State(protection, key_id, locked)

    def key(self) -> HostKey:
        """The key.

        Raises:
            Locked: when a person must unlock it first.
            IdentityFileError: where there is none, or its file is not as it must be.
        """
        line = self._line()
        protection, key_id = _kind(line)
        if protection == "file":
            return keys.from_line(line)
        if protection == "keyring":
            return keys.from_text(_asked(key_id), key_id)
        if (found := self._found(key_id)) is not None:
            return found
        if self._passphrase_file is not None:
            return self._opened(line, file_passphrase(self._passphrase_file)("local"))
        raise Locked("The local values of this host are locked: unlock them with `botkeep local unlock`.")

    def create(self) -> HostKey:
        """The first key of this host, protected as a file; the one that is there where another process was first."""
        made = HostKey.generate()
        with private_files.locked(self.path.parent):
            private_files.publish_new(self.path, _content(made.line()))
        return self.key()

    def check(self, passphrase: str) -> HostKey:
        """The key behind a passphrase; raises `Locked` where it is another one."""
        return self._opened(self._line(), passphrase)

    def unlock(self, passphrase: str) -> Path:
        """Leave the key in memory-backed storage, for this host's runners and commands; answers where.

        Raises:
            Locked: for a wrong passphrase.
            Conflict: where nothing is to be unlocked, or this host has no memory-backed storage.
        """
        protection, _ = self._kind()
        if protection != "passphrase":
            raise Conflict(f"Nothing is locked: the key of this host is protected as {protection}.")
        if not self._memory:
            raise Conflict(
                "This host has no memory-backed folder to leave the key in: give the runner "
                "BOTKEEP_LOCAL_PASSPHRASE_FILE instead."
            )
        made = self.check(passphrase)
        for path in self._unlocked(made.id):
            path.parent.mkdir(mode=0o700, exist_ok=True)
            private_files.check_directory(path.parent)
            private_files.replace(path, _content(made.line()))
        return self._unlocked(made.id)[0]

    def lock(self) -> None:
        """Take the unlocked key away.

        Raises:
            Conflict: for a protection that a passphrase has no part in.
        """
        protection, key_id = self._kind()
        if protection != "passphrase":
            raise Conflict(
                f"The key of this host is protected as {protection}, which a lock does not close: give it a passphrase "
                "with `botkeep local protect --with passphrase`."
            )
        for path in self._unlocked(key_id):
            path.unlink(missing_ok=True)

    def protect(self, protection: str, *, passphrase: str | None = None) -> None:
        """Protect the key in another way; the values stay as they are.

        Raises:
            Locked: when the key cannot be had now.
            Conflict: where the service manager passes the key, or no keyring takes it.
        """
        if isinstance(self._source, Credential):
            raise Conflict("The service manager passes the key of this host: change its credential instead.")
        made = self.key()
        former, _ = self._kind()
        if protection == "keyring":
            _keep(made)
        line = {"file": made.line, "keyring": made.keyring_line}.get(protection)
        text = line() if line is not None else made.protected_line(passphrase or "")
        with private_files.locked(self.path.parent):
            private_files.replace(self.path, _content(text))
        for path in self._unlocked(made.id):
            path.unlink(missing_ok=True)
        if former == "keyring" and protection != "keyring":
            _forget(made.id)

    def _line(self) -> str:
        if not self.exists:
            raise IdentityFileError(
                f"This host has no key for local values ({self.path}); the first `botkeep local set` makes one. If it "
                "had one, restore it from a backup: without it the values do not open."
            )
        lines = read_source(self._source).decode("ascii", errors="replace").splitlines()
        return next((line.strip() for line in lines if line.strip() and not line.startswith("#")), "")

    def _kind(self) -> tuple[str, str]:
        return _kind(self._line())

    def _opened(self, line: str, passphrase: str) -> HostKey:
        made = keys.from_protected_line(line, passphrase)
        if made is None:
            raise Locked("The passphrase does not open the local values of this host: try again.")
        return made

    def _unlocked(self, key_id: str) -> list[Path]:
        return [folder / f"local-{key_id}.key" for folder in self._memory]

    def _found(self, key_id: str) -> HostKey | None:
        for path in self._unlocked(key_id):
            if path.exists():
                lines = read_source(path).decode("ascii", errors="replace").splitlines()
                return keys.from_line(lines[-1] if lines else "")
        return None


def _kind(line: str) -> tuple[str, str]:
    found = keys.kind_of(line)
    if found is None:
        raise IdentityFileError("The file with the key of this host holds no such key: restore it from a backup.")
    return found


def _content(line: str) -> bytes:
    return f"{_HEADER}{line}\n".encode("ascii")


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _asked(key_id: str) -> str:
    import keyring  # noqa: PLC0415 - hosts that keep the key in a keyring need it, and it takes long to import

    try:
        found = keyring.get_password(SERVICE, key_id)
    except keyring.errors.KeyringError as error:
        raise Locked(
            f"The keyring of this session cannot be asked ({type(error).__name__}): unlock it, then try again."
        ) from None
    if found is None:
        raise Damaged("The keyring of this session does not hold the key of this host: use the session that set it.")
    return found


def _keep(made: HostKey) -> None:
    import keyring  # noqa: PLC0415 - as above

    try:
        keyring.set_password(SERVICE, made.id, made.text())
        kept = keyring.get_password(SERVICE, made.id) == made.text()
    except keyring.errors.KeyringError as error:
        raise Conflict(f"No keyring of this session takes the key ({type(error).__name__}): nothing changed.") from None
    if not kept:
        raise Conflict("The keyring of this session does not give the key back: nothing changed.")


def _forget(key_id: str) -> None:
    import keyring  # noqa: PLC0415 - as above

    try:
        keyring.delete_password(SERVICE, key_id)
    except keyring.errors.KeyringError:
        return  # a key more in a keyring opens nothing that the file does not
