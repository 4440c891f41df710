"""The shapes in which a value turns up in a log: one small function per way of writing it down.

Promises: `forms` returns every shape of a value that the masker must hide: the value itself, the encodings
of `TEXT_ENCODERS` and `BINARY_ENCODERS`, the lines of a value that has several, and the parts of a JSON or
PEM value. Quoted shapes come without their surrounding quotes, so that they are found inside a longer quoted
text too. Pure: no input or output.
Refuses: values that `vault.grading.too_weak` calls too weak (no forms at all); and shapes that only the bot
itself knows, such as encryption, compression, reversal or other text between the characters.

ASCII white space around a value is never part of a form: it is nothing to hide, and a form that began with a line
break would hold back every line of a log. A line, or a part of a JSON value, counts when it has at least
six characters and is not made of plain words only (`vault.grading.dictionary_like`); under a JSON key that
speaks of a password, key or token plain words count too. Keys themselves are never hidden.
"""

import json
import re
from binascii import b2a_base64
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple, TypeAlias

from vault.grading import dictionary_like, too_weak

Encoder: TypeAlias = Callable[[bytes], Iterable[bytes]]


class _Table(NamedTuple):
    """How single bytes are escaped."""

    entries: tuple[bytes, ...]  # what each of the 256 is written as
    unchanged: bytes  # those that stay
    escape: int  # what every escape begins with


#: Shorter lines and parts are too common to be masked for themselves.
SHORTEST_PART = 6

#: A longer form is masked in pieces, whose masks merge: no stream has to hold back more than twice this.
PIECE = 512
#: A larger value (in bytes) is a file, not a password: it is masked in the encodings that files are printed in, and
#: its lines and parts as they are. One of 1 MiB would otherwise cost 640,000 forms and half a minute at each start.
LARGE = 16 * 1024

_ALNUM = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_UNRESERVED = _ALNUM + b"-._~"
_JSON_PLAIN = bytes(code for code in range(0x20, 0x7F) if code not in b"\"\\/<>&'")
_JSON_STARTS = (b"{", b"[", b'"')
_MASK_RUN = re.compile(rb"\*{3,}")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_TELLING = re.compile(
    r"(?:pass|passcode|passphrase|key|pin|.*(?:password|passwd|pwd|secret|token|credential|apikey))s?",
    re.IGNORECASE,
)
_PEM = re.compile(rb"-----BEGIN [^-\r\n]+-----\s(.*?)-----END [^-\r\n]+-----", re.DOTALL)
_ascii_json = json.JSONEncoder().encode
_native_json = json.JSONEncoder(ensure_ascii=False).encode


def forms(value: bytes) -> set[bytes]:
    """Everything that has to disappear from a log for `value` to stay hidden; nothing for a weak value.

    No form is longer than `2 * PIECE`; a longer one comes as pieces that follow one another without a gap.
    """
    whole = value.strip()
    if too_weak(whole):
        return set()
    if len(whole) > LARGE:
        return _large(whole)
    found: set[bytes] = set()
    composed = whole.startswith(_JSON_STARTS) or b"\n" in whole or b"\r" in whole
    for part in (whole, *leaves(whole)) if composed else (whole,):
        for encoder in BINARY_ENCODERS:
            found.update(encoder(part))
        for text in (part, *lines(part)) if composed else (part,):
            for encoder in TEXT_ENCODERS if text.translate(None, _ALNUM) else (raw,):
                found.update(encoder(text))
    if composed or b"*" in whole:
        _mask_apart(found)
    return _in_pieces(found)


def _large(value: bytes) -> set[bytes]:
    found = {form for encoder in LARGE_ENCODERS for form in encoder(value)}
    try:
        value.decode()
    except UnicodeDecodeError:
        return _in_pieces(found)
    found.update(json_escaped(value))
    found.update(lines(value))
    found.update(form for leaf in leaves(value) for form in (leaf, *base64(leaf)))
    _mask_apart(found)
    return _in_pieces(found)


def raw(value: bytes) -> Iterator[bytes]:
    """As it is, with the other line ends, and as a reader shows it that replaces what is not UTF-8."""
    yield value
    if b"\n" in value:
        unix = value.replace(b"\r\n", b"\n")
        yield unix
        yield unix.replace(b"\n", b"\r\n")
    if not value.isascii():
        replaced = value.decode(errors="replace")
        if not too_weak(replaced.replace("\ufffd", "").encode()):
            yield replaced.encode()


def json_escaped(value: bytes) -> Iterator[bytes]:
    r"""In a JSON string: ASCII only or not, `\/`, safe for HTML (`\u003c`), and once more inside JSON."""
    if not value.translate(None, _JSON_PLAIN):
        return
    text = _text(value)
    for escaped in {_ascii_json(text)[1:-1], _native_json(text)[1:-1]}:
        safe = escaped.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
        yield _bytes(escaped)
        yield _bytes(escaped.replace("/", "\\/"))
        yield _bytes(safe)
        yield _bytes(safe.replace("'", "\\u0027"))
        if "\\" in escaped:
            yield _bytes(re.sub(r"\\u[0-9a-f]{4}", _upper_digits, escaped))
            yield _bytes(_native_json(escaped)[1:-1])


