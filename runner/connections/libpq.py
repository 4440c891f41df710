r"""libpq's keyword strings: `host=db user=app password='it''s'`; pure.

Blanks separate, a value with blanks stands in single quotes, and `\'` and `\\` escape, inside quotes and outside
(https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-KEYWORD-VALUE).
"""

from __future__ import annotations

import re

from runner.connections.names import sorted_out
from runner.connections.parsed import Connection, ConnectionInvalid, Dialect, System

_KEY = re.compile(r"\s*([A-Za-z_]+)\s*=\s*", re.ASCII)
#: Its first value ends at a blank, where that of an ADO.NET string ends at a semicolon.
SHAPE = re.compile(
    r"\s*(?:host|port|user|password|dbname|sslmode)\s*=\s*(?:'(?:[^'\\]|\\.)*'|(?:[^\s;'\\]|\\.)*)(?:\s.*)?",
    re.ASCII | re.DOTALL,
)


def parse(text: str) -> Connection:
    """Raises `ConnectionInvalid`."""
    found = sorted_out(_pairs(text))
    hosts, ports = found.pop("host", "").split(","), found.pop("port", "").split(",")
    if len(ports) not in (1, len(hosts)):
        raise ConnectionInvalid("The connection gives ports for some of its hosts only: give one, or one for each.")
    return Connection(
        Dialect.LIBPQ,
        "",
        System.POSTGRESQL,
        hosts=tuple(zip(hosts, ports if len(ports) == len(hosts) else ports * len(hosts), strict=True)),
        user=found.pop("user", None),
        password=found.pop("password", None),
        database=found.pop("database", None),
        options=tuple(found.items()),
    )


def write(connection: Connection) -> str:
    """The keyword string of a connection, every value in quotes."""
    pairs = [("host", ",".join(host for host, _ in connection.hosts))]
    if any(port for _, port in connection.hosts):
        pairs.append(("port", ",".join(port for _, port in connection.hosts)))
    named = (("user", connection.user), ("password", connection.password), ("dbname", connection.database))
    pairs += [(name, text) for name, text in named if text is not None]
    return " ".join(f"{name}={quoted(text)}" for name, text in (*pairs, *connection.options))


def quoted(text: str) -> str:
    """A value in quotes."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _pairs(text: str) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    position, text = 0, text.strip()
    while position < len(text):
        key = _KEY.match(text, position)
        if key is None:
            raise ConnectionInvalid(
                "The connection is no list of KEY=VALUE with blanks between: quote values with blanks."
            )
        value, position = _value(text, key.end())
        pairs.append((key[1], value))
    return pairs


def _value(text: str, position: int) -> tuple[str, int]:
    """The value that begins at a position, and where it ends."""
    in_quotes = position < len(text) and text[position] == "'"
    position += in_quotes
    value: list[str] = []
    while position < len(text):
        letter = text[position]
        if letter == "\\":
            position += 1
            value.append(text[position : position + 1])
        elif in_quotes and letter == "'":
            return "".join(value), position + 1
        elif not in_quotes and letter.isspace():
            return "".join(value), position
        else:
            value.append(letter)
        position += 1
    if in_quotes:
        raise ConnectionInvalid("The connection opens a quote and does not close it.")
    return "".join(value), position
