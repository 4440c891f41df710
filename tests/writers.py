"""What a bot calls to write a value down: the masker's encoders once more, written without looking at them."""

import base64
import html
import json
import shlex
import urllib.parse
from collections.abc import Callable
from html.entities import codepoint2name


def by_number(text: str, pattern: str, *, keep: str = "") -> bytes:
    """Every character but ASCII letters, digits and `keep` as a character reference."""
    return "".join(
        each if each.isascii() and (each.isalnum() or each in keep) else pattern % ord(each) for each in text
    ).encode()


def by_name(text: str) -> bytes:
    """HTML with every character by its name that has one, and the rest by number."""
    return "".join(
        f"&{codepoint2name[ord(each)]};"
        if ord(each) in codepoint2name
        else each
        if each.isascii()
        else f"&#{ord(each)};"
        for each in text
    ).encode()


WRITERS: dict[str, Callable[[str], bytes]] = {
    "raw": str.encode,
    "json": lambda text: json.dumps(text).encode(),
    "json in json": lambda text: json.dumps(json.dumps(text)).encode(),
    "json, not ASCII": lambda text: json.dumps(text, ensure_ascii=False).encode(),
    "json in a list": lambda text: json.dumps({"k": [text, 1]}, indent=2).encode(),
    "json in a repr": lambda text: repr({"body": json.dumps(text)}).encode(),
    "json, slashes": lambda text: json.dumps(text).replace("/", "\\/").encode(),
    "url": lambda text: urllib.parse.quote(text).encode(),
    "url, all": lambda text: urllib.parse.quote(text, safe="").encode(),
    "url, plus": lambda text: urllib.parse.quote_plus(text).encode(),
    "url, twice": lambda text: urllib.parse.quote(urllib.parse.quote(text, safe=""), safe="").encode(),
    "url, lower": lambda text: "".join(
        each if each.isascii() and (each.isalnum() or each in "-._~") else each.encode().hex("%").join(("%", ""))
        for each in text
    ).encode(),
    "url, whole": lambda text: urllib.parse.quote(text, safe="!#$&'()*+,/:;=?@[]~").encode(),
    "form": lambda text: urllib.parse.urlencode({"k": text}).encode(),
    "html": lambda text: html.escape(text).encode(),
    "html by name": by_name,
    "html, decimal": lambda text: by_number(text, "&#%d;", keep="-._~"),
    "html, hexadecimal": lambda text: by_number(text, "&#x%x;", keep="-._~"),
    "html, HEXADECIMAL": lambda text: by_number(text, "&#x%X;", keep="-._~"),
    "xml text": lambda text: html.escape(text, quote=False).encode(),
    "xml, ASCII": lambda text: html.escape(text, quote=False).encode("ascii", "xmlcharrefreplace"),
    "shell": lambda text: shlex.quote(text).encode(),
    "repr": lambda text: repr(text).encode(),
    "ascii": lambda text: ascii(text).encode(),
    "repr of bytes": lambda text: repr(text.encode()).encode(),
    "repr in a container": lambda text: repr({"k": (text,)}).encode(),
    "repr in json": lambda text: json.dumps(repr({"k": text})).encode(),
    "exception": lambda text: repr(ValueError(text)).encode(),
    "sql": lambda text: text.replace("'", "''").encode(),
    "csv": lambda text: text.replace('"', '""').encode(),
    "percent": lambda text: text.replace("%", "%%").encode(),
    "libpq": lambda text: text.replace("\\", "\\\\").replace("'", "\\'").encode(),
    "odbc": lambda text: text.replace("}", "}}").encode(),
    "imap": lambda text: text.replace("\\", "\\\\").replace('"', '\\"').encode(),
    "sqlalchemy": lambda text: urllib.parse.quote(text, safe=" +").encode(),
    "hex": lambda text: text.encode().hex().encode(),
    "hex, upper": lambda text: text.encode().hex().upper().encode(),
    "base64": lambda text: base64.b64encode(text.encode()),
    "base64, 1 on": lambda text: base64.b64encode(b"\xa5" + text.encode() + b"\xa5"),
    "base64, 2 on": lambda text: base64.b64encode(b"\xa5\x5a" + text.encode()),
    "base64 in lines": lambda text: base64.encodebytes(text.encode()),
    "base64 in mail": lambda text: base64.encodebytes(text.encode()).replace(b"\n", b"\r\n"),
    "base64url": lambda text: base64.urlsafe_b64encode(text.encode()),
    "base64url, 1 on": lambda text: base64.urlsafe_b64encode(b"\xff" + text.encode()),
    "utf-16, little": lambda text: text.encode("utf-16-le"),
    "utf-16, big": lambda text: text.encode("utf-16-be"),
}  # fmt: skip