def url_quoted(value: bytes) -> Iterator[bytes]:
    """In a URL or a form: as Python, browsers and Java quote it, both cases, `+` and `%20`, and twice."""
    special = value.translate(None, _ALNUM)
    if not special.translate(None, b"-._"):
        return
    for table in (_URL_UPPER, _URL_LOWER) if special.translate(None, _SAME_IN_BOTH) else (_URL_UPPER,):
        quoted = _through(table, value)
        yield quoted
        if b" " in special:
            yield quoted.replace(b"%20", b"+")
        if b"/" in special:  # urllib.parse.quote
            yield _unquoted(quoted, b"/", table)
        if special.translate(None, _COMPONENT) != special:  # encodeURIComponent
            yield _unquoted(quoted, _COMPONENT, table)
        if special.translate(None, _FORM) != special:  # application/x-www-form-urlencoded of the URL standard
            form = _unquoted(quoted, b"*", table).replace(b"%20", b"+").replace(b"~", b"%7E")
            yield form
            carriage, feed = table.entries[0x0D], table.entries[0x0A]
            yield form.replace(carriage + feed, feed).replace(feed, carriage + feed)
    yield _through(_URL_UPPER, value).replace(b"%", b"%25")


def markup_escaped(value: bytes) -> Iterator[bytes]:
    """In XML and HTML: text and attributes as the common libraries write them, non-ASCII also by number."""
    if not value.translate(None, _UNRESERVED):
        return
    escaped = value.replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b">", b"&gt;")
    double = escaped.replace(b'"', b"&quot;")
    shapes = {
        escaped,
        double,
        double.replace(b"\r", b"&#13;").replace(b"\n", b"&#10;").replace(b"\t", b"&#09;"),
        double.replace(b"'", b"&#x27;"),
        double.replace(b"'", b"&#39;"),
        double.replace(b"'", b"&apos;"),
        escaped.replace(b'"', b"&#34;").replace(b"'", b"&#39;"),
    }
    yield from shapes
    if not value.isascii():
        yield from (_text(shape).encode("ascii", "xmlcharrefreplace") for shape in shapes)


def shell_quoted(value: bytes) -> Iterator[bytes]:
    r"""In a shell: single quotes broken by `'"'"'` or `'\''`, double quotes, a backslash each, and `$'…'`."""
    if not value.translate(None, _UNRESERVED):
        return
    if b"'" in value:
        yield value.replace(b"'", b"'\"'\"'")
        yield value.replace(b"'", b"'\\''")
    for table in (_DOUBLE_QUOTED, _BACKSLASHED, _ANSI_C):
        yield _through(table, value)


def python_quoted(value: bytes) -> Iterator[bytes]:
    """In `repr` and `ascii` of text and of bytes, inside either quotes, and in a `repr` of a `repr`."""
    if not value.translate(None, _JSON_PLAIN):
        return
    text = _text(value)
    # A double quote in front makes repr choose single quotes and escape those inside.
    for quoted in {repr('"' + text)[2:-1], ascii('"' + text)[2:-1], repr(b'"' + value)[3:-1]}:
        yield _bytes(quoted)
        yield _bytes(quoted.replace("\\'", "'"))
        yield _bytes(repr('"' + quoted)[2:-1])


def substituted(value: bytes) -> Iterator[bytes]:
    r"""In what a data source sends: quotes, `]`, `}` or `%` doubled (SQL, ADO.NET, ODBC), or `\` in front."""
    if value.translate(None, b"'\"]}%\\") == value:
        return
    for doubled in (b"'", b'"', b"]", b"}", b"%"):
        if doubled in value:
            yield value.replace(doubled, doubled * 2)
    slashed = value.replace(b"\\", b"\\\\")
    yield slashed.replace(b"'", b"\\'")
    yield slashed.replace(b'"', b'\\"')


def hexadecimal(value: bytes) -> Iterator[bytes]:
    """As hexadecimal digits in both cases, and in the lines of 60 that `xxd -p` prints."""
    digits = value.hex().encode()
    yield digits
    yield digits.upper()
    if len(digits) > 60:
        yield _wrapped(digits, 60)


