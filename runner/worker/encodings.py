"""The shapes in which a value turns up in a log: one small function per way of writing it down.

Promises: `forms` returns every shape of a value that the masker must hide: the value itself, the encodings
of `TEXT_ENCODERS` and `BINARY_ENCODERS`, the lines of a value that has several, and the parts of a JSON or
PEM value. Quoted shapes come without their surrounding quotes, so that they are found inside a longer quoted
text too. Pure: no input or output.
Refuses: values that `vault.grading.too_weak` calls too weak (no forms at all); and shapes that only the bot
itself knows, such as encryption, compression, reversal or other text between the characters.

ASCII white space around a value is never part of a form: it is nothing to hide, and a form that began with a line
break would hold back every line of a log. `runner.worker.parts` says which lines and parts count.
"""

import codecs
import json
import re
from binascii import b2a_base64
from collections.abc import Callable, Iterable, Iterator
from itertools import count, pairwise
from typing import TypeAlias

from runner.worker.escapes import ALNUM, UNRESERVED, in_front, numbered, table_of, through
from runner.worker.markup import markup_escaped
from runner.worker.parts import as_bytes, as_text, composed, leaves, lines
from runner.worker.substitution import substituted
from vault.grading import too_weak

Encoder: TypeAlias = Callable[[bytes], Iterable[bytes]]

#: A longer form is masked in pieces, whose masks merge: no stream has to hold back more than twice this.
PIECE = 512
#: Nothing here writes a byte as more than eight, so the forms of a value of this size need no pieces.
_SHORT = 2 * PIECE // 8
#: A larger value (in bytes) is a file, not a password: it is masked in the encodings that files are printed in, and
#: its lines and parts as they are. One of 1 MiB would otherwise cost 640,000 forms and half a minute at each start.
LARGE = 16 * 1024

_JSON_PLAIN = bytes(code for code in range(0x20, 0x7F) if code not in b"\"\\/<>&'`+")
_MASK_RUN = re.compile(rb"\*{3,}")
_ascii_json = json.JSONEncoder().encode
_native_json = json.JSONEncoder(ensure_ascii=False).encode
# Looked up now: a codec's first use reads a file, and what is said of a lack of descriptors is masked, too.
_little_endian, _big_endian = (codecs.lookup(name).encode for name in ("utf-16-le", "utf-16-be"))


def forms(*values: bytes) -> set[bytes]:
    """Everything that has to disappear from a log for `values` to stay hidden; nothing for a weak value.

    No form is longer than `2 * PIECE`; a longer one comes as pieces that follow one another without a gap.
    Many values at once cost a third of what they cost one by one.
    """
    return forms_of([value for value in map(bytes.strip, values) if not too_weak(value)])


def forms_of(values: Iterable[bytes]) -> set[bytes]:
    """As `forms`, of values none of which is weak, without white space around them."""
    found: set[bytes] = set()
    parts: list[bytes] = []
    texts: list[bytes] = []
    for value in values:
        if len(value) > LARGE:
            found |= _large(value)
            continue
        if value.isalnum():  # nothing that writes text changes it
            parts.append(value)
            found.add(value)
            continue
        if not composed(value):
            parts.append(value)
            texts.append(value)
            continue
        ours = (value, *leaves(value))
        parts += ours
        texts += [text for part in ours for text in (part, *lines(part))]
    for encoder in BINARY_ENCODERS:
        found.update(*map(encoder, parts))
    if texts:
        found.update(*map(raw, texts), *map(_written, _alike(texts)))
    if completed := list(filter(_can_be_completed, texts)):
        ways = (*map(raw, completed), *map(utf16, completed), *map(_written, _alike(completed)))
        found.update(_cores(set().union(*ways)))
    return found if max(map(len, parts), default=0) <= _SHORT else _in_pieces(found)


def _alike(texts: list[bytes]) -> Iterator[list[bytes]]:
    """Those that an encoder may change, ASCII and others: what the latter need, the former would pay for."""
    changing = [text for text in texts if text.translate(None, ALNUM)]
    yield [text for text in changing if text.isascii()]
    yield [text for text in changing if not text.isascii()]


def _written(texts: list[bytes]) -> set[bytes]:
    """The texts as every text encoder writes them, which sees them joined."""
    if not texts:
        return set()
    joined = b"".join(texts)
    # Letters and digits that no encoder changes and no escape holds, and that overlap nothing but themselves.
    mark = next(mark for mark in map(b"ZqJ%dX".__mod__, count()) if mark not in joined)
    joined = mark.join(texts)
    shapes = {shape for encoder in TEXT_ENCODERS for shape in encoder(joined)} - {joined}
    return {text for shape in shapes for text in shape.split(mark)}


