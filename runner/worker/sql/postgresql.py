"""PostgreSQL by psycopg: a cursor on the server, and texts where the driver would make objects nobody here needs.

Reading is enforced by the server (`BEGIN READ ONLY`), and a declared cursor takes one statement only, so that a query
cannot end its own transaction. A query that no cursor can be declared for (`SHOW`, `INSERT … RETURNING`) is run as it
is where the source is not read-only.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from typing import Any

import psycopg
from psycopg import errors
from psycopg.types.string import TextLoader

from runner.sql_definition import Tls
from runner.worker.addresses import Place
from runner.worker.failures import SourceFailed, Step
from runner.worker.sql.login import Login, reach
from runner.worker.sql.paramstyle import Paramstyle

#: Types whose texts are passed on as they are, and the tags that say so.
_TEXTS = {
    "numeric": "d",
    "date": "D",
    "timestamp": "t",
    "timestamptz": "t",
    "time": "T",
    "timetz": "T",
    "uuid": "u",
    "json": "J",
    "jsonb": "J",
    "interval": "s",
    "inet": "s",
    "cidr": "s",
}

_MODES = {Tls.OFF: "disable", Tls.PREFER: "prefer", Tls.REQUIRE: "require", Tls.VERIFY: "verify-full"}

#: Options that libpq is told as they are.
_OWN = ("application_name", "options", "target_session_attrs", "search_path")


class Postgresql:
    """One connection; see `drivers.Driver`."""

    PARAMSTYLE: Paramstyle = "pyformat"

    def __init__(self, login: Login) -> None:
        """Connect to the first place that takes us. Raises `SourceFailed`."""
        self._login = login
        self._tags: dict[int, str] = {}
        self._cursor: Any = None
        self._timeout = login.timeout
        self._connection = self._connected()
        for name, tag in _TEXTS.items():
            self._connection.adapters.register_loader(name, TextLoader)
            self._tags[psycopg.adapters.types[name].oid] = tag
        self._connection.execute("SET DateStyle = ISO, MDY; SET IntervalStyle = iso_8601; SET bytea_output = hex")
        self._connection.commit()

    def begin(self, *, read_only: bool) -> None:
        """See `drivers.Driver`."""
        self._connection.read_only = read_only
        self._read_only = read_only
        with self._asked(Step.QUERY):
            self._connection.execute(f"SET LOCAL statement_timeout = {int(self._timeout * 1000)}")

    def run(self, query: str, parameters: Any) -> tuple[list[str], list[str]]:  # noqa: ANN401
        """See `drivers.Driver`."""
        with self._asked(Step.QUERY):
            if self._read_only:
                self._cursor = self._connection.cursor(name="botkeep")
                self._cursor.execute(query, parameters or None)
            else:
                self._run_as_it_is(query, parameters)
        columns = self._cursor.description or []
        return [each.name for each in columns], [self._tags.get(each.type_code, "") for each in columns]

    def fetch(self, most: int) -> list[Any]:
        """See `drivers.Driver`."""
        with self._asked(Step.QUERY):
            return list(self._cursor.fetchmany(most))

    def end(self, *, commit: bool) -> None:
        """See `drivers.Driver`."""
        cursor, self._cursor = self._cursor, None
        with self._asked(Step.QUERY):
            if cursor is not None:
                cursor.close()
            if commit:
                self._connection.commit()
            else:
                self._connection.rollback()

    def interrupt(self) -> None:
        """See `drivers.Driver`."""
        with contextlib.suppress(Exception):
            self._connection.cancel_safe(timeout=3)

    def close(self) -> None:
        """See `drivers.Driver`."""
        with contextlib.suppress(Exception):
            self._connection.close()

    def _run_as_it_is(self, query: str, parameters: Any) -> None:  # noqa: ANN401
        declared = self._connection.cursor(name="botkeep")
        try:
            with self._connection.transaction():
                declared.execute(query, parameters or None)
            self._cursor = declared
        except (errors.SyntaxError, errors.FeatureNotSupported):
            declared.close()
            self._cursor = self._connection.cursor()
            self._cursor.execute(query, parameters or None)

    def _connected(self) -> psycopg.Connection[Any]:
        failure: SourceFailed | None = None
        for place in self._login.places:
            try:
                return self._connect(place)
            except SourceFailed as error:
                if not error.retriable:
                    raise
                failure = error
        assert failure is not None  # noqa: S101 - a connection has a host, and a host a place
        raise failure

    def _connect(self, place: Place) -> psycopg.Connection[Any]:
        login, connection = self._login, self._login.connection
        options = {name: text for name, text in connection.options if name in _OWN}
        if "search_path" in options:
            options["options"] = f"{options.get('options', '')} -c search_path={options.pop('search_path')}".strip()
        address = {} if place.address.startswith("/") else {"hostaddr": place.address}
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as ca:
            trusted: dict[str, str] = {"sslrootcert": "system"} if login.tls is Tls.VERIFY else {}
            if login.tls_ca is not None:
                login.context()  # libpq would only say that nothing can be verified
                ca.write(login.tls_ca)
                ca.flush()
                trusted = {"sslrootcert": ca.name}
            try:
                told: dict[str, Any] = {
                    "host": place.host,
                    "port": place.port,
                    "user": connection.user or "",
                    "password": connection.password or "",
                    "dbname": connection.database or connection.user or "",
                    "sslmode": _MODES[login.tls],
                    "sslcert": "",
                    "sslkey": "",
                    "passfile": "/dev/null",
                    "connect_timeout": max(2, int(login.connect_timeout)),
                    "application_name": "botkeep",
                }
                return psycopg.connect(**{**told, **address, **trusted, **options})
            except psycopg.Error as error:
                raise self._refused(place, str(error)) from None

    def _refused(self, place: Place, words: str) -> SourceFailed:
        """Why no connection came about: libpq has only words, so the address is tried once more without it."""
        if not place.address.startswith("/"):
            try:
                reach(place, self._login.connect_timeout).close()
            except SourceFailed as failure:
                return failure
        _, _, said = words.rpartition("FATAL:")
        names = (("password", "password"), ("role", "user"), ("database", "database"), ("ssl", "sslmode"))
        name = next((name for word, name in names if word in said.lower()), "")
        away = any(word in said for word in ("starting up", "shutting down", "too many", "Connection refused"))
        return self._login.fault(Step.AUTHENTICATED, said, name=name, retriable=away)

    @contextlib.contextmanager
    def _asked(self, step: Step) -> Any:  # noqa: ANN401
        since = time.monotonic()
        try:
            yield
        except errors.QueryCanceled:
            late = time.monotonic() - since >= self._timeout * 0.9
            why = f"no answer within {self._timeout:g} s" if late else "it was interrupted"
            raise SourceFailed(step, why, field="timeout" if late else "") from None
        except errors.ReadOnlySqlTransaction:
            raise SourceFailed(step, "it changes something, and the source only reads", field="query") from None
        except psycopg.OperationalError as error:
            raise self._login.fault(step, str(error), retriable=True) from None
        except psycopg.Error as error:
            fault = self._login.fault(step, str(error).partition("\n")[0])
            raise SourceFailed(step, fault.detail, field="query") from None
