"""What the SQL source needs of a driver, and the drivers there are; one module for each below."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import bindparam, text
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql.compiler import SQLCompiler

from runner.connections.parsed import Dialect, System
from runner.errors import Invalid
from runner.worker.sql import mysql, odbc, oracle, postgresql, sqlite, sqlserver
from runner.worker.sql.login import Login
from runner.worker.sql.paramstyle import Paramstyle

Row = Sequence[Any]


class Driver(Protocol):
    """One connection. Any method may raise `SourceFailed`; `interrupt` is called in another thread, once at most.

    `PARAMSTYLE` is the driver's (PEP 249), and `tags` says of the columns of the last query what their texts are, in
    the letters of `wire`, where the driver gives a text for something else.
    """

    PARAMSTYLE: Paramstyle

    def begin(self, *, read_only: bool) -> None:
        """Begin a transaction; where the server can be told that it only reads, it is."""

    def run(self, query: str, parameters: Any) -> tuple[list[str], list[str]]:  # noqa: ANN401
        """Start a query; the names and the tags of its columns, both empty for one that gives no rows."""

    def fetch(self, most: int) -> list[Row]:
        """The next rows, at most so many; none at the end."""

    def end(self, *, commit: bool) -> None:
        """End the query and the transaction."""

    def interrupt(self) -> None:
        """Make the thread that waits for the server wait no more."""

    def close(self) -> None:
        """End the connection, whatever state it is in."""


def connect(login: Login) -> Driver:
    """Connect and authenticate. Raises `SourceFailed`."""
    if login.connection.dialect is Dialect.ODBC or login.connection.scheme.endswith("+pyodbc"):
        return odbc.Odbc(login)
    kinds: Mapping[System, Callable[[Login], Driver]] = {
        System.POSTGRESQL: postgresql.Postgresql,
        System.MYSQL: mysql.Mysql,
        System.SQLSERVER: sqlserver.SqlServer,
        System.ORACLE: oracle.Oracle,
        System.SQLITE: sqlite.Sqlite,
    }
    return kinds[login.connection.system](login)


def bound(query: str, parameters: Mapping[str, Any], paramstyle: Paramstyle) -> tuple[str, Any]:
    """A query with `:name` in the driver's own style, and its parameters as that style wants them.

    Raises:
        Invalid: for a name that has no parameter, or a parameter that has no name.
    """
    statement = text(query)
    names = set(statement._bindparams)  # noqa: SLF001 - SQLAlchemy's only word for which names a text holds
    if names != set(parameters):
        missing, unused = sorted(names - set(parameters)), sorted(set(parameters) - names)
        what = f"the query names :{missing[0]}" if missing else f"there is a parameter {unused[0]!r}"
        raise Invalid(f"{what}, and {'no such parameter is given' if missing else 'the query does not name it'}.")
    try:
        compiled = statement.bindparams(*(bindparam(name, value) for name, value in parameters.items())).compile(
            dialect=DefaultDialect(paramstyle=paramstyle)
        )
    except SQLAlchemyError:
        raise Invalid("the query cannot be read.") from None
    assert isinstance(compiled, SQLCompiler)  # noqa: S101 - what a text becomes
    if compiled.positional:
        return str(compiled), tuple(parameters[name] for name in compiled.positiontup or ())
    return str(compiled), dict(parameters)
