"""Engines and transactions for SQLite (WAL) and PostgreSQL.

A process's edge opens `writing(engine)` or `reading(engine)`; commands take the `Session` and never commit. On
SQLite a writing transaction begins IMMEDIATE, so that two writers wait for each other (up to `BUSY_TIMEOUT`)
instead of failing half-way (https://www.sqlite.org/lang_transaction.html).
"""

from __future__ import annotations

import json
import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    CursorResult,
    Engine,
    Executable,
    ScalarSelect,
    SQLColumnExpression,
    create_engine,
    event,
    literal,
    make_url,
    select,
    text,
)
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from vault.errors import DamagedRow, InvalidDatabase, Unavailable, VaultError
from vault.models import UtcDateTime, damaged

#: How long a SQLite writer waits for another one, in seconds.
BUSY_TIMEOUT = 30.0

#: How long a connection attempt to PostgreSQL may take, in seconds; longer counts as unavailable.
CONNECT_TIMEOUT = 5


#: How soon a connection to a host that fell silent is given up; the URL's own words go before
#: (https://www.postgresql.org/docs/current/libpq-connect.html; the last is in milliseconds).
PATIENCE = {
    "connect_timeout": CONNECT_TIMEOUT,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}


#: Seconds after which PostgreSQL ends a transaction whose client says nothing: a process that was frozen in one would
#: keep its locks, and with them a job from its next attempt. Half of a lease; ours speak every few milliseconds.
FROZEN_AFTER = 30


#: How many pages read in turn PostgreSQL takes one at random to cost, for the statements of every job and for what the
#: scheduler asks again and again: what these look for is in memory
#: (postgresql.org/docs/current/runtime-config-query.html). By its own 4 it would not use the key of a table of a few
#: pages that it has statistics of: for each of 100 assets it compared all 300 values, 0.9 ms.
PAGE_COST = 1.1

#: PostgreSQL's codes for what is over some time, beside those that its driver takes for operational: a server that
#: takes no changes, as before a standby is promoted, and a transaction that was ended since its process was frozen.
AWAY = frozenset({"25006", "25P03"})

#: Where libpq says that it looked for a server: a host with its address and port, or a socket (fe-connect.c of
#: PostgreSQL).
_PLACE = re.compile(r' (?:at|on socket) "[^"]*"(?: \([^)]*\))?(?:, port \d+)?')

#: What sqlite3 says of a text that is not UTF-8 (Modules/_sqlite/cursor.c of CPython).
_NO_TEXT = re.compile(r"Could not decode to UTF-8 column '(\w+)'")


class _ClockTime(FunctionElement[datetime]):
    """The database's own clock plus an offset in seconds; the only clock that leases are measured by."""

    type = UtcDateTime()
    inherit_cache = True
    name = "clock_time"


@compiles(_ClockTime, "postgresql")
def _postgresql_clock(element: _ClockTime, compiler: SQLCompiler, **kw: Any) -> str:  # noqa: ANN401
    offset = compiler.process(element.clauses, **kw)
    return f"(clock_timestamp() + make_interval(secs => {offset}))"


@compiles(_ClockTime, "sqlite")
def _sqlite_clock(element: _ClockTime, compiler: SQLCompiler, **kw: Any) -> str:  # noqa: ANN401
    # strftime gives milliseconds; three zeros make the text comparable with what UtcDateTime stores.
    offset = compiler.process(element.clauses, **kw)
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', ({offset}) || ' seconds') || '000')"


def clock(offset: timedelta = timedelta(0)) -> ColumnElement[datetime]:
    """The database's time, `offset` later, as an SQL expression."""
    return _ClockTime(literal(offset.total_seconds()))


def moment() -> ScalarSelect[datetime]:
    """The database's time, taken once for a statement, so that an index is searched by it.

    PostgreSQL asks `clock_timestamp()`, which is volatile, anew for every row, and so looks at all of an index
    (postgresql.org/docs/current/xfunc-volatility.html).
    """
    return select(clock()).scalar_subquery()


def clock_after(seconds: BindParameter[float]) -> ColumnElement[datetime]:
    """The database's time, a named parameter's seconds later, for statements that are built once."""
    return _ClockTime(seconds)


