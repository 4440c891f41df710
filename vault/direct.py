"""The driver itself, for the few statements that every job passes through.

A `Direct` keeps one connection of the driver for each thread that uses it and runs SQLAlchemy statements that were
compiled once, with SQLAlchemy's own conversion of types. That leaves out a `Session`'s pool, unit of work and
transaction (measured on SQLite: a guarded update in 0.013 ms of processor time instead of 0.099 ms).
Promises that `run` is one transaction, that `transaction` is one, and that a connection that failed is not used again.
Refuses nothing that SQLAlchemy compiles, but statements must not be built per call: they are compiled by identity.
"""

from __future__ import annotations

import contextlib
import threading
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, NoReturn, Protocol

from sqlalchemy import Dialect, Engine
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import Executable

from vault import db

#: A row with its columns' names, which may be chosen freely by statements of different shapes.
Row = Any

_Convert = Callable[[Any], Any]


class Run(Protocol):
    """Runs one statement inside a transaction and answers its rows; none for a statement that returns none."""

    def __call__(self, statement: Executable, parameters: Mapping[str, object]) -> list[Row]: ...


class _Prepared:
    """One statement as a driver takes it: text, constants, and how values go in and come out."""

    def __init__(self, statement: Executable, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})  # type: ignore[attr-defined]
        assert isinstance(compiled, SQLCompiler)  # noqa: S101  (a statement, no DDL)
        self.text = str(compiled)
        #: The names of the parameters in their order, where the driver takes them by number.
        self._order = compiled.positiontup
        processors = {name: _in(bind.type, dialect) for name, bind in compiled.binds.items()}
        self._in = {name: convert for name, convert in processors.items() if convert is not None}
        self._constants = {
            name: value if (convert := self._in.get(name)) is None else convert(value)
            for name, value in compiled.params.items()
            if not compiled.binds[name].required
        }
        columns = getattr(statement, "exported_columns", ())
        self._out = tuple(
            (place, convert) for place, column in enumerate(columns) if (convert := _out(column.type, dialect))
        )
        names = [column.name for column in columns]
        self._row: Any = namedtuple("Row", names) if names else None  # noqa: PYI024  (its names are known here only)

    def bound(self, parameters: Mapping[str, object]) -> dict[str, Any] | list[Any]:
        """The driver's parameters."""
        bound = {**self._constants, **parameters}
        for name in self._in.keys() & parameters.keys():
            bound[name] = self._in[name](bound[name])
        return bound if self._order is None else [bound[name] for name in self._order]

    def rows(self, cursor: Any) -> list[Row]:  # noqa: ANN401  (either driver's)
        """What the statement answered."""
        if self._row is None:
            return []
        if not self._out:
            return list(map(self._row._make, cursor.fetchall()))
        found = []
        for raw in cursor.fetchall():
            values = list(raw)
            for place, convert in self._out:
                values[place] = convert(values[place])
            found.append(self._row._make(values))
        return found


def _in(kind: Any, dialect: Dialect) -> _Convert | None:  # noqa: ANN401  (a TypeEngine of anything)
    converter: _Convert | None = kind.dialect_impl(dialect).bind_processor(dialect)
    return converter


def _out(kind: Any, dialect: Dialect) -> _Convert | None:  # noqa: ANN401  (a TypeEngine of anything)
    converter: _Convert | None = kind.dialect_impl(dialect).result_processor(dialect, None)
    return converter


class Direct:
    """Runs statements on the calling thread's own connection to the database of `engine`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.dialect = engine.dialect.name
        # As the server itself takes them: psycopg would put `$1` for each `%(name)s` again with each execution.
        style = "named" if self.dialect == "sqlite" else "numeric_dollar"
        dialect: Any = type(engine.dialect)
        self._compiler = dialect(paramstyle=style)
        self._prepared: dict[int, tuple[Executable, _Prepared]] = {}
        self._kept = threading.local()
        self._open: set[Any] = set()
        # Answers of PostgreSQL in the wire's binary format: as text, ciphertexts would have twice their length.
        self._format: dict[str, Any] = {"binary": True} if self.dialect == "postgresql" else {}
        # What the driver raises when the database is away; anything else is a defect and passes.
        self._driver: Any = engine.dialect.loaded_dbapi
        closed = () if self.dialect == "sqlite" else (self._driver.InterfaceError,)
        self._away: tuple[type[Exception], ...] = (self._driver.OperationalError, *closed)
        self._writer = engine.get_execution_options().get("writer") or nullcontext()

    def read(self, statement: Executable, parameters: Mapping[str, object]) -> list[Row]:
        """One statement that only reads, as a transaction of its own. Raises `Unavailable`."""
        try:
            return self._execute(statement, parameters)
        except self._away as error:
            self._give_up(error)

    def write(self, statement: Executable, parameters: Mapping[str, object]) -> list[Row]:
        """One statement that changes something, as a transaction of its own. Raises `Unavailable`."""
        with self._writer:
            return self.read(statement, parameters)

    @contextmanager
    def transaction(self) -> Iterator[Run]:
        """Several statements, committed together at the end of the block. Raises `Unavailable`."""
        with self._writer:
            try:
                self._connection().execute("BEGIN IMMEDIATE" if self.dialect == "sqlite" else "BEGIN")
                yield self._execute
                self._connection().execute("COMMIT")
            except self._away as error:
                self._give_up(error)
            except BaseException:
                self.release()
                raise

    def release(self) -> None:
        """Close the calling thread's connection; what it had not committed is undone."""
        connection = getattr(self._kept, "connection", None)
        self._kept.connection = self._kept.cursor = None
        if connection is not None:
            self._open.discard(connection)
            with contextlib.suppress(*self._away):
                connection.close()

    def close(self) -> None:
        """Close the connections of all threads, which must not run anything any more."""
        for connection in list(self._open):
            with contextlib.suppress(*self._away):
                connection.close()
        self._open.clear()

    def _execute(self, statement: Executable, parameters: Mapping[str, object]) -> list[Row]:
        # The statement is kept beside what was made of it, so that its identity is not given to another.
        known = self._prepared.get(id(statement))
        if known is None:
            known = self._prepared[id(statement)] = (statement, _Prepared(statement, self._compiler))
        prepared = known[1]
        return prepared.rows(self._cursor().execute(prepared.text, prepared.bound(parameters), **self._format))

    def _cursor(self) -> Any:  # noqa: ANN401  (sqlite3.Connection or psycopg.RawCursor)
        connection = self._connection()
        return connection if self.dialect == "sqlite" else self._kept.cursor

    def _connection(self) -> Any:  # noqa: ANN401  (sqlite3.Connection or psycopg.Connection)
        connection = getattr(self._kept, "connection", None)
        if connection is None:
            connection = self._kept.connection = db.driver_connection(self._engine)
            if self.dialect == "postgresql":
                self._kept.cursor = self._driver.RawCursor(connection)
            self._open.add(connection)
        return connection

    def _give_up(self, error: Exception) -> NoReturn:
        self.release()
        raise db.trouble(error) from error
