"""What a refused data source sends back of what was typed: nothing that may be a password; pure.

Promises to keep whatever certainly holds none. What cannot be read is withheld, since nobody knows what it holds.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping

from runner.connections.reading import read
from runner.errors import RunnerError
from vault import tokens
from vault.errors import VaultError

#: Fields that hold a credential or a connection with one.
CREDENTIALS = ("password", "oauth2_token")
CONNECTION = "connection"

#: What is said where something does not come back.
SENTENCE = "What was typed may hold a password and is not sent back: type it again."

#: Without any of these no dialect has a place for a password.
_PLACES = re.compile(r"[@=:/;]")

#: What a text that cannot be read has where it holds a credential.
_SUSPECT = re.compile(r"@|pass|pwd|token|://", re.IGNORECASE)


def field(name: str, text: str) -> str:
    """A field of a form as it may be sent back; empty for one that may hold a password."""
    return text if _harmless(name, text) else ""


def definition(text: str) -> str:
    """A definition in TOML as it may be sent back; empty where a password may stand in it."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return "" if _SUSPECT.search(text) else text
    return text if all(_harmless(name, value) for name, value in _texts(table)) else ""


def _harmless(name: str, text: str) -> bool:
    try:
        if name in CREDENTIALS:
            return not text or bool(tokens.find(text))
        if name == CONNECTION and _PLACES.search(text):
            read(text)
    except (RunnerError, VaultError):
        return False
    return True


def _texts(table: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for name, value in table.items():
        if isinstance(value, str):
            yield name, value
        elif isinstance(value, dict):
            yield from _texts(value)
