r"""How a data source writes a value into what it sends to a driver: one small function per kind of quoting.

Promises: each yields the forms that differ from the value itself, without the surrounding quotes. Pure.
"""

from collections.abc import Callable, Iterable, Iterator

from runner.worker.escapes import ALNUM, UNRESERVED, doubled, in_front, numbered, restored, through

#: Of the bytes of a value only these, and what no URL holds, are written differently by anything here.
_PLAIN = ALNUM + b"-._"

_URL = numbered("%%%02X", kept=UNRESERVED)
_CONNINFO = in_front(b"'\\")
_QUOTED_STRING = in_front(b'"\\')
_PROPERTIES = in_front(b" !#:=\\")


def substituted(value: bytes) -> Iterator[bytes]:
    """In whatever a data source sends."""
    if value.translate(None, _PLAIN):
        for quoting in SOURCE_QUOTINGS:
            yield from quoting(value)


def sql(value: bytes) -> Iterator[bytes]:
    r"""In a literal or a name of SQL: its quote doubled (`'`, `"`, `]`, a backtick), or `\'` as MySQL has it."""
    for mark in (b"'", b'"', b"]", b"`"):
        if mark in value:
            yield doubled(value, mark)
    if b"'" in value:
        yield value.replace(b"'", b"\\'")


def placeholders(value: bytes) -> Iterator[bytes]:
    """In a text that is formatted with `%` afterwards, and in an INI file: `%%`."""
    if b"%" in value:
        yield doubled(value, b"%")


def libpq(value: bytes) -> Iterator[bytes]:
    r"""In a keyword/value string of libpq (`password='it\'s'`), which is the literal of MySQL too."""
    if b"'" in value or b"\\" in value:
        yield through(_CONNINFO, value)


def quoted_string(value: bytes) -> Iterator[bytes]:
    r"""In a quoted string of IMAP (RFC 9051) and the like: `\"` and `\\`."""
    if b'"' in value or b"\\" in value:
        yield through(_QUOTED_STRING, value)


def odbc(value: bytes) -> Iterator[bytes]:
    """In a connection string of ODBC or of JDBC for SQL Server: `{it}}s}`."""
    if b"}" in value:
        yield doubled(value, b"}")


def ado_net(value: bytes) -> Iterator[bytes]:
    """In a connection string of ADO.NET: its quote doubled, and `==` in a key."""
    for mark in (b'"', b"'", b"="):
        if mark in value:
            yield doubled(value, mark)


def sqlalchemy(value: bytes) -> Iterator[bytes]:
    """In a URL of SQLAlchemy, whose passwords keep spaces and `+`."""
    if b" " in value or b"+" in value:
        yield restored(through(_URL, value), b" +", _URL)


def jdbc(value: bytes) -> Iterator[bytes]:
    r"""In a `.properties` file of Java: `\:`, `\=`, `\ `; JDBC's own URLs are quoted like any URL."""
    if value.translate(None, b" !#:=\\") != value:
        yield through(_PROPERTIES, value)


SOURCE_QUOTINGS: tuple[Callable[[bytes], Iterable[bytes]], ...] = (
    sql, placeholders, libpq, quoted_string, odbc, ado_net, sqlalchemy, jdbc,
)  # fmt: skip
