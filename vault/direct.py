"""The driver itself, for the few statements that every job passes through.

A `Direct` keeps one connection of the driver for each thread that uses it and runs SQLAlchemy statements that were
compiled once, with SQLAlchemy's own conversion of types. That leaves out a `Session`'s pool, unit of work and
transaction (measured on SQLite: a guarded update in 0.013 ms of processor time instead of 0.099 ms). `within` runs
such statements in the transaction of a `Session`, `pooled` on a connection of the engine's pool.
Promises that `run` is one transaction, that `transaction` is one, and that a connection that failed is not used again.
Refuses nothing that SQLAlchemy compiles, but statements must not be built per call: they are compiled by identity, and
what was made of one is forgotten with it. Of a connection's latest statements psycopg keeps 100 prepared, sqlite3 128.
"""

from __future__ import annotations

import contextlib
import threading
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any, NoReturn, Protocol
from weakref import WeakKeyDictionary, finalize, ref

from sqlalchemy import Connection, Dialect, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import Executable

from vault import db

#: A row with its columns' names, which may be chosen freely by statements of different shapes.
Row = Any

#: A row as the driver has it: the values of its columns.
Raw = tuple[Any, ...]

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


class _Statements:
    """The statements of one engine, each prepared once; for all threads and for sessions, too."""

    def __init__(self, engine: Engine) -> None:
        self.dialect = engine.dialect.name
        # As the server itself takes them: psycopg would put `$1` for each `%(name)s` again with each execution.
        style = "named" if self.dialect == "sqlite" else "numeric_dollar"
        dialect: Any = type(engine.dialect)
        known = {"json_deserializer": db.document} if self.dialect == "sqlite" else {}
        self._compiler = dialect(paramstyle=style, **known)
        self._known: dict[int, tuple[ref[Executable], _Prepared]] = {}
        # Answers of PostgreSQL in the wire's binary format: as text, ciphertexts would have twice their length.
        self._format: dict[str, Any] = {"binary": True} if self.dialect == "postgresql" else {}
        #: The module of the driver.
        self.driver: Any = engine.dialect.loaded_dbapi
        self._wrapped = partial(
            DBAPIError.instance,
            None,
            None,
            dbapi_base_err=self.driver.Error,
            hide_parameters=True,
            dialect=engine.dialect,
        )

    @classmethod
    def of(cls, engine: Engine) -> _Statements:
        known = _by_engine.get(engine)
        return known if known is not None else _by_engine.setdefault(engine, cls(engine))

    def cursor(self, connection: Any) -> Any:  # noqa: ANN401  (sqlite3.Connection or psycopg.Connection)
        """What `run` takes, for a connection of the driver."""
        return connection if self.dialect == "sqlite" else self.driver.RawCursor(connection)

    def run(self, cursor: Any, statement: Executable, parameters: Mapping[str, object]) -> list[Row]:  # noqa: ANN401
        prepared = self._prepared(statement)
        return prepared.rows(cursor.execute(prepared.text, prepared.bound(parameters), **self._format))

    def fetch(self, cursor: Any, statement: Executable, parameters: Mapping[str, object]) -> list[Raw]:  # noqa: ANN401
        prepared = self._prepared(statement)
        found: list[Raw] = cursor.execute(prepared.text, prepared.bound(parameters), **self._format).fetchall()
        return found

    def _prepared(self, statement: Executable) -> _Prepared:
        known = self._known.get(id(statement))
        return self._added(statement) if known is None else known[1]

    def _added(self, statement: Executable) -> _Prepared:
        place, known = id(statement), self._known
        # Gone before its identity can be another's.
        gone = ref(statement, lambda _: known.pop(place, None))
        prepared = _Prepared(statement, self._compiler)
        known[place] = (gone, prepared)
        return prepared

    def wrapped(self, error: Exception) -> BaseException:
        """What SQLAlchemy raises for an error of the driver."""
        return self._wrapped(error)


#: The statements of each engine that there is.
_by_engine: MutableMapping[Engine, _Statements] = WeakKeyDictionary()


def within(session: Session) -> Run:
    """Runs statements in the transaction of a session, which was opened by `db.writing` or `db.reading`.

    What was added to the session and not flushed is not seen. Raises what the session itself would raise.
    """
    # Such a session stands on one connection. Asked for it, it would begin to keep books of a transaction.
    connection = session.bind if isinstance(session.bind, Connection) else session.connection()
    statements = _Statements.of(connection.engine)
    cursor = statements.cursor(connection.connection.driver_connection)

    def run(statement: Executable, parameters: Mapping[str, object]) -> list[Row]:
        try:
            return statements.run(cursor, statement, parameters)
        except statements.driver.Error as error:
            raise statements.wrapped(error) from error

    return run


@contextmanager
def pooled(engine: Engine) -> Iterator[Run]:
    """A transaction that may write, without a session; on PostgreSQL each statement is one, which needs no other words.

    Raises `Unavailable`, or what a session would raise: `IntegrityError` where a constraint refuses.
    """
    statements = _Statements.of(engine)
    with db.known_troubles(), db.turn(engine):
        connection = engine.raw_connection()
        driver: Any = connection.driver_connection
        try:
            cursor = statements.cursor(driver)
            if statements.dialect == "sqlite":
                cursor.execute("BEGIN IMMEDIATE")
                yield partial(statements.run, cursor)
                cursor.execute("COMMIT")
            else:
                driver.autocommit = True
                yield partial(statements.run, cursor)
        except statements.driver.Error as error:
            raise statements.wrapped(error) from error
        finally:
            if statements.dialect == "postgresql":
                _as_it_was(connection, engine)
            connection.close()  # the pool undoes what is not committed


