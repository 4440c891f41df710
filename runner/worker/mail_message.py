"""From the bytes of a message to what a bot gets: its head as JSON, and its attachments with names that do no harm.

Promises that every message becomes something: what is broken (a date, an encoding, the nesting of its parts) is listed
in `defects`, and a message that cannot be taken apart is handed over whole, as an attachment. Only the attachments that
the definition wants are kept; those that are too large or too many are listed in `skipped`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.utils import getaddresses, parsedate_to_datetime
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from imap_tools.message import MailAttachment, MailMessage

from runner.mail_definition import Attachments
from runner.worker.file_names import distinct, safe_name

#: Parts of a message that are looked at; mail that people send has a few dozen.
MAX_PARTS = 2000

#: Headers of a message that are handed over, and characters of one.
MAX_HEADERS, MAX_HEADER = 500, 10_000

#: The name of a message that cannot be taken apart.
_WHOLE = "message.eml"

#: What the library raises for input that nobody foresaw.
_BROKEN = (MessageError, ValueError, LookupError, TypeError, AttributeError, IndexError, AssertionError, RecursionError)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Attachment:
    """One file of a message; `name` is safe and unique in its message, `original` is what the sender wrote."""

    name: str
    original: str
    kind: str
    content_id: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Parsed:
    """A message, taken apart; `head` is JSON without the attachments' bytes."""

    head: dict[str, Any] = field(repr=False)
    attachments: tuple[Attachment, ...]
    wanted: bool


def parse(content: bytes, *, wanted: Attachments) -> Parsed:
    """Take a message apart. `Parsed.wanted` is false where the definition requires an attachment that it lacks."""
    defects: list[str] = []
    try:
        mail = MailMessage.from_bytes(content)
        parts = list(_leaves(mail.obj, defects))
    except _BROKEN as error:
        defects.append(f"The message could not be taken apart ({type(error).__name__}).")
        whole = Attachment(_WHOLE, _WHOLE, "message/rfc822", "", content)
        head = {**_empty_head(), "size": len(content), "attachments": [_listed(whole)], "defects": defects}
        return Parsed(head, (whole,), wanted=True)
    kept, skipped, matched = _attachments(parts, wanted, defects)
    head = _head(mail, parts, defects)
    listed = [
        {
            "name": one.name,
            "original": one.original,
            "type": one.kind,
            "size": len(one.content),
            "content_id": one.content_id,
        }
        for one in kept
    ]
    head.update(size=len(content), attachments=listed, skipped=skipped, defects=list(dict.fromkeys(defects)))
    return Parsed(head, tuple(kept), wanted=matched or not wanted.required)


def _leaves(message: Message, defects: list[str]) -> Iterator[Message]:
    """The parts that hold something, in order; a message inside a message is one part."""
    waiting, seen = [message], 0
    while waiting:
        part = waiting.pop()
        seen += 1
        if seen > MAX_PARTS:
            defects.append(f"The message has more than {MAX_PARTS:,} parts; the others were left out.")
            return
        defects.extend(type(one).__name__ for one in part.defects)
        payload = part.get_payload()
        if part.get_content_maintype() == "multipart" and isinstance(payload, list):
            waiting.extend(one for one in reversed(payload) if isinstance(one, Message))
        else:
            yield part


def _attachments(
    parts: list[Message], wanted: Attachments, defects: list[str]
) -> tuple[list[Attachment], list[dict[str, Any]], bool]:
    kept: list[Attachment] = []
    skipped: list[dict[str, Any]] = []
    matched = False
    for part in (one for one in parts if _is_attachment(one)):
        found = MailAttachment(part)
        original = _tried("", defects, getattr, found, "filename")[:1000]
        kind = _tried("application/octet-stream", defects, part.get_content_type)
        name = safe_name(original, default="message.eml" if kind == "message/rfc822" else "attachment")
        if not any(fnmatchcase(name.casefold(), pattern.casefold()) for pattern in wanted.patterns):
            continue
        matched = True
        content = _tried(b"", defects, getattr, found, "payload")
        problem = _problem(content, len(kept), wanted)
        if problem:
            skipped.append({"name": name, "original": original, "type": kind, "size": len(content), "why": problem})
        else:
            content_id = _tried("", defects, getattr, found, "content_id")[:1000]
            kept.append(Attachment(name, original, kind, content_id, content))
    names = distinct(one.name for one in kept)
    named = [
        Attachment(name, one.original, one.kind, one.content_id, one.content)
        for name, one in zip(names, kept, strict=True)
    ]
    return named, skipped, matched


