"""ADO.NET strings: `Server=db,1433;Database=orders;User ID=app;Password="it's"`; pure.

Semicolons separate; a value that holds one, a quote, or blanks at an end stands in double or single quotes, in which
the quote itself is doubled; `==` in a key is one `=` (DbConnectionStringBuilder, learn.microsoft.com).
"""

from __future__ import annotations

import re

from runner.connections.names import sorted_out
from runner.connections.parsed import (
    Connection,
    ConnectionInvalid,
    Dialect,
    System,
    Unwritable,
    joined_host,
    split_host,
)

_KEY = re.compile(r"[\s;]*((?:[^=;]|==)+?)\s*=(?!=)\s*", re.ASCII)
_PLAIN = re.compile(r"[A-Za-z0-9_.:\\/+-][A-Za-z0-9_.:\\/ +-]*[A-Za-z0-9_.:\\/+-]|[A-Za-z0-9_.-]", re.ASCII)

#: What each part is called when it is written.
_WRITTEN = {
    System.SQLSERVER: ("Server", "Database", "User ID", "Password"),
    System.POSTGRESQL: ("Host", "Database", "Username", "Password"),
    System.MYSQL: ("Server", "Database", "User ID", "Password"),
    System.ORACLE: ("Data Source", "Database", "User Id", "Password"),
}


def parse(text: str, system: System = System.SQLSERVER) -> Connection:
    """Raises `ConnectionInvalid`."""
    return from_parts(Dialect.ADONET, system, sorted_out(_pairs(text)))


def from_parts(dialect: Dialect, system: System, found: dict[str, str]) -> Connection:
    """A connection from its sorted keys, with the server's own ways of writing a port.

    Raises:
        ConnectionInvalid: for two ports, or an instance, which would have to be asked for elsewhere.
    """
    place = found.pop("host", "")
    service = ""
    if system is System.ORACLE and "/" in place.removeprefix("//"):
        place, _, found["database"] = place.removeprefix("//").partition("/")
        service = "service"
    host, port = server(place, system)
    other = found.pop("port", "")
    if port and other:
        raise ConnectionInvalid("The connection gives its port twice, beside the host and by itself: remove one.")
    if "instance" in found:
        raise ConnectionInvalid("A named instance cannot be looked up; write the port of the instance.")
    return Connection(
        dialect,
        "",
        system,
        hosts=((host, port or other),) if host else (),
        user=found.pop("user", None),
        password=found.pop("password", None),
        database=found.pop("database", None),
        service=service,
        options=tuple(found.items()),
    )


def server(text: str, system: System) -> tuple[str, str]:
    r"""Host and port of `tcp:host,1433`, or of `host:port` for other systems than SQL Server."""
    if system is not System.SQLSERVER:
        return (text, "") if text.count(":") > 1 and not text.startswith("[") else split_host(text)
    host, _, port = text.removeprefix("tcp:").partition(",")
    if "\\" in host:
        raise ConnectionInvalid(
            "A named instance cannot be looked up; write the port of the instance: Server=host,1433"
        )
    return host.strip(), port.strip()


def write(connection: Connection) -> str:
    """The string of a connection, values quoted where they need it."""
    host, database, user, password = _WRITTEN[connection.system]
    pairs: list[tuple[str, str]] = []
    for name, port in connection.hosts:
        if connection.system is System.ORACLE:
            pairs.append((host, f"{joined_host(name, port)}/{connection.database}"))
            continue
        together = connection.system is System.SQLSERVER
        pairs.append((host, f"{name},{port}" if port and together else name))
        if port and not together:
            pairs.append(("Port", port))
    named = [(user, connection.user), (password, connection.password)]
    if connection.system is not System.ORACLE:
        named.insert(0, (database, connection.database))
    pairs += [(name, text) for name, text in named if text is not None]
    return ";".join(f"{name}={quoted(text, part=name)}" for name, text in (*pairs, *connection.options))


def quoted(text: str, *, part: str) -> str:
    """A value, in quotes unless it is plain."""
    if "\0" in text:
        raise Unwritable(part, "it holds a NUL character")
    if _PLAIN.fullmatch(text):
        return text
    return '"' + text.replace('"', '""') + '"'


def _pairs(text: str) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    position, text = 0, text.rstrip("; \t\r\n")
    while position < len(text):
        key = _KEY.match(text, position)
        if key is None:
            raise ConnectionInvalid("The connection is no list of Key=Value with semicolons between.")
        value, position = _value(text, key.end())
        pairs.append((key[1].replace("==", "="), value))
    return pairs


def _value(text: str, position: int) -> tuple[str, int]:
    quote = text[position : position + 1]
    if quote not in ('"', "'"):
        end = text.find(";", position)
        end = len(text) if end < 0 else end
        return text[position:end].strip(), end + 1
    value: list[str] = []
    position += 1
    while True:
        end = text.find(quote, position)
        if end < 0:
            raise ConnectionInvalid("The connection opens a quote and does not close it.")
        value.append(text[position:end])
        position = end + 1
        if text[position : position + 1] != quote:
            break
        value.append(quote)
        position += 1
    rest = re.compile(r"\s*(;|\Z)").match(text, position)
    if rest is None:
        raise ConnectionInvalid("The connection goes on after a closed quote: double the quotes inside of a value.")
    return "".join(value), rest.end()