def _as_it_was(connection: PoolProxiedConnection, engine: Engine) -> None:
    """Make a connection to PostgreSQL what its pool gave; where it broke, the pool takes all it has for broken."""
    driver: Any = connection.driver_connection
    if driver.closed:
        # As a session does it: after a restart of the server each of them would cost somebody a failure.
        engine.pool._invalidate(connection)  # noqa: SLF001 - SQLAlchemy has no public name for it
    else:
        driver.autocommit = False


class _Open:
    """Stands in a thread's place for its connection, which is closed with it: at the latest when the thread ends."""

    __slots__ = ("__weakref__",)


def _close(connection: Any, among: set[Any], away: tuple[type[Exception], ...]) -> None:  # noqa: ANN401
    """Close a connection of those that are open. Outside of `Direct`, which must not live on for this."""
    among.discard(connection)
    with contextlib.suppress(*away):
        connection.close()


class Direct:
    """Runs statements on the calling thread's own connection to the database of `engine`.

    Threads that write to SQLite take turns, and do so on one connection: it keeps its cache of pages, which another
    one would have to read again after each write.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.dialect = engine.dialect.name
        self._statements = _Statements.of(engine)
        self._own = threading.local()
        self._shared = SimpleNamespace() if self.dialect == "sqlite" else self._own
        self._open: set[Any] = set()
        # What the driver raises when the database is away; anything else is a defect and passes.
        driver = self._statements.driver
        others = () if self.dialect == "sqlite" else (driver.InterfaceError, *map(driver.errors.lookup, db.AWAY))
        self._away: tuple[type[Exception], ...] = (driver.OperationalError, *others)
        #: SQLite's one writer at a time within this process.
        self._turn: threading.Lock | None = engine.get_execution_options().get("writer")
        self._writer = db.turn(engine)

    def read(self, statement: Executable, parameters: Mapping[str, object]) -> list[Row]:
        """One statement that only reads, as a transaction of its own. Raises `Unavailable`."""
        return self._run(self._own, statement, parameters)

    def fetch(self, statement: Executable, parameters: Mapping[str, object]) -> list[Raw]:
        """As `read`; the rows are the driver's own, of a statement whose columns need no conversion.

        On SQLite by the writers' connection where nobody writes at this moment, since a thread's own must read each
        page again after each write: 0.2 ms for 100 values.
        """
        shared = self._turn is not None and self._turn.acquire(blocking=False)
        place = self._shared if shared else self._own
        try:
            return self._statements.fetch(self._cursor(place), statement, parameters)
        except self._away as error:
            self._give_up(place, error)
        finally:
            if shared and self._turn is not None:
                self._turn.release()

    def write(self, statement: Executable, parameters: Mapping[str, object]) -> list[Row]:
        """One statement that changes something, as a transaction of its own. Raises `Unavailable`."""
        with self._writer:
            return self._run(self._shared, statement, parameters)

    def insert(self, statement: Executable, parameters: Mapping[str, object]) -> list[Row] | None:
        """As `write`; `None`, and nothing was written, where a constraint refuses it. Raises `Unavailable`.

        Test for `None`: a statement that returns no rows answers an empty list when it is done.
        """
        try:
            return self.write(statement, parameters)
        except self._statements.driver.IntegrityError:
            return None

    @contextmanager
    def transaction(self) -> Iterator[Run]:
        """Several statements, committed together at the end of the block. Raises `Unavailable`."""
        with self._writer:
            try:
                cursor = self._cursor(self._shared)
                cursor.execute("BEGIN IMMEDIATE" if self.dialect == "sqlite" else "BEGIN")
                yield partial(self._statements.run, cursor)
                cursor.execute("COMMIT")
            except self._away as error:
                self._give_up(self._shared, error)
            except BaseException:
                self._release(self._shared)
                raise

    def release(self) -> None:
        """Close the calling thread's connection, before its end does; what it had not committed is undone."""
        self._release(self._own)

    def close(self) -> None:
        """Close the connections of all threads, which must not run anything any more."""
        for connection in list(self._open):
            _close(connection, self._open, self._away)

    def _run(self, place: Any, statement: Executable, parameters: Mapping[str, object]) -> list[Row]:  # noqa: ANN401
        try:
            return self._statements.run(self._cursor(place), statement, parameters)
        except self._away as error:
            self._give_up(place, error)

    def _cursor(self, place: Any) -> Any:  # noqa: ANN401  (sqlite3.Connection or psycopg.RawCursor)
        cursor = getattr(place, "cursor", None)
        if cursor is None:
            connection = db.driver_connection(self._engine)
            self._open.add(connection)
            place.open = _Open()
            finalize(place.open, _close, connection, self._open, self._away).atexit = False
            cursor = place.cursor = self._statements.cursor(connection)
        return cursor

    def _release(self, place: Any) -> None:  # noqa: ANN401  (a thread's own, or the one that all share)
        place.cursor = place.open = None

    def _give_up(self, place: Any, error: Exception) -> NoReturn:  # noqa: ANN401
        self._release(place)
        raise db.trouble(error) from error