class _Later(FunctionElement[datetime]):
    """An instant in the database plus seconds, which may be none: then it is none."""

    type = UtcDateTime()
    inherit_cache = True
    name = "later"


@compiles(_Later, "postgresql")
def _postgresql_later(element: _Later, compiler: SQLCompiler, **kw: Any) -> str:  # noqa: ANN401
    instant, seconds = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"({instant} + make_interval(secs => {seconds}))"


@compiles(_Later, "sqlite")
def _sqlite_later(element: _Later, compiler: SQLCompiler, **kw: Any) -> str:  # noqa: ANN401
    instant, seconds = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"(strftime('%Y-%m-%d %H:%M:%f', {instant}, ({seconds}) || ' seconds') || '000')"


def later(instant: SQLColumnExpression[datetime], seconds: ColumnElement[float]) -> ColumnElement[datetime]:
    """`seconds` after an instant that the database holds, whatever clock measured them."""
    return _Later(instant, seconds)


def changes(session: Session, statement: Executable) -> int:
    """Run a guarded change; answers how many rows its WHERE let through."""
    result = session.execute(statement)
    return cast("CursorResult[Any]", result).rowcount


def database_time(session: Session) -> datetime:
    """The database's time now, aware, in UTC."""
    return session.execute(select(clock())).scalar_one()


def engine(url: str | URL, *, pool_size: int = 10) -> Engine:
    """An engine for `sqlite:///PATH` or `postgresql+psycopg://…`.

    Raises:
        InvalidDatabase: for any other kind of database.
    """
    parsed = _address(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed, pool_size=pool_size)
    if parsed.drivername in {"postgresql", "postgresql+psycopg"}:
        made = create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=CONNECT_TIMEOUT,
            connect_args={name: value for name, value in PATIENCE.items() if name not in parsed.query},
            hide_parameters=True,
        )
        event.listen(made, "connect", _end_frozen_transactions)
        return made
    raise InvalidDatabase(
        f"BOTKEEP_DATABASE_URL names the database kind {parsed.drivername!r}; "
        "use sqlite:///PATH or postgresql+psycopg://…"
    )


def _end_frozen_transactions(connection: Any, _record: object) -> None:  # noqa: ANN401 - psycopg's own
    with connection.cursor() as cursor:
        cursor.execute(f"SET idle_in_transaction_session_timeout = {FROZEN_AFTER * 1000}")
    connection.commit()


def _address(url: str | URL) -> URL:
    try:
        parsed = make_url(url)
        parsed.get_dialect()
    except (ArgumentError, ValueError):
        # The library's own words quote the address, and it may hold a password.
        raise InvalidDatabase(
            "BOTKEEP_DATABASE_URL is not an address: write sqlite:///PATH or "
            "postgresql+psycopg://USER:PASSWORD@HOST/NAME, with special characters of the password percent-encoded."
        ) from None
    return parsed


