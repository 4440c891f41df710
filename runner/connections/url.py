"""SQLAlchemy's and libpq's URLs: `postgresql+psycopg://user:password@host:5432/database?sslmode=require`; pure.

Everything in a URL is percent-encoded (RFC 3986); `+` stays itself. Several hosts are written as libpq writes them,
with commas between. A SQLite URL is `sqlite:////folder/file.db`, as SQLAlchemy writes it.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from runner.connections.names import sorted_out
from runner.connections.parsed import (
    Connection,
    ConnectionInvalid,
    Dialect,
    System,
    joined_host,
    split_host,
)

SCHEMES = {
    "postgresql": System.POSTGRESQL,
    "postgres": System.POSTGRESQL,
    "mysql": System.MYSQL,
    "mariadb": System.MYSQL,
    "mssql": System.SQLSERVER,
    "sqlserver": System.SQLSERVER,
    "oracle": System.ORACLE,
    "sqlite": System.SQLITE,
}

SHAPE = re.compile(r"(?P<scheme>[a-z0-9]+(?:\+[a-z0-9]+)?)://(?P<rest>.*)", re.DOTALL)
_AUTHORITY = re.compile(
    r"(?:(?P<user>[^:@/]*)(?::(?P<password>[^@]*))?@)?(?P<hosts>[^/?]*)(?P<path>/[^?]*)?(?:\?(?P<query>.*))?", re.DOTALL
)


def parse(text: str) -> Connection:
    """Raises `ConnectionInvalid`."""
    shape = SHAPE.fullmatch(text)
    system = SCHEMES.get(shape["scheme"].partition("+")[0]) if shape else None
    if shape is None or system is None:
        raise ConnectionInvalid(f"The connection's scheme is none of {', '.join(SCHEMES)}.")
    match = _AUTHORITY.fullmatch(shape["rest"])
    if match is None:
        raise ConnectionInvalid("The connection is no URL: percent-encode @, / and ? in its user and password.")
    if system is System.SQLITE:
        return _sqlite(shape["scheme"], match)
    found = sorted_out(_query(match["query"] or ""))
    hosts = [split_host(unquote(each)) for each in match["hosts"].split(",")] if match["hosts"] else []
    if "host" in found:
        if hosts:
            raise ConnectionInvalid(
                "The connection gives its host twice, before the path and in the query: remove one."
            )
        hosts = [split_host(each) if not each.startswith("/") else (each, "") for each in found.pop("host").split(",")]
    port = found.pop("port", "")
    if port and len(hosts) != 1:
        raise ConnectionInvalid("The connection gives one port for several hosts: write host:port for each.")
    written = {
        "user": match["user"] or None,
        "password": match["password"],
        "database": (match["path"] or "/")[1:] or None,
    }
    parts: dict[str, str | None] = {}
    for name, here in written.items():
        there = found.pop(name, None)
        if here is not None and there is not None:
            raise ConnectionInvalid(f"The connection gives {name} twice, before the query and in it: remove one.")
        parts[name] = there if here is None else unquote(here)
    return Connection(
        Dialect.URL,
        shape["scheme"],
        system,
        hosts=tuple((host, port or own) for host, own in hosts),
        service="sid" if system is System.ORACLE and parts["database"] else "",
        options=tuple(found.items()),
        **parts,
    )


def write(connection: Connection) -> str:
    """The URL of a connection, everything percent-encoded."""
    if connection.system is System.SQLITE:
        return f"{connection.scheme}:///{_quoted(connection.database or '', '/')}"
    user = "" if connection.user is None else _quoted(connection.user)
    if connection.password is not None:
        user += f":{_quoted(connection.password)}"
    query = list(connection.options)
    sockets = [host for host, _ in connection.hosts if host.startswith("/")]
    if sockets:
        port = next((port for _, port in connection.hosts if port), "")
        query += [("host", ",".join(sockets)), *([("port", port)] if port else [])]
    hosts = "" if sockets else ",".join(joined_host(*each) for each in connection.hosts)
    at = f"{user}@" if user else ""
    path = "" if connection.database is None else f"/{_quoted(connection.database)}"
    options = "&".join(f"{_quoted(name)}={_quoted(text)}" for name, text in query)
    return f"{connection.scheme}://{at}{hosts}{path or '/'}{'?' if options else ''}{options}"


def _sqlite(scheme: str, match: re.Match[str]) -> Connection:
    if match["hosts"] or match["user"] or match["query"] or not (match["path"] or "").startswith("//"):
        raise ConnectionInvalid("A SQLite file is written with its whole path: sqlite:////folder/file.db")
    return Connection(Dialect.URL, scheme, System.SQLITE, database=unquote(match["path"][1:]))


def _query(text: str) -> list[tuple[str, str]]:
    pairs = [each.partition("=") for each in text.split("&") if each]
    return [(unquote(name), unquote(value)) for name, _, value in pairs]


def _quoted(text: str, safe: str = "") -> str:
    return quote(text, safe=safe, errors="surrogatepass")