def base64(value: bytes) -> Iterator[bytes]:
    """As base64 and base64url, at any of the three offsets in a longer text, and in lines of 64 or 76.

    Of the characters at the edges those count that depend on nothing but the value; a value that ends the
    text counts with its end.
    """
    size = len(value)
    for lead, first in _LEADS:
        encoded = b2a_base64(lead + value, newline=False)
        # Six bits a character: one that holds a bit of what surrounds the value is left out.
        inner, ending = encoded[first : (len(lead) + size) * 8 // 6], encoded[first:]
        yield inner
        yield ending
        if b"+" in ending or b"/" in ending:
            yield inner.translate(_URL_SAFE)
            yield ending.translate(_URL_SAFE)
        if size > 48 and first == 0:
            for columns in (64, 76):
                yield _wrapped(encoded, columns)
                yield _wrapped(inner, columns)  # a file ends with a line break more than the value


def utf16(value: bytes) -> Iterator[bytes]:
    """As UTF-16 of either byte order; for ASCII one form without the outermost zero byte is both."""
    encoded = _text(value).encode("utf-16-le", "surrogatepass")
    if value.isascii():
        yield encoded[:-1]
    else:
        yield encoded
        yield _text(value).encode("utf-16-be", "surrogatepass")


#: What a person or a library writes readable text as; the lines of a value get only these.
TEXT_ENCODERS: tuple[Encoder, ...] = (
    raw, json_escaped, url_quoted, markup_escaped, shell_quoted, python_quoted, substituted,
)  # fmt: skip

#: What makes any bytes printable, or text unreadable.
BINARY_ENCODERS: tuple[Encoder, ...] = (hexadecimal, base64, utf16)
LARGE_ENCODERS: tuple[Encoder, ...] = (raw, hexadecimal, base64)


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
            part = _bytes(leaf).strip()
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
        return json.loads(_text(value), parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return None


def _meaningful(part: bytes, *, plain_words: bool = False) -> bool:
    text = _text(part)
    return len(text) >= SHORTEST_PART and not too_weak(part) and (plain_words or not dictionary_like(text))


def _in_pieces(found: set[bytes]) -> set[bytes]:
    if max(map(len, found)) < 2 * PIECE:
        return found
    long = {form for form in found if len(form) >= 2 * PIECE}
    pieces = found - long
    for form in long:
        cuts = [*range(0, len(form) - PIECE, PIECE), len(form)]
        pieces.update(form[start:end] for start, end in pairwise(cuts))
    return pieces


def _mask_apart(found: set[bytes]) -> None:
    """Adds, for each form that a mask could complete (`abc*`, `abc***def`), the part that it cannot.

    That part being masked wherever it is, `***` beside the rest never spells the form.
    """
    for form in [form for form in found if b"*" in form]:
        core = max((part.strip(b"*") for part in _MASK_RUN.split(form)), key=len)
        if not too_weak(core):
            found.add(core)


def _wrapped(encoded: bytes, columns: int) -> bytes:
    return b"\n".join(encoded[start : start + columns] for start in range(0, len(encoded), columns))


def _upper_digits(escape: re.Match[str]) -> str:
    return "\\u" + escape[0][2:].upper()


def _text(value: bytes) -> str:
    # What Python itself reads from an environment variable, a file name or an argument.
    return value.decode(errors="surrogateescape")


def _bytes(text: str) -> bytes:
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:  # a lone surrogate that JSON spelled out
        return text.encode(errors="replace")


def _through(table: _Table, value: bytes) -> bytes:
    special = value.translate(None, table.unchanged)
    if len(special) > 8:
        return b"".join(map(table.entries.__getitem__, value))
    # The same, four times as fast for ordinary values; what begins the escapes has to go first.
    for code in sorted(set(special), key=table.escape.__ne__):
        value = value.replace(bytes((code,)), table.entries[code])
    return value


def _unquoted(quoted: bytes, kept: bytes, table: _Table) -> bytes:
    for code in kept:
        quoted = quoted.replace(table.entries[code], bytes((code,)))
    return quoted


def _table(escape: bytes, changed: dict[int, bytes]) -> _Table:
    entries = tuple(changed.get(code, bytes((code,))) for code in range(256))
    return _Table(entries, bytes(set(range(256)) - set(changed)), escape[0])


def _url_table(pattern: str) -> _Table:
    return _table(b"%", {code: (pattern % code).encode() for code in range(256) if code not in _UNRESERVED})


def _backslashed(codes: bytes) -> _Table:
    return _table(b"\\", {code: b"\\" + bytes((code,)) for code in codes})


_URL_UPPER, _URL_LOWER = _url_table("%%%02X"), _url_table("%%%02x")
_SAME_IN_BOTH = bytes(code for code in range(256) if f"{code:x}".isdecimal())
_COMPONENT, _FORM = b"!*'()", b"* ~\n"
_DOUBLE_QUOTED = _backslashed(b'\\"$`')
_BACKSLASHED = _backslashed(b" !\"#$&'()*,;<>?[\\]^`{|}")
_ANSI_C = _table(b"\\", {0x27: b"\\'", 0x5C: b"\\\\", 0x0A: b"\\n", 0x0D: b"\\r", 0x09: b"\\t"})
_URL_SAFE = bytes.maketrans(b"+/", b"-_")

# Bytes before the value, and the first base64 character that holds none of their bits.
_LEADS = ((b"", 0), (b"\0", 2), (b"\0\0", 3))
