"""Canaries, random values that must not be found again, and the searcher that looks for them.

Promises that a canary is found as it is, in base64 at any offset, in hexadecimal, quoted for a URL, in UTF-16
and escaped for JSON, whole or by its random part alone, and each of these once more inside JSON. Knows nothing of
the product's own list of encodings. Refuses to decompress: what is compressed must be read in another way.
"""

import base64
import contextlib
import itertools
import json
import os
import random
import re
import string
import urllib.parse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
import sqlalchemy
from ahocorasick_rs import BytesAhoCorasick, Implementation

from runner import chunks

#: What is looked into: a name for people, and the bytes that are there.
Place = tuple[str, bytes]

#: Letters and digits of a random part; 142 bits, so that nothing is found by chance.
CORE = 24
_ALNUM = string.ascii_letters + string.digits
_random = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Canary:
    """A value, and the random parts of it of which each alone would be a leak."""

    name: str
    value: bytes = field(repr=False)
    cores: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Hit:
    """A canary found, as which form and where."""

    canary: str
    form: str
    place: str


def text(name: str) -> Canary:
    """A password of quotes, percent signs, markup, backslashes and Unicode around random letters."""
    core = new_core()
    return Canary(name, b'it\'s "100%" ' + core + " <ü€𝄞> & C:\\n/+?={{x}}".encode(), (core,))


def plain(name: str) -> Canary:
    """Random letters and digits only."""
    core = new_core()
    return Canary(name, core, (core,))


def lines(name: str) -> Canary:
    """Three lines, as a private key has them."""
    cores = tuple(new_core() for _ in range(3))
    return Canary(name, b"-----BEGIN KEY-----\n%s\r\n%s\n%s\n-----END KEY-----\n" % cores, cores)


def binary(name: str) -> Canary:
    """Bytes that no text holds, NUL among them."""
    core = bytes(_random.randrange(128, 256) for _ in range(CORE))
    return Canary(name, b"\0\xff\xfe" + core + b"\x00\x80\n", (core,))


def new_core() -> bytes:
    """A random part, with a letter at its edges so that no encoding shortens it."""
    return "".join(_random.choices(_ALNUM, k=CORE)).encode()


def forms(part: bytes) -> Iterator[tuple[str, bytes]]:
    """The shapes of `part`, each with its name."""
    yield "raw", part
    yield "hex", part.hex().encode()
    yield "HEX", part.hex().upper().encode()
    for lead in range(3):
        encoded = base64.b64encode(bytes(lead) + part)
        # Six bits a character: those that hold a bit of a neighbour are left out.
        inner = encoded[(0, 2, 3)[lead] : (lead + len(part)) * 8 // 6]
        yield f"base64 at {lead}", inner
        yield f"base64url at {lead}", inner.translate(bytes.maketrans(b"+/", b"-_"))
    quoted = urllib.parse.quote_from_bytes(part, safe="")
    yield "URL", quoted.encode()
    yield "URL in lower case", re.sub("%..", lambda found: found[0].lower(), quoted).encode()
    yield "form", urllib.parse.quote_plus(part).encode()
    yield "repr", repr(part)[2:-1].encode()
    try:
        readable = part.decode()
    except UnicodeDecodeError:
        return
    yield "UTF-16 LE", readable.encode("utf-16-le")
    yield "UTF-16 BE", readable.encode("utf-16-be")
    yield "repr", repr(readable)[1:-1].encode()


def escaped(shape: bytes) -> Iterator[bytes]:
    """A shape, and where it is text, as it stands in JSON."""
    yield shape
    with contextlib.suppress(UnicodeDecodeError):
        for ascii_only in (True, False):
            yield json.dumps(shape.decode(), ensure_ascii=ascii_only)[1:-1].encode()


class Searcher:
    """Looks for all shapes of some canaries at once."""

    def __init__(self, canaries: Iterable[Canary]) -> None:
        needles: dict[bytes, tuple[str, str]] = {}
        for canary in canaries:
            for part in (canary.value, *canary.cores):
                for form, shape in forms(part):
                    for needle in escaped(shape):
                        needles.setdefault(needle, (canary.name, form))
        self._labels = list(needles.values())
        self._automaton = BytesAhoCorasick(list(needles), implementation=Implementation.ContiguousNFA)

    def look(self, places: Iterable[Place]) -> set[Hit]:
        """What is found; nothing, where nothing leaked."""
        return {
            Hit(*self._labels[index], place)
            for place, content in places
            for index in {found[0] for found in self._automaton.find_matches_as_indexes(content, overlapping=True)}
        }


def files(*folders: Path) -> Iterator[Place]:
    """Every file below the folders, with its name and its content; one that is gone meanwhile is left out."""
    for folder in folders:
        for path in _below(folder):
            yield f"the name {path}", os.fsencode(path)
            if path.is_file() and not path.is_symlink():
                try:
                    content = path.read_bytes()
                except FileNotFoundError:
                    continue
                yield str(path), content
                yield f"the text of {path}", text_of(content)


def _below(folder: Path) -> list[Path]:
    """Whatever is in a folder; unlike `Path.rglob`, os.walk passes over a folder that goes meanwhile."""
    found = os.walk(folder)
    return sorted(Path(parent) / name for parent, folders, names in found for name in (*folders, *names))


def text_of(content: bytes) -> bytes:
    """What the chunks of a stored log say; nothing for other files."""
    text, place = b"", 0
    while (header := chunks.header_of(content[place : place + chunks.HEADER_SIZE])) is not None:
        runs = chunks.unpack(header, content[place : place + header.size])
        assert runs is not None, "a log of a session that ended in order is whole"
        text += b"".join(run.data for run in runs)
        place += header.size
    return text


def rows(database_url: str) -> Iterator[Place]:
    """Every cell of every table, as the database gives it, whatever way it stores or compresses it."""
    engine = sqlalchemy.create_engine(database_url)
    try:
        tables = sqlalchemy.MetaData()
        tables.reflect(engine)
        with engine.connect() as connection:
            for table in tables.tables.values():
                for row in connection.execute(sqlalchemy.select(table)):
                    for column, cell in row._mapping.items():
                        yield f"{table.name}.{column}", cell if isinstance(cell, bytes) else _as_bytes(cell)
    finally:
        engine.dispose()


def _as_bytes(cell: object) -> bytes:
    return cell.encode(errors="surrogateescape") if isinstance(cell, str) else repr(cell).encode()


def keys(client: "redis.Redis") -> Iterator[Place]:
    """Every key of the broker with all it holds."""
    readers: dict[bytes | str, Any] = {
        b"string": lambda key: [client.get(key)],
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
        b"hash": lambda key: itertools.chain.from_iterable(client.hgetall(key).items()),
        b"zset": lambda key: client.zrange(key, 0, -1),
    }
    for key in client.scan_iter():
        yield f"the key {key!r}", key
        for content in readers[client.type(key)](key):
            yield f"the key {key!r}", content


def memory(pid: int) -> Iterator[Place]:
    """The writable memory of a process, as proc(5) `mem` shows it to whoever may trace it."""
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as mem:
        for line in maps:
            area, rights, *rest = line.split()
            if rights.startswith("rw") and rest[-1] not in {"[vvar]", "[vsyscall]"}:
                start, end = (int(address, 16) for address in area.split("-"))
                mem.seek(start)
                yield f"memory of {pid} at {area}", mem.read(end - start)
