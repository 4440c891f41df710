"""Key files: where an environment's private keys are kept, read from and written to.

A key file belongs to one environment, by default `{keys_dir}/{environment}.key`, and holds one identity a
line, the newest last, under a comment that names the environment. Created with a passphrase, it holds one
protected line in their place. `docs/ENVELOPE.md` specifies both.

Promises: a file is written under another name, synced, then published, readable by its owner only; an
existing key file is never overwritten, and adding or removing an identity keeps every other one.
Refuses (`IdentityFileError`): a file that is missing, empty, malformed, a symbolic link or not a plain file;
one that others may read, or that belongs to someone else; one in a directory where others may replace it;
and one that holds keys of another environment, which is how two swapped files are noticed.

A private key or passphrase is never taken from an environment variable or an argument: others see those.
"""

import os
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from getpass import getpass
from pathlib import Path

from cryptography.exceptions import InvalidTag

from vault import private_files
from vault.decrypt import Identity
from vault.encrypt import base64url, parse_base64url
from vault.errors import IdentityFileError, InvalidName
from vault.names import ENVIRONMENTS, check_environment
from vault.passphrases import SALT_SIZE, check_new, passphrase_key

#: How long a command may take to print a key file, in seconds: it may have to ask a server.
COMMAND_TIMEOUT = 60

#: More than a thousand identities; whatever is longer is not a key file.
MAX_SIZE = 256 * 1024

_PROTECTED = "BOTKEEP-PROTECTED-V1"
_PROTECTED_LINE = re.compile(rf"({_PROTECTED}\.([a-z]+)\.([\w-]{{22}})\.([\w-]{{16}}))\.([\w-]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Credential:
    """A file that the service manager passed in, such as systemd's `$CREDENTIALS_DIRECTORY/prod.key`.

    It may belong to root, and to be readable for this user through an access list it shows as readable by
    its group (systemd.exec(5), LoadCredential).
    """

    path: Path


@dataclass(frozen=True, slots=True)
class Command:
    """A command, not a shell line, that prints a key file on its standard output."""

    argv: tuple[str, ...]


#: Where a key file comes from; a plain path is held to the strictest rules.
Source = Path | Credential | Command

#: Answers the passphrase of an environment's key file; asked only when the file is protected.
Passphrase = Callable[[str], str]


def key_path(directory: Path, environment: str) -> Path:
    """The usual place of an environment's key file."""
    return directory / f"{check_environment(environment)}.key"


def load_identities(
    sources: Mapping[str, Source], *, passphrase: Passphrase | None = None
) -> dict[str, dict[bytes, Identity]]:
    """The identities of each environment a process serves, as `vault.decrypt` wants them."""
    return {
        environment: read_identities(source, environment, passphrase=passphrase)
        for environment, source in sources.items()
    }


def read_identities(source: Source, environment: str, *, passphrase: Passphrase | None = None) -> dict[bytes, Identity]:
    """The identities of one environment by recipient id, the newest last; never empty."""
    check_environment(environment)
    return _parse(read_source(source), environment, where=_where(source), passphrase=passphrase)


def newest(identities: Mapping[bytes, Identity]) -> Identity:
    """The identity whose recipient new values are encrypted for."""
    return list(identities.values())[-1]


def create_key_file(path: Path, identity: Identity, *, passphrase: Passphrase | None = None) -> None:
    """Writes a new key file, and its directory where that is missing; refuses if the file exists."""
    content = _render([identity], identity.environment, passphrase=passphrase)
    with private_files.locked(path.parent):
        if not private_files.publish_new(path, content):
            raise IdentityFileError(
                f"The key file {path} exists and is never overwritten, because it may be all that opens the "
                f"values of {identity.environment}: to change the key, rotate it."
            )


def append_identity(path: Path, identity: Identity, *, passphrase: Passphrase | None = None) -> None:
    """Adds the newest identity of a rotation; the older ones stay, and a protected file stays protected."""
    passphrase = _asked_once(passphrase)
    with private_files.locked(path.parent):
        held = read_identities(path, identity.environment, passphrase=passphrase)
        if identity.id in held:
            raise IdentityFileError(f"The key file {path} holds {identity.id.hex()} already: nothing to do.")
        _replace(path, [*held.values(), identity], passphrase=passphrase)


def remove_identity(path: Path, environment: str, *, key_id: bytes, passphrase: Passphrase | None = None) -> None:
    """Removes an identity that nothing needs any more; refuses to remove the newest one."""
    passphrase = _asked_once(passphrase)
    with private_files.locked(path.parent):
        held = read_identities(path, environment, passphrase=passphrase)
        if key_id not in held:
            raise IdentityFileError(
                f"The key file {path} holds no key {key_id.hex()}: `python -m vault list` says which keys there are."
            )
        if key_id == newest(held).id:
            raise IdentityFileError(
                f"The key {key_id.hex()} is the newest in {path}, and new values are encrypted for it: "
                "rotate to another key first."
            )
        _replace(path, [kept for kept in held.values() if kept.id != key_id], passphrase=passphrase)


def prompt_passphrase(environment: str) -> str:
    """The passphrase of an existing file, from the terminal, without echo."""
    try:
        return getpass(f"Passphrase of the key file of {environment}: ")
    except EOFError:
        raise IdentityFileError(
            f"The key file of {environment} is protected and there is nobody to ask for its passphrase: name a file "
            "that holds it with BOTKEEP_KEY_PASSPHRASE_FILE."
        ) from None


def prompt_new_passphrase(environment: str) -> str:
    """The passphrase of a new file, asked twice: a slip of the finger would lock everyone out."""
    first = getpass(f"New passphrase for the key file of {environment}: ")
    if getpass("The same passphrase again: ") != first:
        raise IdentityFileError("The two passphrases differ, and nothing was written: start again.")
    return first


def file_passphrase(source: Path | Credential) -> Passphrase:
    """A passphrase from the first line of a file, which is held to the rules of a key file."""
    return lambda _environment: read_source(source).decode("utf-8", errors="replace").partition("\n")[0]


def read_source(source: Source) -> bytes:
    """The bytes of a key file, from wherever it comes, after its rules were checked."""
    if isinstance(source, Command):
        return _run(source)
    if isinstance(source, Credential):
        return _read_file(source.path, forbidden=0o037, owners=frozenset({os.geteuid(), 0}))
    return _read_file(source)


def _where(source: Source) -> str:
    if isinstance(source, Command):
        return f"the output of {source.argv[0]}"
    return f"the key file {source.path if isinstance(source, Credential) else source}"


def _read_file(path: Path, *, forbidden: int = 0o077, owners: frozenset[int] | None = None) -> bytes:
    missing = f"There is no key file {path}: bring it from a key host or from a backup."
    if path.stem in ENVIRONMENTS:
        missing += f" Where {path.stem} has no key yet, make it on a key host: python -m vault keygen --env {path.stem}"
    return private_files.read_private(path, missing=missing, limit=MAX_SIZE, forbidden=forbidden, owners=owners)


def _run(command: Command) -> bytes:
    # Failures are raised outside the handlers: TimeoutExpired holds what was printed, which may be a key.
    problem = ""
    try:
        done = subprocess.run(
            command.argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=COMMAND_TIMEOUT,
            check=False,
        )
        problem = f"ended with status {done.returncode}" if done.returncode else ""
    except subprocess.TimeoutExpired:
        problem = f"took longer than {COMMAND_TIMEOUT} seconds"
    except OSError as error:
        problem = f"could not be started ({error.strerror})"
    if problem:
        raise IdentityFileError(
            f"The command {command.argv[0]}, which prints a key file, {problem}: run it by hand to see why."
        )
    return done.stdout[:MAX_SIZE]


def _parse(content: bytes, environment: str, *, where: str, passphrase: Passphrase | None) -> dict[bytes, Identity]:
    # Not `decode` alone: its exception would hold the content.
    lines = [line.strip() for line in content.decode("ascii", errors="replace").splitlines()]
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line and not line.startswith("#")]
    if not numbered:
        raise IdentityFileError(f"In {where} there is no key: restore it from a backup.")
    if numbered[0][1].startswith(_PROTECTED):
        opened = _unprotect(numbered[0][1], environment, where=where, passphrase=passphrase)
        return _parse(opened, environment, where=where, passphrase=None)
    identities = [_parse_line(line, f"{where}, line {number}") for number, line in numbered]
    for identity in identities:
        _check_label(identity.environment, environment, where=where)
    return {identity.id: identity for identity in identities}


