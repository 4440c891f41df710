"""JDBC's URLs of PostgreSQL, MySQL, MariaDB, SQL Server and Oracle thin; pure.

jdbc:postgresql://host:5432/db?user=app&password=…          also mysql and mariadb: a URL behind `jdbc:`
jdbc:sqlserver://host:1433;databaseName=db;user=app;password={…}
jdbc:oracle:thin:app/"…"@//host:1521/service                or @host:1521:SID
"""

from __future__ import annotations

import re
from dataclasses import replace

from runner.connections import odbc, url
from runner.connections.adonet import from_parts
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

_SQLSERVER = re.compile(r"jdbc:sqlserver://(?P<place>[^;]*)(?:;(?P<rest>.*))?", re.DOTALL)
_ORACLE = re.compile(
    r'jdbc:oracle:thin:(?P<user>[^/"@]*|"[^"]*")(?:/(?P<password>"[^"]*"|[^"@]*))?@(?P<place>.+)', re.DOTALL
)
_SERVICE = re.compile(r"//(?P<host>[^/]+)/(?P<name>[^/]+)", re.DOTALL)
_SID = re.compile(r"(?P<host>\[[^\]]*\]|[^:/]+):(?P<port>[^:/]*):(?P<name>[^:/]+)", re.DOTALL)


def parse(text: str) -> Connection:
    """Raises `ConnectionInvalid`."""
    if match := _SQLSERVER.fullmatch(text):
        return _sqlserver(match)
    if text.startswith("jdbc:oracle:"):
        return _oracle(text)
    if re.match(r"jdbc:(postgresql|mysql|mariadb)://", text):
        found = url.parse(text.removeprefix("jdbc:"))
        return replace(found, dialect=Dialect.JDBC, scheme=f"jdbc:{found.scheme}", service="")
    raise ConnectionInvalid(
        "The connection's JDBC driver is none of postgresql, mysql, mariadb, sqlserver and oracle:thin."
    )


def write(connection: Connection) -> str:
    """The JDBC URL of a connection."""
    if connection.system is System.SQLSERVER:
        return _write_sqlserver(connection)
    if connection.system is System.ORACLE:
        return _write_oracle(connection)
    named = (("user", connection.user), ("password", connection.password))
    options = tuple((name, text) for name, text in named if text is not None) + connection.options
    scheme = connection.scheme.removeprefix("jdbc:")
    return "jdbc:" + url.write(replace(connection, scheme=scheme, user=None, password=None, options=options))


def _sqlserver(match: re.Match[str]) -> Connection:
    place, pairs = match["place"], odbc.pairs(match["rest"] or "")
    if "\\" in place:
        raise ConnectionInvalid("A named instance cannot be looked up; write the port of the instance.")
    host, port = split_host(place) if place else ("", "")
    written = ([("host", host)] if host else []) + ([("port", port)] if port else [])
    found = sorted_out([*written, *pairs])
    return replace(from_parts(Dialect.JDBC, System.SQLSERVER, found), scheme="jdbc:sqlserver")


def _write_sqlserver(connection: Connection) -> str:
    place = joined_host(*connection.hosts[0]) if connection.hosts else ""
    named = (("databaseName", connection.database), ("user", connection.user), ("password", connection.password))
    pairs = [(name, text) for name, text in named if text is not None]
    return "jdbc:sqlserver://" + "".join(
        [place, *(f";{name}={odbc.quoted(text, part=name)}" for name, text in (*pairs, *connection.options))]
    )


def _oracle(text: str) -> Connection:
    match = _ORACLE.fullmatch(text)
    place = match and (_SERVICE.fullmatch(match["place"]) or _SID.fullmatch(match["place"]))
    if not match or not place:
        raise ConnectionInvalid("Write the Oracle connection as jdbc:oracle:thin:USER/PASSWORD@//HOST:PORT/SERVICE.")
    is_service = place.re is _SERVICE
    host = split_host(place["host"]) if is_service else (place["host"].strip("[]"), place["port"])
    return Connection(
        Dialect.JDBC,
        "jdbc:oracle:thin",
        System.ORACLE,
        hosts=(host,),
        user=_unquoted(match["user"]) or None,
        password=None if match["password"] is None else _unquoted(match["password"]),
        database=place["name"],
        service="service" if is_service else "sid",
    )


def _write_oracle(connection: Connection) -> str:
    for part, text in (("user", connection.user), ("password", connection.password)):
        if text is not None and '"' in text:
            raise Unwritable(part, "it holds a double quote, which an Oracle URL cannot carry")
    ((host, port),) = connection.hosts
    user = f'"{connection.user}"' if connection.user is not None else ""
    password = f'/"{connection.password}"' if connection.password is not None else ""
    if connection.service == "sid":
        place = f"{f'[{host}]' if ':' in host else host}:{port}:{connection.database}"
    else:
        place = f"//{joined_host(host, port)}/{connection.database}"
    return f"jdbc:oracle:thin:{user}{password}@{place}"


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text