def _large(value: bytes) -> set[bytes]:
    found = {form for encoder in LARGE_ENCODERS for form in encoder(value)}
    try:
        value.decode()
    except UnicodeDecodeError:
        return _in_pieces(found)
    found.update(json_escaped(value))
    found.update(lines(value))
    found.update(form for leaf in leaves(value) for form in (leaf, *base64(leaf)))
    found.update(_cores(found))
    return _in_pieces(found)


def raw(value: bytes) -> Iterator[bytes]:
    """As it is, with the other line ends, and as readers and writers show it that replace what they cannot."""
    yield value
    if b"\n" in value:
        unix = value.replace(b"\r\n", b"\n")
        yield unix
        yield unix.replace(b"\n", b"\r\n")
    if not value.isascii():
        text = as_text(value)
        yield text.encode(errors="backslashreplace")  # Python's own stderr
        yield text.encode("ascii", "backslashreplace")
        replaced = value.decode(errors="replace")
        if not too_weak(replaced.replace("\ufffd", "").encode()):
            yield replaced.encode()


def json_escaped(value: bytes) -> Iterator[bytes]:
    r"""In a JSON string: ASCII only or not, `\/`, safe for HTML (`\u003c`), as .NET has it; again in JSON or `repr`."""
    if not value.translate(None, _JSON_PLAIN):
        return
    text = as_text(value)
    strict = _ascii_json(text)[1:-1]
    for escaped in {strict, _native_json(text)[1:-1]}:
        safe = escaped.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
        yield as_bytes(escaped)
        yield as_bytes(escaped.replace("/", "\\/"))
        yield as_bytes(safe)
        yield as_bytes(safe.replace("'", "\\u0027"))
        if "\\" in escaped:
            yield as_bytes(re.sub(r"\\u[0-9a-f]{4}", _upper_digits, escaped))
            yield as_bytes(_native_json(escaped)[1:-1])
            yield as_bytes(repr('"' + escaped)[2:-1])
            yield as_bytes(repr('"' + escaped)[2:-1].replace("\\'", "'"))
    strictest = re.sub(r"\\u[0-9a-f]{4}", _upper_digits, strict).replace('\\"', "\\u0022")
    yield as_bytes(re.sub("[&'+<>`\x7f]", lambda found: f"\\u{ord(found[0]):04X}", strictest))


def url_quoted(value: bytes) -> Iterator[bytes]:
    """In a URL or a form: as Python, browsers and Java quote it, both cases, `+` and `%20`, and twice."""
    special = value.translate(None, UNRESERVED)
    if not special:
        return
    for escapes in _URL_ESCAPES if special.translate(None, _SAME_IN_BOTH) else _URL_ESCAPES[:1]:
        yield from {through(kept, value) for kept in escapes}
        plus = through(escapes[0], value).replace(b"%20", b"+")
        yield plus
        # application/x-www-form-urlencoded of the URL standard, which keeps `*` and has line ends of its own
        form = plus.replace(escapes[0].entries[ord("*")], b"*").replace(b"~", b"%7E")
        yield form
        carriage, feed = (escapes[0].entries[code] for code in b"\r\n")
        yield form.replace(carriage + feed, feed).replace(feed, carriage + feed)
    yield through(_URL_ESCAPES[0][0], value).replace(b"%", b"%25")


def shell_quoted(value: bytes) -> Iterator[bytes]:
    r"""In a shell: single quotes broken by `'"'"'` or `'\''`, double quotes, a backslash each, and `$'…'`."""
    if not value.translate(None, UNRESERVED):
        return
    if b"'" in value:
        yield value.replace(b"'", b"'\"'\"'")
        yield value.replace(b"'", b"'\\''")
    for escapes in (_DOUBLE_QUOTED, _BACKSLASHED, _ANSI_C):
        yield through(escapes, value)


def python_quoted(value: bytes) -> Iterator[bytes]:
    """In `repr` and `ascii` of text and of bytes, inside either quotes, in a `repr` of a `repr`, and in JSON of one."""
    if not value.translate(None, _JSON_PLAIN):
        return
    text = as_text(value)
    # A double quote in front makes repr choose single quotes and escape those inside.
    for quoted in {repr('"' + text)[2:-1], ascii('"' + text)[2:-1], repr(b'"' + value)[3:-1]}:
        for either in (quoted, quoted.replace("\\'", "'")):
            yield as_bytes(either)
            yield as_bytes(_ascii_json(either)[1:-1])
            yield as_bytes(_native_json(either)[1:-1])
        yield as_bytes(repr('"' + quoted)[2:-1])


def hexadecimal(value: bytes) -> tuple[bytes, ...]:
    """As hexadecimal digits in both cases, and in the lines of 60 that `xxd -p` prints."""
    digits = value.hex().encode()
    return (digits, digits.upper()) if len(digits) <= 60 else (digits, digits.upper(), _wrapped(digits, 60))


