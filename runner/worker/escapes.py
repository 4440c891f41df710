"""Escapes that stand for single bytes: tables of them, and values written through a table. Pure."""

import re
from collections.abc import Mapping
from typing import NamedTuple

ALNUM = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
#: What no URL has to escape (RFC 3986, 2.3).
UNRESERVED = ALNUM + b"-._~"

#: Different bytes to escape from which on it is quicker to look at each byte of a value.
_MANY = 24


class Table(NamedTuple):
    """How single bytes are escaped."""

    entries: tuple[bytes, ...]  # what each of the 256 is written as
    unchanged: bytes  # those that stay
    clashing: frozenset[int]  # those that other escapes are made of


def through(table: Table, value: bytes) -> bytes:
    """`value` with every byte as the table has it."""
    special = value.translate(None, table.unchanged)
    if not special:
        return value
    codes = set(special)
    if len(codes) > _MANY:
        return b"".join(map(table.entries.__getitem__, value))
    # The same, several times as fast. What escapes are made of has to go first, and in one step.
    clashing = bytes(codes & table.clashing)
    if len(clashing) > 1:
        value = re.sub(b"[%s]" % re.escape(clashing), lambda found: table.entries[found[0][0]], value)
    elif clashing:
        value = value.replace(clashing, table.entries[clashing[0]])
    for code in codes - table.clashing:
        value = value.replace(bytes((code,)), table.entries[code])
    return value


def restored(escaped: bytes, kept: bytes, table: Table) -> bytes:
    """`escaped` with these bytes as they were."""
    for code in kept:
        escaped = escaped.replace(table.entries[code], bytes((code,)))
    return escaped


def table_of(changed: Mapping[int, bytes]) -> Table:
    """A table of what does not stand for itself."""
    entries = tuple(changed.get(code, bytes((code,))) for code in range(256))
    unchanged = bytes(code for code in range(256) if code not in changed)
    used = {byte for code, escape in changed.items() for byte in escape if byte != code}
    return Table(entries, unchanged, frozenset(used & changed.keys()))


def in_front(codes: bytes) -> Table:
    r"""A table that puts `\` in front of each of these."""
    return table_of({code: b"\\" + bytes((code,)) for code in codes})


def doubled(value: bytes, mark: bytes) -> bytes:
    """`value` with every `mark` twice."""
    return value.replace(mark, mark * 2)


def numbered(pattern: str, *, kept: bytes) -> Table:
    """A table that writes all but the kept ones by their number, as `%%%02X`."""
    return table_of({code: (pattern % code).encode() for code in range(256) if code not in kept})
