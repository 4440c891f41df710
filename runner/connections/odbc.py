"""ODBC strings: `DRIVER={ODBC Driver 18 for SQL Server};SERVER=db,1433;UID=app;PWD={a;b}}c}`; pure.

Semicolons separate; a value in braces may hold anything, a closing brace in it is doubled (SQLDriverConnect,
learn.microsoft.com). Every value that is not plain is written in braces.
"""

from __future__ import annotations

import re

from runner.connections.adonet import from_parts
from runner.connections.names import sorted_out
from runner.connections.parsed import Connection, ConnectionInvalid, Dialect, System, Unwritable

SHAPE = re.compile(r"\s*(driver|dsn|filedsn)\s*=.*", re.IGNORECASE | re.DOTALL)
_KEY = re.compile(r"[\s;]*([^=;{}]+?)\s*=", re.ASCII)
_PLAIN = re.compile(r"[A-Za-z0-9_.:/\\+,-]*", re.ASCII)
_END = re.compile(r"\s*(;|\Z)")

#: Words in a driver's name that tell which system it is for.
_SYSTEMS = (
    ("postgres", System.POSTGRESQL),
    ("psqlodbc", System.POSTGRESQL),
    ("mysql", System.MYSQL),
    ("maria", System.MYSQL),
    ("maodbc", System.MYSQL),
    ("oracle", System.ORACLE),
    ("sql server", System.SQLSERVER),
    ("freetds", System.SQLSERVER),
    ("tdsodbc", System.SQLSERVER),
)


def parse(text: str) -> Connection:
    """Raises `ConnectionInvalid`."""
    found = sorted_out(pairs(text))
    driver = found.get("driver", "").lower()
    system = next((system for word, system in _SYSTEMS if word in driver), None)
    if system is None:
        raise ConnectionInvalid(
            "The connection's DRIVER is for none of PostgreSQL, MySQL, MariaDB, SQL Server and Oracle."
        )
    if "/" in driver or ".so" in driver:
        raise ConnectionInvalid("Name the driver as odbcinst.ini of the runner does; a path would load any file.")
    return from_parts(Dialect.ODBC, system, found)


def write(connection: Connection) -> str:
    """The string of a connection, values in braces where they need it."""
    options = dict(connection.options)
    pairs_: list[tuple[str, str]] = [("DRIVER", options.pop("driver", ""))]
    for host, port in connection.hosts:
        together = connection.system is System.SQLSERVER
        pairs_.append(("SERVER", f"{host},{port}" if port and together else host))
        if port and not together:
            pairs_.append(("PORT", port))
    named = (("DATABASE", connection.database), ("UID", connection.user), ("PWD", connection.password))
    pairs_ += [(name, text) for name, text in named if text is not None]
    return ";".join(f"{name}={quoted(text, part=name)}" for name, text in (*pairs_, *options.items()))


def quoted(text: str, *, part: str) -> str:
    """A value, in braces unless it is plain."""
    if "\0" in text:
        raise Unwritable(part, "it holds a NUL character")
    return text if _PLAIN.fullmatch(text) else "{" + text.replace("}", "}}") + "}"


def pairs(text: str) -> list[tuple[str, str]]:
    """The keys and values of a string with braces around values. Raises `ConnectionInvalid`."""
    found: list[tuple[str, str]] = []
    position, text = 0, text.rstrip("; \t\r\n")
    while position < len(text):
        key = _KEY.match(text, position)
        if key is None:
            raise ConnectionInvalid("The connection is no list of KEY=VALUE with semicolons between.")
        value, position = _value(text, key.end())
        found.append((key[1], value))
    return found


def _value(text: str, position: int) -> tuple[str, int]:
    blanks = len(text[position:]) - len(text[position:].lstrip())
    if not text.startswith("{", position + blanks):
        end = text.find(";", position)
        end = len(text) if end < 0 else end
        return text[position:end].strip(), end + 1
    value: list[str] = []
    position += blanks + 1
    while True:
        end = text.find("}", position)
        if end < 0:
            raise ConnectionInvalid("The connection opens a brace and does not close it.")
        value.append(text[position:end])
        position = end + 1
        if not text.startswith("}", position):
            break
        value.append("}")
        position += 1
    rest = _END.match(text, position)
    if rest is None:
        raise ConnectionInvalid(
            "The connection goes on after a closed brace: double the closing braces inside of a value."
        )
    return "".join(value), rest.end()