def _problem(content: bytes, count: int, wanted: Attachments) -> str | None:
    if len(content) > wanted.max_size:
        return f"larger than {wanted.max_size:,} bytes"
    return f"more than {wanted.max_count} attachments" if count >= wanted.max_count else None


def _is_attachment(part: Message) -> bool:
    with contextlib.suppress(*_BROKEN):
        if part.get_filename() is not None or part.get_content_disposition() == "attachment":
            return True
        return part.get_content_maintype() != "text"
    return True


def _head(mail: MailMessage, parts: list[Message], defects: list[str]) -> dict[str, Any]:
    message = mail.obj
    return {
        "message_id": _text(message, "Message-ID", defects),
        "from": _people(message, "From", defects)[:1],
        "to": _people(message, "To", defects),
        "cc": _people(message, "Cc", defects),
        "reply_to": _people(message, "Reply-To", defects),
        "subject": _text(message, "Subject", defects),
        "date": _date(message, defects),
        "text": _body(parts, "text/plain", defects),
        "html": _body(parts, "text/html", defects),
        "headers": _headers(message, defects),
    }


def _listed(one: Attachment) -> dict[str, Any]:
    return {
        "name": one.name,
        "original": one.original,
        "type": one.kind,
        "size": len(one.content),
        "content_id": one.content_id,
    }


def _empty_head() -> dict[str, Any]:
    people: list[Any] = []
    head: dict[str, Any] = dict.fromkeys(("message_id", "subject", "text", "html"), "")
    return {
        **head, "date": None, "headers": {}, "skipped": [],
        "from": people, "to": people, "cc": people, "reply_to": people,
    }  # fmt: skip


def _text(message: Message, name: str, defects: list[str]) -> str:
    return _tried("", defects, _header, message, name)


def _header(message: Message, name: str) -> str:
    return _decoded(message.get(name, ""))


def _decoded(value: object) -> str:
    text = str(value)
    with contextlib.suppress(*_BROKEN):
        text = str(make_header(decode_header(text)))
    return _clean("".join(text.splitlines()))[:MAX_HEADER]


def _people(message: Message, name: str, defects: list[str]) -> list[dict[str, str]]:
    nobody: list[tuple[str, str]] = []
    found = _tried(nobody, defects, getaddresses, [str(one) for one in message.get_all(name, [])])
    return [{"name": _decoded(one), "address": _clean(address)} for one, address in found if one or address]


def _date(message: Message, defects: list[str]) -> str | None:
    written = str(message.get("Date", "")).strip()
    if not written:
        return None
    try:
        found = parsedate_to_datetime(written)
        return (found.replace(tzinfo=UTC) if found.tzinfo is None else found).isoformat()
    except (*_BROKEN, OverflowError):
        defects.append("The date cannot be read.")
        return None


def _body(parts: list[Message], kind: str, defects: list[str]) -> str:
    found = [one for one in parts if not _is_attachment(one) and one.get_content_type() == kind]
    return "".join(_tried("", defects, _content, one, defects) for one in found)


def _content(part: Message, defects: list[str]) -> str:
    raw = part.get_payload(decode=True)
    if not isinstance(raw, bytes):
        return ""
    charset = part.get_content_charset() or "utf-8"
    try:
        return _clean(raw.decode(charset))
    except (LookupError, ValueError):
        defects.append("A text is not in the encoding that it names.")
        return _clean(raw.decode("utf-8", "replace"))


def _headers(message: Message, defects: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    items = message.items()
    if len(items) > MAX_HEADERS:
        defects.append(f"The message has more than {MAX_HEADERS} headers; the others were left out.")
    for name, value in items[:MAX_HEADERS]:
        found.setdefault(_clean(str(name)).lower()[:200], []).append(_decoded(value))
    return found


def _clean(text: str) -> str:
    """Text that can be written as UTF-8: halves of surrogate pairs become question marks."""
    return text.encode("utf-8", "replace").decode()


def _tried(otherwise: T, defects: list[str], read: Callable[..., Any], *arguments: object) -> T:
    try:
        found: T = read(*arguments)
    except _BROKEN as error:
        defects.append(f"A part could not be read ({type(error).__name__}).")
        return otherwise
    return found
