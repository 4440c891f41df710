"""Messages of a mailbox, one after another, through the job's endpoint.

    for message in botkeep.source("inbox").messages():
        print(message.subject, [attachment.path for attachment in message.attachments])

Promises that the runner gives each message to this bot once, until a job of it succeeds with it; that the next message
is asked for when the loop comes to it, so that one that was never reached stays for another job; and that attachments
are files in the folder of the job, under names that do no harm.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from http.client import HTTPResponse
    from pathlib import Path
    from typing import Any

#: Bytes of an attachment that are in memory at once.
_CHUNK = 65_536


class Attachment:
    """One file of a message. `original` is the name that the sender wrote: show it, and do not use it as a path."""

    __slots__ = ("content_id", "name", "original", "path", "size", "type")

    def __init__(self, said: dict[str, Any], path: Path) -> None:
        """`said` is what the runner tells of it."""
        self.name: str = said["name"]
        self.original: str = said["original"]
        self.type: str = said["type"]
        self.size: int = said["size"]
        self.content_id: str = said["content_id"]
        self.path = path

    def read(self) -> bytes:
        """Its bytes."""
        return self.path.read_bytes()

    def __repr__(self) -> str:
        """Name and size."""
        return f"<attachment {self.name!r}, {self.size:,} bytes>"


class Person:
    """A sender or recipient."""

    __slots__ = ("address", "name")

    def __init__(self, name: str, address: str) -> None:
        """Either may be empty."""
        self.name, self.address = name, address

    def __str__(self) -> str:
        """The address."""
        return self.address

    def __repr__(self) -> str:
        """Both."""
        return f"<{self.name} {self.address}>"


class Message:
    """A message; texts are decoded, `headers` maps names in lower case to all of their values."""

    __slots__ = (
        "attachments", "cc", "date", "defects", "folder", "headers", "html", "message_id", "reply_to", "sender", "size",
        "skipped", "subject", "text", "to", "uid", "uid_validity",
    )  # fmt: skip

    def __init__(self, said: dict[str, Any], attachments: list[Attachment]) -> None:
        """`said` is what the runner tells of it."""
        from datetime import datetime  # noqa: PLC0415 - most bots never need it

        self.uid: int = said["uid"]
        self.uid_validity: int = said["uid_validity"]
        self.folder: str = said["folder"]
        self.message_id: str = said["message_id"]
        senders = _people(said["from"])
        self.sender: Person = senders[0] if senders else Person("", "")
        self.to = _people(said["to"])
        self.cc = _people(said["cc"])
        self.reply_to = _people(said["reply_to"])
        self.subject: str = said["subject"]
        self.date: datetime | None = said["date"] and datetime.fromisoformat(said["date"])
        self.text: str = said["text"]
        self.html: str = said["html"]
        self.headers: dict[str, list[str]] = said["headers"]
        self.size: int = said["size"]
        #: Attachments that were too large or too many: name, size, and why.
        self.skipped: list[dict[str, Any]] = said["skipped"]
        #: What is not as mail should be, in words.
        self.defects: list[str] = said["defects"]
        self.attachments = attachments

    def __repr__(self) -> str:
        """Number and subject."""
        return f"<message {self.uid}: {self.subject[:60]!r}>"


def messages(source: str, ask: Callable[[], HTTPResponse]) -> Iterator[Message]:
    """The messages that the mailbox has for this bot; `ask` begins the answer that holds the next one.

    Raises:
        UnknownSource, SourceError, EndpointUnreachable: as `botkeep.source(…).ask`.
    """
    while True:
        with ask() as answer:
            message = _read(source, answer)
        if message is None:
            return
        yield message


def _read(source: str, answer: HTTPResponse) -> Message | None:
    import json  # noqa: PLC0415 - most bots never need it
    import tempfile  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    from botkeep.errors import SourceError  # noqa: PLC0415

    line = answer.readline()
    if not line:
        return None
    try:
        said = json.loads(line)
    except ValueError:
        raise SourceError(f"The data source {source} broke off; its runner's log says why.") from None
    folder = Path(tempfile.mkdtemp(prefix="mail-")) if said["attachments"] else None
    found = []
    for one in said["attachments"]:
        assert folder is not None  # noqa: S101
        path = folder / Path(one["name"]).name
        _save(source, answer, path, one["size"])
        found.append(Attachment(one, path))
    return Message(said, found)


def _save(source: str, answer: HTTPResponse, path: Path, size: int) -> None:
    from http.client import HTTPException  # noqa: PLC0415 - loaded already

    from botkeep.errors import SourceError  # noqa: PLC0415

    left = size
    with path.open("xb") as file:
        while left:
            try:
                chunk = answer.read(min(left, _CHUNK))
            except (OSError, HTTPException):
                chunk = b""
            if not chunk:
                raise SourceError(f"The data source {source} broke off within an attachment; run the job again.")
            file.write(chunk)
            left -= len(chunk)


def _people(said: list[dict[str, str]]) -> list[Person]:
    return [Person(one["name"], one["address"]) for one in said]
