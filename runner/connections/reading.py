"""From a connection as it was written to its parts with references in them: the one way in; pure.

A reference is one character of its own while a dialect is parsed (a private one, which no definition may hold), so that
it cannot end a value, open a quote or become a key, and comes back in the part where it stood. A reference that stood
in quotes is not quoted twice: the quotes are the dialect's, and went when it was read.
"""

from __future__ import annotations

import re

from runner.connections import adonet, jdbc, libpq, odbc, url
from runner.connections.parsed import Connection, ConnectionInvalid, Dialect, System
from vault import tokens
from vault.tokens import Reference

#: The first of the private characters (Unicode's second private plane) that stand for references.
_FIRST, _LAST = 0xF0000, 0xFFFFD

#: Parts of a connection that must not be written out.
CONFIDENTIAL = ("password",)

_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)

WRITERS = {
    Dialect.URL: url.write,
    Dialect.LIBPQ: libpq.write,
    Dialect.ADONET: adonet.write,
    Dialect.ODBC: odbc.write,
    Dialect.JDBC: jdbc.write,
}


def read(text: str, *, system: System | None = None) -> Connection:
    """The parts of a connection, references as they were written.

    `system` says which one an ADO.NET string is for, where it is not SQL Server.

    Raises:
        ConnectionInvalid: for what cannot be read, a reference outside of a value, a password that is written out.
        InvalidToken: for text that begins a reference and is none.
    """
    references = tokens.find(text)
    marked = mark(text, references)
    try:
        parsed = parse(marked, system=system)
    except ConnectionInvalid:
        raise
    except (ValueError, TypeError):
        raise ConnectionInvalid("The connection cannot be read.") from None
    found = unmark(parsed, references)
    _check(found, references)
    return found


def parse(text: str, *, system: System | None = None) -> Connection:
    """The parts of a real connection string, in which braces mean what the dialect says.

    Raises:
        ConnectionInvalid: for what cannot be read.
    """
    dialect = dialect_of(text)
    if dialect is Dialect.ADONET:
        return adonet.parse(text, system or System.SQLSERVER)
    found = {Dialect.JDBC: jdbc.parse, Dialect.URL: url.parse, Dialect.ODBC: odbc.parse, Dialect.LIBPQ: libpq.parse}[
        dialect
    ](text)
    if system is not None and system is not found.system:
        raise ConnectionInvalid(
            f"The connection is one of {found.system}, and `system` says {system}: remove `system`."
        )
    return found


def dialect_of(text: str) -> Dialect:
    """How a connection is written."""
    if text.startswith("jdbc:"):
        return Dialect.JDBC
    if url.SHAPE.fullmatch(text):
        return Dialect.URL
    if odbc.SHAPE.fullmatch(text):
        return Dialect.ODBC
    return Dialect.LIBPQ if libpq.SHAPE.fullmatch(text) else Dialect.ADONET


def write(connection: Connection) -> str:
    """A connection in its own dialect.

    Raises:
        Unwritable: where the dialect cannot carry what a part holds.
    """
    return WRITERS[connection.dialect](connection)


def mark(text: str, references: tuple[Reference, ...]) -> str:
    """The text with each reference as one private character."""
    if any(_FIRST <= ord(letter) <= _LAST for letter in text):
        raise ConnectionInvalid("The connection holds a private character of Unicode; remove it.")
    whole = len(references) == 1 and text.strip() == references[0].text
    if whole or text.startswith(("secret://", "roboto-secret://")):
        raise ConnectionInvalid("Write the connection in its parts, with {{ASSET.GROUP.NAME}} where a value belongs.")
    for place, reference in enumerate(references):
        text = text.replace(reference.text, chr(_FIRST + place))
    return text


def unmark(connection: Connection, references: tuple[Reference, ...]) -> Connection:
    """The parts with the references as they were written."""
    texts = {chr(_FIRST + place): reference.text for place, reference in enumerate(references)}
    marks = re.compile("[\U000f0000-\U000ffffd]")
    return connection.filled(lambda _name, text: marks.sub(lambda match: texts[match[0]], text))


def _check(connection: Connection, references: tuple[Reference, ...]) -> None:
    parts = list(connection.parts())
    seen = {reference for _, text in parts for reference in tokens.find(text)}
    if seen != set(references):
        raise ConnectionInvalid(
            "The connection holds a reference where no value stands, or one in other characters: write "
            "{{ASSET.GROUP.NAME}} as the value of a key, or inside of it."
        )
    if connection.system is not System.SQLITE and not connection.hosts:
        raise ConnectionInvalid("The connection names no host.")
    for _, port in connection.hosts:
        if port and not tokens.find(port) and not (_PORT.fullmatch(port) and 0 < int(port) < 65536):
            # Not quoted: a password stands here where the @ behind it was forgotten.
            raise ConnectionInvalid("The connection's port is no number from 1 to 65535, and no reference.")
    if connection.password and not tokens.find(connection.password):
        raise ConnectionInvalid(
            "The connection holds a password itself, which would be stored as it is: save it with `botkeep asset set` "
            "and write {{ASSET.GROUP.NAME}} here."
        )