def base64(value: bytes) -> list[bytes]:
    """As base64 and base64url, at any of the three offsets in a longer text, and in lines of 64 or 76.

    Of the characters at the edges those count that depend on nothing but the value; a value that ends the
    text counts with its end.
    """
    size = len(value)
    found: list[bytes] = []
    for lead, first in _LEADS:
        ending = b2a_base64(lead + value)[first:-1]
        # Six bits a character: one that holds a bit of what surrounds the value is left out.
        inner = ending[: (len(lead) + size) * 8 // 6 - first]
        found += (inner, ending)
        if b"+" in ending or b"/" in ending:
            found += (inner.translate(_URL_SAFE), ending.translate(_URL_SAFE))
        if size > 48 and first == 0:
            for columns, line_end in ((64, b"\n"), (76, b"\n"), (64, b"\r\n"), (76, b"\r\n")):
                found.append(_wrapped(ending, columns, line_end))
                found.append(_wrapped(inner, columns, line_end))  # a file ends with a line break more than the value
    return found


def utf16(value: bytes) -> tuple[bytes, ...]:
    """As UTF-16 of either byte order; for ASCII one form without the outermost zero byte is both."""
    text = as_text(value)
    encoded, _ = _little_endian(text, "surrogatepass")
    return (encoded[:-1],) if value.isascii() else (encoded, _big_endian(text, "surrogatepass")[0])


#: What a person or a library writes readable text as; the lines of a value get only these. Each writes a character
#: by itself, whatever is beside it.
TEXT_ENCODERS: tuple[Encoder, ...] = (
    json_escaped, url_quoted, markup_escaped, shell_quoted, python_quoted, substituted,
)  # fmt: skip

#: What makes any bytes printable, or text unreadable.
BINARY_ENCODERS: tuple[Encoder, ...] = (hexadecimal, base64, utf16)
LARGE_ENCODERS: tuple[Encoder, ...] = (raw, hexadecimal, base64)


def _in_pieces(found: set[bytes]) -> set[bytes]:
    if max(map(len, found)) < 2 * PIECE:
        return found
    long = {form for form in found if len(form) >= 2 * PIECE}
    pieces = found - long
    for form in long:
        cuts = [*range(0, len(form) - PIECE, PIECE), len(form)]
        pieces.update(form[start:end] for start, end in pairwise(cuts))
    return pieces


def _can_be_completed(form: bytes) -> bool:
    """Whether a mask beside a part of `form` could spell all of it: `abc*`, `abc***def`."""
    return form[:1] == b"*" or form[-1:] == b"*" or b"***" in form


def _cores(found: set[bytes]) -> list[bytes]:
    """For each form that a mask could complete the part that it cannot.

    That part being masked wherever it is, `***` beside the rest never spells the form.
    """
    completed = filter(_can_be_completed, found)
    cores = [max((part.strip(b"*") for part in _MASK_RUN.split(form)), key=len) for form in completed]
    return [core for core in cores if not too_weak(core)]


def _wrapped(encoded: bytes, columns: int, line_end: bytes = b"\n") -> bytes:
    rest = encoded[columns:]
    if len(rest) <= columns:  # two lines, as most values have
        return encoded[:columns] + line_end + rest if rest else encoded
    return line_end.join(encoded[start : start + columns] for start in range(0, len(encoded), columns))


def _upper_digits(escape: re.Match[str]) -> str:
    return "\\u" + escape[0][2:].upper()


#: What is kept beside letters, digits and `-._~`: nothing; what urllib keeps; encodeURIComponent; and requests, which
#: mends a whole URL of which the value is a part.
_URL_KEPT = (b"", b"/", b"!*'()", b"!#$&'()*+,/:;=?@[]")
_URL_ESCAPES = tuple(
    tuple(numbered(case, kept=UNRESERVED + kept) for kept in _URL_KEPT) for case in ("%%%02X", "%%%02x")
)
_SAME_IN_BOTH = bytes(code for code in range(256) if f"{code:x}".isdecimal())
_DOUBLE_QUOTED = in_front(b'\\"$`')
_BACKSLASHED = in_front(b" !\"#$&'()*,;<>?[\\]^`{|}")
_ANSI_C = table_of({0x27: b"\\'", 0x5C: b"\\\\", 0x0A: b"\\n", 0x0D: b"\\r", 0x09: b"\\t"})
_URL_SAFE = bytes.maketrans(b"+/", b"-_")

# Bytes before the value, and the first base64 character that holds none of their bits.
_LEADS = ((b"", 0), (b"\0", 2), (b"\0\0", 3))
