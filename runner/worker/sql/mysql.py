"""MySQL and MariaDB by PyMySQL: rows as the server sends them, in a transaction that the server keeps from writing."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Any

from runner.sql_definition import Tls
from runner.worker.failures import SourceFailed, Step
from runner.worker.sql.login import Login, driver, reach
from runner.worker.sql.paramstyle import Paramstyle

#: Errors of the server, and the field at fault (https://mariadb.com/kb/en/mariadb-error-codes/).
_FIELDS = {1045: "password", 1698: "password", 1044: "database", 1049: "database", 1130: "host", 3159: "sslmode"}

#: Errors that mean that the server refused to change something, or ended a query for its time.
_READ_ONLY, _LATE = {1792, 1290}, {1969, 3024, 1317}

#: `JSON` in MySQL's column definitions; MariaDB has no such type and gives text.
_JSON = 245


class Mysql:
    """One connection; see `drivers.Driver`."""

    PARAMSTYLE: Paramstyle = "pyformat"

    def __init__(self, login: Login) -> None:
        """Connect to the first place that takes us. Raises `SourceFailed`."""
        self._pymysql: Any = driver("pymysql")
        self._cursors: Any = driver("pymysql.cursors")
        self._login = login
        self._cursor: Any = None
        self._closed = False
        self._connection = self._connected()

    def begin(self, *, read_only: bool) -> None:
        """See `drivers.Driver`."""
        with self._asked(), self._connection.cursor() as cursor:
            # The session too: MariaDB ends a transaction for a definition of a table, and would then make it.
            cursor.execute(f"SET SESSION TRANSACTION READ {'ONLY' if read_only else 'WRITE'}")
            cursor.execute("START TRANSACTION READ ONLY" if read_only else "START TRANSACTION")
            for name, factor in (("max_statement_time", 1), ("max_execution_time", 1000)):
                with contextlib.suppress(self._pymysql.err.OperationalError):  # each server knows one of the two
                    cursor.execute(f"SET SESSION {name} = {self._login.timeout * factor:.0f}")

    def run(self, query: str, parameters: Any) -> tuple[list[str], list[str]]:  # noqa: ANN401
        """See `drivers.Driver`."""
        with self._asked():
            self._cursor = self._connection.cursor(self._cursors.SSCursor)
            self._cursor.execute(query, parameters or None)
        columns = self._cursor.description or ()
        return [each[0] for each in columns], ["J" if each[1] == _JSON else "" for each in columns]

    def fetch(self, most: int) -> list[Any]:
        """See `drivers.Driver`."""
        with self._asked():
            return list(self._cursor.fetchmany(most) or ())

    def end(self, *, commit: bool) -> None:
        """See `drivers.Driver`. Rows that were not read would all have to be fetched: the connection is dropped."""
        cursor, self._cursor = self._cursor, None
        unread = cursor is not None and cursor._result is not None and cursor._result.unbuffered_active  # noqa: SLF001
        with self._asked():
            if unread:
                _abandon(cursor)
                self._drop()
                self._connection = self._connected()
                return
            if cursor is not None:
                cursor.close()
            if commit:
                self._connection.commit()
            else:
                self._connection.rollback()

    def interrupt(self) -> None:
        """See `drivers.Driver`."""
        self._closed = True
        with contextlib.suppress(Exception):
            self._connection._sock.shutdown(socket.SHUT_RDWR)  # noqa: SLF001 - it has no other way to stop a read

    def close(self) -> None:
        """See `drivers.Driver`."""
        self._closed = True
        _abandon(self._cursor)
        self._drop()

    def _drop(self) -> None:
        with contextlib.suppress(Exception):
            self._connection._force_close()  # noqa: SLF001 - `close` would wait for a server that may be gone

    def _connected(self) -> Any:  # noqa: ANN401 - the driver is optional, so its types are unknown
        failure: SourceFailed | None = None
        for place in self._login.places:
            try:
                return self._connect(place)
            except SourceFailed as error:
                if not error.retriable or self._closed:
                    raise
                failure = error
        assert failure is not None  # noqa: S101 - a connection has a host, and a host a place
        raise failure

    def _connect(self, place: Any) -> Any:  # noqa: ANN401
        login, connection = self._login, self._login.connection
        tls: dict[str, Any] = {"ssl_disabled": True}
        if login.tls in (Tls.REQUIRE, Tls.VERIFY):
            tls = {"ssl": login.context()}
        elif login.tls is Tls.PREFER:
            tls = {}
        made = self._pymysql.connect(
            host=place.host,
            port=place.port,
            user=connection.user or "",
            password=(connection.password or "").encode(),
            database=connection.database or None,
            charset="utf8mb4",
            connect_timeout=login.connect_timeout,
            read_timeout=login.timeout + login.connect_timeout,
            write_timeout=login.connect_timeout,
            program_name="botkeep",
            local_infile=False,
            defer_connect=True,
            **tls,
        )
        plugged = self._socket(place)
        try:
            made.connect(plugged)
        except (self._pymysql.err.Error, OSError, ValueError) as error:
            plugged.close()
            code, words = _code(error)
            away = code in {1040, 1053, 2013} and code not in _FIELDS
            raise login.fault(Step.AUTHENTICATED, words, name=_FIELDS.get(code, ""), retriable=away) from None
        return made

    def _socket(self, place: Any) -> socket.socket:  # noqa: ANN401
        if not place.address.startswith("/"):
            plugged = reach(place, self._login.connect_timeout)
            plugged.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plugged.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            return plugged
        plugged = socket.socket(socket.AF_UNIX)
        try:
            plugged.connect(place.address)
        except OSError as error:
            plugged.close()
            raise SourceFailed(
                Step.REACHABLE, error.strerror or "no answer", field="connection: host", retriable=True
            ) from None
        return plugged

    @contextlib.contextmanager
    def _asked(self) -> Any:  # noqa: ANN401
        since = time.monotonic()
        try:
            yield
        except (self._pymysql.err.Error, OSError, AttributeError) as error:
            if self._closed:
                raise SourceFailed(Step.QUERY, "it was interrupted") from None
            code, words = _code(error)
            if code in _LATE or time.monotonic() - since >= self._login.timeout:
                why = f"no answer within {self._login.timeout:g} s"
                raise SourceFailed(Step.QUERY, why, field="timeout") from None
            if code in _READ_ONLY:
                why = "it changes something, and the source only reads"
                raise SourceFailed(Step.QUERY, why, field="query") from None
            fault = self._login.fault(Step.QUERY, words, retriable=code >= 2000)
            raise SourceFailed(Step.QUERY, fault.detail, field="query", retriable=fault.retriable) from None


def _abandon(cursor: Any) -> None:  # noqa: ANN401
    """Keep a cursor from fetching the rest of its rows when it is forgotten."""
    result = getattr(cursor, "_result", None)
    if result is not None:
        result.unbuffered_active = False
        result.connection = None
        cursor._result = None  # noqa: SLF001


def _code(error: BaseException) -> tuple[int, str]:
    """The server's number of an error, and its words."""
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    return code, str(error.args[1]) if len(error.args) > 1 else str(error)
