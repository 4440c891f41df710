"""The parts of a value that turn up by themselves: lines, leaves of JSON, bodies of PEM. Pure.

A line, or a part of a JSON value, counts when it has at least six characters and is not made of plain words only
(`vault.grading.dictionary_like`); under a JSON key that speaks of a password, key or token plain words count too.
Keys themselves never count.
"""

import json
import re
from collections.abc import Iterator

from vault.grading import dictionary_like, too_weak

#: Shorter lines and parts are too common to be masked for themselves.
SHORTEST_PART = 6

_JSON_STARTS = (b"{", b"[", b'"')
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_TELLING = re.compile(
    r"(?:pass|passcode|passphrase|key|pin|.*(?:password|passwd|pwd|secret|token|credential|apikey))s?",
    re.IGNORECASE,
)
_PEM = re.compile(rb"-----BEGIN [^-\r\n]+-----\s(.*?)-----END [^-\r\n]+-----", re.DOTALL)


def composed(value: bytes) -> bool:
    """Whether `value` may have parts: it has several lines, or begins like JSON."""
    return value.startswith(_JSON_STARTS) or b"\n" in value or b"\r" in value


def lines(value: bytes) -> Iterator[bytes]:
    """The meaningful lines of a value that has several; none of a JSON value, whose leaves say more."""
    if (b"\n" not in value and b"\r" not in value) or _parsed(value) is not None:
        return
    for line in map(bytes.strip, value.splitlines()):
        if not line.startswith(b"-----") and _meaningful(line):
            yield line


def leaves(value: bytes) -> Iterator[bytes]:
    """The parts of a JSON value that need hiding by themselves, and each body of a PEM value on one line."""
    document = _parsed(value)
    if document is not None:
        for leaf, telling in _strings(document):
            part = as_bytes(leaf).strip()
            if _meaningful(part, plain_words=telling):
                yield part
                yield from leaves(part)
    elif b"-----BEGIN" in value:
        for body in _PEM.findall(value):
            joined = b"".join(line.strip() for line in body.splitlines() if b":" not in line)
            if _meaningful(joined):
                yield joined


def _strings(document: object) -> Iterator[tuple[str, bool]]:
    """Every text and number in `document`, and whether the key it stands under is a telling one."""
    pending = [(document, False)]
    while pending:
        node, telling = pending.pop()
        if isinstance(node, str):
            yield node, telling
        elif isinstance(node, list):
            pending += [(item, telling) for item in node]
        elif isinstance(node, dict):
            pending += [(item, _is_telling(key)) for key, item in node.items()]


def _is_telling(key: str) -> bool:
    return any(_TELLING.fullmatch(word) for word in re.split(r"[\W_\d]+", _CAMEL.sub("_", key)))


def _parsed(value: bytes) -> object:
    """The JSON object, list or text that `value` is, its numbers as text; or None."""
    if not value.startswith(_JSON_STARTS):
        return None
    try:
        return json.loads(as_text(value), parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return None


def _meaningful(part: bytes, *, plain_words: bool = False) -> bool:
    text = as_text(part)
    return len(text) >= SHORTEST_PART and not too_weak(part) and (plain_words or not dictionary_like(text))


def as_text(value: bytes) -> str:
    """A value as Python itself reads it from an environment variable, a file name or an argument."""
    return value.decode(errors="surrogateescape")


def as_bytes(text: str) -> bytes:
    """The bytes of `as_text` again; a lone surrogate that JSON spelled out becomes `?`."""
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return text.encode(errors="replace")