def _parse_line(line: str, where: str) -> Identity:
    try:
        return Identity.from_text(line)
    except (IdentityFileError, InvalidName) as error:
        raise IdentityFileError(f"In {where}: {error}") from None


def _check_label(found: str, environment: str, *, where: str) -> None:
    if found != environment:
        raise IdentityFileError(
            f"In {where} there are keys of {found}, where those of {environment} are expected: put each "
            "environment's key file in its own place; two of them may have been swapped."
        )


def _render(identities: Iterable[Identity], environment: str, *, passphrase: Passphrase | None) -> bytes:
    header = f"# Private keys of {environment}, newest last. Whoever reads this reads every value there.\n"
    lines = "".join(f"{identity.to_text()}\n" for identity in identities).encode("ascii")
    if passphrase is not None:
        lines = _protect(lines, environment, passphrase=passphrase)
    return header.encode("ascii") + lines


def _protect(content: bytes, environment: str, *, passphrase: Passphrase) -> bytes:
    text = check_new(passphrase(environment))
    salt, nonce = os.urandom(SALT_SIZE), os.urandom(12)
    label = f"{_PROTECTED}.{environment}.{base64url(salt)}.{base64url(nonce)}"
    ciphertext = passphrase_key(text, salt).encrypt(nonce, content, label.encode("ascii"))
    return f"{label}.{base64url(ciphertext)}\n".encode("ascii")


def _unprotect(line: str, environment: str, *, where: str, passphrase: Passphrase | None) -> bytes:
    match = _PROTECTED_LINE.fullmatch(line)
    salt, nonce, ciphertext = map(parse_base64url, match.group(3, 4, 5)) if match else (None, None, None)
    if match is None or salt is None or nonce is None or ciphertext is None:
        raise IdentityFileError(f"In {where} the protected line is damaged: restore it from a backup.")
    _check_label(match[2], environment, where=where)
    if passphrase is None:
        raise IdentityFileError(f"A passphrase protects {where}: give it at the prompt or as a file.")
    try:
        return passphrase_key(passphrase(environment), salt).decrypt(nonce, ciphertext, match[1].encode("ascii"))
    except InvalidTag:
        raise IdentityFileError(
            f"The passphrase does not open {where}: try again, or restore the file if it was changed."
        ) from None


def _asked_once(passphrase: Passphrase | None) -> Passphrase | None:
    """The same answer for reading and for writing: a second, different one would lock everyone out."""
    return None if passphrase is None else cache(passphrase)


def _replace(path: Path, identities: list[Identity], *, passphrase: Passphrase | None) -> None:
    environment = identities[0].environment
    protected = f"\n{_PROTECTED}.".encode("ascii") in read_source(path)
    content = _render(identities, environment, passphrase=passphrase if protected else None)
    private_files.replace(path, content)
