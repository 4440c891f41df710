"""`python -m runner.worker.key_findings`: what `botkeep doctor` says of the key files here, as a JSON list on one line.

Each finding has an `environment`, a `level` (`ok`, `warn`, `fail`), a `message` and a `mend`: whether the file holds
keys of its environment, and whether they are those of the database. A runner and `botkeep up` refuse what fails here.
Changes nothing, opens no value, asks nobody for a passphrase, runs no command that prints a key.
"""

from __future__ import annotations

from vault.hardening import harden

if __name__ == "__main__":
    harden()  # before anything that will hold a key is loaded

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from runner.worker.settings import RunnerSettings
from vault import db
from vault.canary import check_canaries
from vault.decrypt import Identities
from vault.errors import IdentityFileError, NoRecipient, Unavailable, VaultError
from vault.identities import Command, Passphrase, Source, file_passphrase, read_identities
from vault.names import ENVIRONMENTS
from vault.settings import load

#: Level, message, mend.
Finding = tuple[str, str, str]


class _LockedError(IdentityFileError):
    """A passphrase protects the file, and nobody is asked for it here."""


def main() -> int:
    try:
        found = list(findings(load(RunnerSettings, {"environments": ENVIRONMENTS})))
    except VaultError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    told = [
        {"environment": environment, "level": level, "message": message, "mend": mend}
        for environment, (level, message, mend) in found
    ]
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


def findings(settings: RunnerSettings) -> Iterator[tuple[str, Finding]]:
    """What is to be said of the key file of each environment that has one.

    Raises:
        InvalidDatabase: for a database's address that nobody could use.
    """
    database = _Database(_engine(settings))
    passphrase = _locked if settings.key_passphrase_file is None else file_passphrase(settings.key_passphrase_file)
    try:
        for environment, source in settings.key_sources().items():
            if not isinstance(source, Command) and _path(source).exists():
                yield environment, _judged(database, environment, source, passphrase)
    finally:
        if database.engine is not None:
            database.engine.dispose()


@dataclass(slots=True)
class _Database:
    """What the keys are compared with, where there is one; it is asked no more once it was `away`."""

    engine: Engine | None
    away: bool = False


def _engine(settings: RunnerSettings) -> Engine | None:
    """The database, none where its file is not there: to look must not make one."""
    url = settings.database()
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists():
        return None
    return db.engine(url, pool_size=1)


def _path(source: Source) -> Path:
    assert not isinstance(source, Command)  # noqa: S101 - its caller left these out
    return source if isinstance(source, Path) else source.path


def _locked(_environment: str) -> str:
    raise _LockedError


def _judged(database: _Database, environment: str, source: Source, passphrase: Passphrase) -> Finding:
    try:
        identities: Identities = {environment: read_identities(source, environment, passphrase=passphrase)}
    except _LockedError:
        return "ok", f"{_path(source)} is protected by a passphrase, and so not compared with the database.", ""
    except IdentityFileError as error:
        return "fail", str(error), ""
    count = len(identities[environment])
    return _compared(
        database, identities, f"{_path(source)} holds {count} {'key' if count == 1 else 'keys'} of {environment}"
    )


def _compared(database: _Database, identities: Identities, held: str) -> Finding:
    if database.engine is None:
        return "ok", f"{held}; there is no database to compare with.", ""
    if database.away:
        return _not_compared(held)
    try:
        with db.reading(database.engine) as session:
            check_canaries(session, identities)
    except NoRecipient as error:
        mend = f"`botkeep up` registers it, or on a key host: python -m vault keygen --env {error.environment}"
        return "warn", f"{held}, and the database has none yet.", mend
    except (Unavailable, DBAPIError):
        database.away = True
        return _not_compared(held)
    except VaultError as error:
        return "fail", str(error), ""
    return "ok", f"{held}, and the database's is among them.", ""


def _not_compared(held: str) -> Finding:
    return "ok", f"{held}; the database cannot be asked whether they are its own.", ""


if __name__ == "__main__":
    sys.exit(main())
