"""A connection string in parts: what every dialect is read into, and written from; pure.

Promises that a value put into a part stays in that part: a string is parsed with its references in it, each of them one
character that no dialect knows (`marked`), and values come into the parsed parts only. What a dialect cannot carry is
refused (`Unwritable`), never left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from runner.errors import Invalid


class System(StrEnum):
    """The database systems that a source can read."""

    POSTGRESQL = "postgresql"
    MYSQL = "mysql"
    SQLSERVER = "sqlserver"
    ORACLE = "oracle"
    SQLITE = "sqlite"


class Dialect(StrEnum):
    """The ways of writing a connection."""

    URL = "url"
    LIBPQ = "libpq"
    ADONET = "adonet"
    ODBC = "odbc"
    JDBC = "jdbc"


#: The port of a system whose connection names none.
PORTS = {System.POSTGRESQL: 5432, System.MYSQL: 3306, System.SQLSERVER: 1433, System.ORACLE: 1521, System.SQLITE: 0}


class ConnectionInvalid(Invalid):
    """A connection cannot be read; the message names the part, and repeats no content that may be a credential."""


class Unwritable(Exception):
    """A dialect cannot carry what a part holds; `part` is its name."""

    def __init__(self, part: str, why: str) -> None:
        super().__init__(part, why)
        self.part = part
        self.why = why


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection in parts; an absent one is None, and `hosts` holds pairs of host and port ("" for the usual).

    `options` are pairs of a name as its dialect has it, and a text. `service` is what `database` names, where a system
    tells kinds apart (Oracle: `service` or `sid`).
    """

    dialect: Dialect
    scheme: str
    system: System
    hosts: tuple[tuple[str, str], ...] = ()
    user: str | None = None
    password: str | None = None
    database: str | None = None
    service: str = ""
    options: tuple[tuple[str, str], ...] = ()

    def parts(self) -> Iterator[tuple[str, str]]:
        """Every part that is there, by name."""
        for host, port in self.hosts:
            yield "host", host
            yield "port", port
        for name in ("user", "password", "database"):
            text = getattr(self, name)
            if text is not None:
                yield name, text
        yield from self.options

    def filled(self, fill: Callable[[str, str], str]) -> Connection:
        """The same with every part replaced by what `fill` makes of its name and text."""

        def each(name: str, text: str | None) -> str | None:
            return None if text is None else fill(name, text)

        return replace(
            self,
            hosts=tuple((fill("host", host), fill("port", port)) for host, port in self.hosts),
            user=each("user", self.user),
            password=each("password", self.password),
            database=each("database", self.database),
            options=tuple((name, fill(name, text)) for name, text in self.options),
        )

    def option(self, *names: str) -> str | None:
        """The text of the first of these options that is there."""
        found = dict(self.options)
        return next((found[name] for name in names if name in found), None)


_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?|[0-9A-Fa-f:.]+(%[A-Za-z0-9_.-]+)?", re.ASCII)


def check_filled(connection: Connection) -> None:
    """Refuse a filled connection whose hosts or ports are none, and what no server can be told.

    Raises:
        Unwritable: naming the part.
    """
    for host, port in connection.hosts:
        if not _HOST.fullmatch(host) and not host.startswith("/"):
            raise Unwritable("host", "what it was filled with is no host")
        if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise Unwritable("port", "what it was filled with is no port")
    for name, text in connection.parts():
        if "\0" in text:
            raise Unwritable(name, "it holds a NUL character, which no driver can carry")


def split_host(text: str, *, part: str = "host") -> tuple[str, str]:
    """Host and port of `host`, `host:port`, `[v6]` or `[v6]:port`."""
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise ConnectionInvalid(f"The {part} of the connection opens a bracket and does not close it.")
        return host, rest[1:]
    host, _, port = text.partition(":")
    if ":" in port:
        raise ConnectionInvalid(f"The {part} of the connection has several colons: write an IPv6 address in brackets.")
    return host, port


def joined_host(host: str, port: str) -> str:
    """`host:port` as `split_host` reads it."""
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{port}" if port else shown