def _sqlite(url: URL, *, pool_size: int) -> Engine:
    made = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        # Writers of one process queue up here: SQLite itself makes them sleep and try again.
        execution_options={"writer": threading.Lock()},
        json_deserializer=document,
        connect_args={"timeout": BUSY_TIMEOUT, "check_same_thread": False},
        hide_parameters=True,
    )

    @event.listens_for(made, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        # The driver must not begin transactions by itself: `begin` below does.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(made, "begin")
    def begin(connection: Any) -> None:  # noqa: ANN401 - SQLAlchemy's Connection
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return made


def document(stored: str) -> Any:  # noqa: ANN401 - JSON
    """What SQLite keeps as JSON. Raises `DamagedRow` for what is none."""
    try:
        return json.loads(stored)
    except (ValueError, TypeError, RecursionError):
        raise damaged("a JSON document") from None


@contextmanager
def writing(bind: Engine) -> Iterator[Session]:
    """One transaction that may write; committed at the end of the block, rolled back on any exception.

    Raises:
        Unavailable: when the database cannot be reached or stays locked.
    """
    with _transaction(bind, writes=True) as session:
        yield session


@contextmanager
def reading(bind: Engine) -> Iterator[Session]:
    """One transaction that only reads; on PostgreSQL each statement is one, which sees the same: what is committed.

    Raises:
        Unavailable: when the database cannot be reached.
    """
    with _transaction(bind, writes=False) as session:
        yield session


@contextmanager
def _transaction(bind: Engine, *, writes: bool) -> Iterator[Session]:
    # Neither BEGIN nor its end for who only reads: two round trips of three.
    alone = {} if writes or bind.dialect.name == "sqlite" else {"isolation_level": "AUTOCOMMIT"}
    with (
        known_troubles(),
        turn(bind) if writes else nullcontext(),
        bind.connect().execution_options(writes=writes, **alone) as connection,
        connection.begin(),
        Session(connection, expire_on_commit=False, autoflush=False) as session,
    ):
        yield session
        session.flush()


@contextmanager
def known_troubles() -> Iterator[None]:
    """Raises what `trouble` makes of an error of SQLAlchemy, where the database is away or damaged."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise trouble(error.orig or error) from error
    except PoolTimeout as error:
        raise Unavailable("All connections to the database are busy; try again in a moment.") from error
    except DBAPIError as error:
        if error.connection_invalidated or _lacks_tables(error.orig) or _sqlstate(error.orig) in AWAY:
            raise trouble(error.orig or error) from error
        raise


def turn(bind: Engine) -> AbstractContextManager[object]:
    """This process's turn to write; on PostgreSQL everybody's turn is now."""
    writer: threading.Lock | None = bind.get_execution_options().get("writer")
    return writer or nullcontext()


def trouble(error: BaseException) -> VaultError:
    """What to raise for what a driver raised: `Unavailable`, or `DamagedRow` where waiting would not help."""
    # sqlite3 raises OperationalError also for a text that is none, with the column's name and the bytes themselves.
    no_text = _NO_TEXT.match(str(error)) if isinstance(error, sqlite3.Error) else None
    if no_text is not None:
        return DamagedRow(
            f"A row of the database was changed by hand, or damaged: its {no_text[1]} is no text. "
            "Restore the database from a backup."
        )
    # The driver's first line only: later lines may show statement parameters. Where the database is, strangers need not
    # know who ask the console whether it is ready.
    words = _PLACE.sub("", (str(error).strip().splitlines() or [type(error).__name__])[0])
    if _lacks_tables(error):
        return Unavailable("The database has no tables of Botkeep, or not all of them; run: botkeep migrate")
    if words == "unable to open database file":
        return Unavailable(
            "The database's file cannot be opened: its folder is missing, or closed to this user. "
            "Check BOTKEEP_HOME and BOTKEEP_DATABASE_URL; `botkeep up` makes what is missing."
        )
    if _disk_full(error):
        return Unavailable(f"The database cannot be written ({words}). Make room where it is, then try again.")
    return Unavailable(f"The database cannot be used now ({words}); try again when it is back.")


def _disk_full(error: BaseException) -> bool:
    """Whether a driver found no room, by PostgreSQL's code for it or by SQLite's."""
    return (
        getattr(error, "sqlstate", None) == "53100" or getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    )


def _lacks_tables(error: BaseException | None) -> bool:
    """Whether a driver found a table missing, by PostgreSQL's code for it or by SQLite's words."""
    return _sqlstate(error) == "42P01" or str(error).startswith("no such table")


def _sqlstate(error: BaseException | None) -> str | None:
    return getattr(error, "sqlstate", None)


def driver_connection(bind: Engine) -> Any:  # noqa: ANN401  (sqlite3.Connection or psycopg.Connection)
    """A new connection of the driver itself, which commits each statement by itself.

    It is set up as those of the pool are; on PostgreSQL it has `PAGE_COST`, too.

    Raises:
        Unavailable: when the database cannot be reached.
    """
    try:
        pooled = bind.raw_connection()
    except (OperationalError, InterfaceError) as error:
        raise trouble(error.orig or error) from error
    connection: Any = pooled.driver_connection
    pooled.detach()
    if bind.dialect.name == "postgresql":
        connection.autocommit = True
        connection.execute(f"SET random_page_cost = {PAGE_COST}")
    return connection


def ready(session: Session) -> None:
    """Do nothing but touch the database; raises what the driver raises."""
    session.execute(text("SELECT 1"))
