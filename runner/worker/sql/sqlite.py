"""SQLite: a file of the runner's host, opened for reading by SQLite itself, with no way to another file."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from runner.worker.failures import SourceFailed, Step
from runner.worker.sql.login import Login
from runner.worker.sql.paramstyle import Paramstyle

#: Instructions of SQLite's virtual machine between two looks at the clock: some ten microseconds.
_LOOK = 1000


class Sqlite:
    """One connection; see `drivers.Driver`."""

    PARAMSTYLE: Paramstyle = "named"

    def __init__(self, login: Login) -> None:
        """Open the file that is there. Raises `SourceFailed`."""
        self._login = login
        self._path = Path(login.connection.database or "").resolve()
        self._cursor: Any = None
        self._until = 0.0
        self._stopped = False
        self._connection = self._opened("ro")

    def begin(self, *, read_only: bool) -> None:
        """See `drivers.Driver`."""
        if not read_only:
            self._connection.close()
            self._connection = self._opened("rw")
        self._connection.execute(f"PRAGMA query_only = {'ON' if read_only else 'OFF'}")
        self._connection.execute("BEGIN")
        self._connection.set_progress_handler(lambda: self._stopped or time.monotonic() > self._until, _LOOK)

    def run(self, query: str, parameters: Any) -> tuple[list[str], list[str]]:  # noqa: ANN401
        """See `drivers.Driver`."""
        with self._asked():
            self._connection.set_authorizer(_nothing_else)
            try:
                self._cursor = self._connection.execute(query, parameters)
            finally:
                self._connection.set_authorizer(None)
        columns = self._cursor.description or ()
        return [each[0] for each in columns], ["" for _ in columns]

    def fetch(self, most: int) -> list[Any]:
        """See `drivers.Driver`."""
        with self._asked():
            return list(self._cursor.fetchmany(most))

    def end(self, *, commit: bool) -> None:
        """See `drivers.Driver`."""
        cursor, self._cursor = self._cursor, None
        with self._asked():
            if cursor is not None:
                cursor.close()
            if self._connection.in_transaction:
                self._connection.execute("COMMIT" if commit else "ROLLBACK")

    def interrupt(self) -> None:
        """See `drivers.Driver`."""
        self._stopped = True
        with contextlib.suppress(sqlite3.Error):
            self._connection.interrupt()

    def close(self) -> None:
        """See `drivers.Driver`."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def _opened(self, mode: str) -> sqlite3.Connection:
        try:
            found = sqlite3.connect(
                f"file:{quote(str(self._path))}?mode={mode}",
                uri=True,
                timeout=self._login.connect_timeout,
                isolation_level=None,
                check_same_thread=False,
            )
            found.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        except sqlite3.Error as error:
            missing = not self._path.is_file()
            words = "there is no such file on this runner" if missing else str(error)
            raise self._login.fault(Step.REACHABLE if missing else Step.AUTHENTICATED, words, name="database") from None
        return found

    @contextlib.contextmanager
    def _asked(self) -> Any:  # noqa: ANN401
        self._until = time.monotonic() + self._login.timeout
        try:
            yield
        except sqlite3.OperationalError as error:
            if "interrupted" in str(error):
                late = not self._stopped
                why = f"no answer within {self._login.timeout:g} s" if late else "it was interrupted"
                raise SourceFailed(Step.QUERY, why, field="timeout" if late else "") from None
            if "readonly" in str(error) or "read-only" in str(error):
                why = "it changes something, and the source only reads"
                raise SourceFailed(Step.QUERY, why, field="query") from None
            raise SourceFailed(Step.QUERY, self._login.fault(Step.QUERY, str(error)).detail, field="query") from None
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise SourceFailed(Step.QUERY, self._login.fault(Step.QUERY, str(error)).detail, field="query") from None


#: What a query may not do: open another file, or end the transaction that it runs in.
_DENIED = frozenset(
    {sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SAVEPOINT}
)


def _nothing_else(action: int, *_arguments: object) -> int:
    return sqlite3.SQLITE_DENY if action in _DENIED else sqlite3.SQLITE_OK
