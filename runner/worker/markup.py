"""How XML and HTML write a value: characters by name or by number, as the common libraries choose. Pure."""

import re
from collections.abc import Callable, Iterator
from html.entities import codepoint2name

from runner.worker.escapes import UNRESERVED, numbered, through
from runner.worker.parts import as_bytes, as_text

#: What markup libraries escape; the strict ones write whatever is no letter, digit or `-._~` by its number.
_MARKED = b"&<>\"'\t\r\n"
_NUMBERS = ("&#%d;", "&#x%x;", "&#x%X;")
_BEYOND_ASCII = bytes(range(128, 256))
_STRICT = tuple(numbered(each, kept=UNRESERVED + _BEYOND_ASCII) for each in _NUMBERS)
_FIVE = tuple(numbered(each, kept=bytes(range(256)).translate(None, b"&<>\"'")) for each in _NUMBERS)
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


def markup_escaped(value: bytes) -> Iterator[bytes]:
    """In text and attributes: by name, in decimal and in hexadecimal; characters beyond ASCII as they are, too."""
    special = value.translate(None, UNRESERVED)
    if not special:
        return
    shapes = {through(numbers, value) for numbers in _STRICT}
    if special.translate(None, _MARKED) != special:
        shapes |= _marked(value)
    yield from shapes
    if not value.isascii():
        for shape in map(as_text, {value, *shapes}):
            yield from (as_bytes(_NOT_ASCII.sub(reference, shape)) for reference in _REFERENCES)


def _marked(value: bytes) -> set[bytes]:
    text = value.replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b">", b"&gt;")
    attribute = text.replace(b'"', b"&quot;")
    return {
        text,
        attribute,
        attribute.replace(b"\r", b"&#13;").replace(b"\n", b"&#10;").replace(b"\t", b"&#09;"),
        *(attribute.replace(b"'", quote) for quote in (b"&#x27;", b"&#39;", b"&#039;", b"&apos;")),
        text.replace(b'"', b"&#34;").replace(b"'", b"&#39;"),
        *(through(numbers, value) for numbers in _FIVE),
    }


def _named(character: re.Match[str]) -> str:
    name = codepoint2name.get(ord(character[0]))
    return f"&{name};" if name else f"&#{ord(character[0])};"


def _decimal(character: re.Match[str]) -> str:
    return f"&#{ord(character[0])};"


def _lower(character: re.Match[str]) -> str:
    return f"&#x{ord(character[0]):x};"


def _upper(character: re.Match[str]) -> str:
    return f"&#x{ord(character[0]):X};"


_REFERENCES: tuple[Callable[[re.Match[str]], str], ...] = (_named, _decimal, _lower, _upper)
