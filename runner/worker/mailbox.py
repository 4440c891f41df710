"""One connection to a mailbox by IMAP, always inside TLS, for as long as an attempt needs it.

Promises that the connection goes to the address it was given, and the certificate is checked for the host's name there;
that no value can become part of the protocol: it is sent as data (SASL), or refused by its field's name; that nothing
read here changes the mailbox (`EXAMINE`, `BODY.PEEK`); and that no error repeats a value, even where the server does.
Refuses to go on without TLS, and an answer longer than the largest message that the definition takes.
"""

from __future__ import annotations

import contextlib
import email
import hashlib
import imaplib
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Self

from imap_tools.query import AND, Header
from imap_tools.utils import encode_folder

from runner.mail_definition import MailDefinition, Tls
from runner.worker.failures import SourceFailed, Step
from runner.worker.imap_client import (
    Client,
    login_words,
    plain,
    tls_context,
    xoauth2,
)

#: Seconds that a server may be silent.
TIMEOUT = 30.0

#: UIDs in one command, so that its line stays below what servers take (RFC 2683, 3.2.1.5: 8,000 bytes).
_CHUNK = 500

#: Bytes that a server may add to a message: the line before it, and the headers where only those are asked for.
_SLACK = 1 << 20

_UID = re.compile(rb"\bUID (\d{1,10})\b")
_SIZE = re.compile(rb"\bRFC822\.SIZE (\d{1,12})\b")
_RECEIVED = re.compile(rb'INTERNALDATE "([^"]{20,40})"')

#: For a message whose date of receipt the server does not say: it counts as new.
_UNKNOWN = datetime.max.replace(tzinfo=UTC)

Mask = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Listed:
    """What is known of a message before it is fetched; `print` tells it again after the server renumbered."""

    uid: int
    size: int
    print: str
    #: When the server received it.
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Raw:
    """A message as the server has it."""

    uid: int
    content: bytes


class Mailbox:
    """An open connection, logged in; `folder` chooses what the other methods speak of."""

    def __init__(self, definition: MailDefinition, *, address: str, mask: Mask, timeout: float = TIMEOUT) -> None:
        """Connect to `address`, prove the host, and log in.

        `mask` takes the values out of what the server says.

        Raises:
            SourceFailed: saying which field is at fault.
        """
        self._definition = definition
        self._mask = mask
        self.uid_validity = 0
        self._client = self._connect(address, timeout)
        try:
            self._log_in()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """The mailbox itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Say goodbye, and hang up whatever the server answers."""
        with contextlib.suppress(OSError, imaplib.IMAP4.error):
            self._client.logout()
        with contextlib.suppress(OSError, imaplib.IMAP4.error):
            self._client.shutdown()

    def hang_up(self) -> None:
        """End the connection from another thread; whoever reads from it gets an error."""
        with contextlib.suppress(OSError):
            self._client.sock.shutdown(socket.SHUT_RDWR)

    def folder(self, *, writable: bool = False) -> int:
        """Open the definition's folder; answers its UIDVALIDITY, which is new when the server renumbered."""
        name = encode_folder(self._definition.folder)
        with self._speaking("folder"):
            status, data = self._client.select(name, readonly=not writable)  # type: ignore[arg-type]
            if status != "OK":
                raise SourceFailed(
                    Step.FOLDER,
                    f"the folder cannot be opened{self._words(data)}; write its name as the server lists it",
                    field="folder",
                )
            _, found = self._client.response("UIDVALIDITY")
        if not found or not found[0] or not found[0].isdigit():
            raise SourceFailed(
                Step.FOLDER,
                "the server gives the folder no UIDVALIDITY, so messages cannot be told apart",
                field="folder",
            )
        self.uid_validity = int(found[0])
        return self.uid_validity

    def search(self, *, today: date, also: Mapping[str, Any] | None = None) -> list[int]:
        """The UIDs of all messages that match, oldest first; `also` names further criteria in imap-tools' words."""
        return self._searched(_criteria(self._definition, today, also or {}))

    def _searched(self, criteria: str) -> list[int]:
        with self._speaking("search"):
            charset = () if criteria.isascii() else ("CHARSET", "UTF-8")
            status, data = self._client.uid("SEARCH", *charset, criteria.encode())  # type: ignore[arg-type]
            if status != "OK":
                raise SourceFailed(
                    Step.QUERY, f"the server does not take the search{self._words(data)}", field="search"
                )
        return sorted({int(uid) for line in data if line for uid in line.split() if uid.isdigit()})

    def all(self) -> list[int]:
        """The UIDs of all messages in the folder, oldest first."""
        return self._searched("ALL")

    def listed(self, uids: Sequence[int]) -> list[Listed]:
        """Size and print of these messages, those that are gone left out."""
        found: dict[int, Listed] = {}
        parts = "(UID RFC822.SIZE INTERNALDATE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID DATE)])"
        for chunk in _chunks(uids):
            for line, content in self._fetched(",".join(map(str, chunk)), parts):
                uid, size = _UID.search(line), _SIZE.search(line)
                if uid and size:
                    number = int(uid[1])
                    found[number] = Listed(number, int(size[1]), _print(content, int(size[1])), _received(line))
        return [found[uid] for uid in uids if uid in found]

    def fetch(self, uid: int) -> Raw | None:
        """One message, unread if it was unread; `None` when it is gone.

        Raises:
            SourceFailed: when it is larger than the definition takes.
        """
        for line, content in self._fetched(str(uid), "(UID BODY.PEEK[])"):
            found = _UID.search(line)
            if found and int(found[1]) == uid:
                return Raw(uid, content)
        return None

    def mark(self, uids: Sequence[int]) -> None:
        """Do with these messages what the definition says comes after success; those that are gone are passed over.

        Raises:
            SourceFailed: when the server refuses; it may have marked some of them.
        """
        folder = self._definition.move_to
        for chunk in _chunks(uids):
            numbers = ",".join(map(str, chunk))
            if folder is None:
                self._do("mark", "STORE", numbers, "+FLAGS.SILENT", r"(\Seen)")
            else:
                self._move(numbers, encode_folder(folder))

    def _move(self, numbers: str, folder: bytes) -> None:
        if "MOVE" in self._client.capabilities:
            self._do("mark", "MOVE", numbers, folder)
            return
        self._do("mark", "COPY", numbers, folder)
        self._do("mark", "STORE", numbers, "+FLAGS.SILENT", r"(\Deleted)")
        # EXPUNGE alone would remove what others have marked as deleted.
        if "UIDPLUS" in self._client.capabilities:
            self._do("mark", "EXPUNGE", numbers)

    def _do(self, field: str, command: str, *arguments: str | bytes) -> None:
        with self._speaking(field):
            status, data = self._client.uid(command, *arguments)  # type: ignore[arg-type]
        if status != "OK":
            hint = "; make the folder, or correct its name" if command in {"MOVE", "COPY"} else ""
            raise SourceFailed(
                Step.QUERY, f"the server does not mark the message{self._words(data)}{hint}", field=field
            )

    def _fetched(self, uids: str, parts: str) -> Iterator[tuple[bytes, bytes]]:
        """Each message's line with its literal; what follows the literal belongs to the line."""
        with self._speaking("host"):
            status, data = self._client.uid("FETCH", uids, parts)
        if status != "OK":
            raise SourceFailed(Step.QUERY, f"the server does not give the message{self._words(data)}", field="folder")
        for place, item in enumerate(data):
            if isinstance(item, tuple):
                after = data[place + 1] if place + 1 < len(data) else b""
                yield item[0] + b" " + (after if isinstance(after, bytes) else b""), item[1]

    def _connect(self, address: str, timeout: float) -> Client:
        definition = self._definition
        context = tls_context(definition.ca)
        try:
            client = Client(
                definition.host.strip("[]"),
                definition.chosen_port,
                address=address,
                context=context if definition.tls is Tls.IMPLICIT else None,
                limit=definition.max_message + _SLACK,
                timeout=timeout,
            )
        except (OSError, imaplib.IMAP4.error) as error:
            raise self._unconnected(error) from None
        if definition.tls is Tls.STARTTLS:
            try:
                client.starttls(context)
            except (OSError, imaplib.IMAP4.error) as error:
                with contextlib.suppress(OSError):
                    client.shutdown()
                raise self._unconnected(error) from None
        return client

    def _unconnected(self, error: Exception) -> SourceFailed:
        if isinstance(error, ssl.SSLCertVerificationError):
            return SourceFailed(
                Step.TLS,
                f"the server's certificate is not accepted{self._words([error.verify_message.rstrip('.')])}; it must "
                "name the host and come from a known CA: name a private one in the field 'ca'",
                field="ca" if "issuer" in error.verify_message or "self" in error.verify_message else "host",
            )
        if isinstance(error, ssl.SSLError):
            return SourceFailed(
                Step.TLS,
                f"the server does not speak TLS there ({error.reason or 'no handshake'}); check 'port' and 'tls'",
                field="tls",
            )
        if isinstance(error, imaplib.IMAP4.error):
            starttls = self._definition.tls is Tls.STARTTLS
            words = "offers no STARTTLS" if starttls else "does not greet as an IMAP server"
            return SourceFailed(Step.TLS, f"the server {words} on this port; check 'port' and 'tls'", field="tls")
        words = error.strerror if isinstance(error, OSError) and error.strerror else "no answer in time"
        refused = isinstance(error, ConnectionRefusedError)
        return SourceFailed(
            Step.REACHABLE,
            f"the server cannot be reached ({words})",
            field="port" if refused else "host",
            retriable=True,
        )

    def _log_in(self) -> None:
        definition = self._definition
        with self._speaking("user"):
            if definition.oauth2_token is not None:
                self._authenticate("XOAUTH2", xoauth2(definition.user, definition.oauth2_token), field="oauth2_token")
            elif "AUTH=PLAIN" in self._client.capabilities or not self._login_is_offered():
                self._authenticate("PLAIN", plain(definition.user, definition.password or ""), field="password")
            else:
                self._login(definition.user, definition.password or "")
            status, data = self._client.capability()  # others than before the login
        if status == "OK" and data and data[0]:
            self._client.capabilities = tuple(data[0].decode("ascii", "replace").upper().split())

    def _login_is_offered(self) -> bool:
        return "LOGINDISABLED" not in self._client.capabilities

    def _authenticate(self, mechanism: str, answer: bytes, *, field: str) -> None:
        # A second question carries the server's complaint, and wants an empty answer (XOAUTH2) or ends the exchange.
        answers = iter([answer])
        try:
            self._client.authenticate(mechanism, lambda _: next(answers, b""))
        except imaplib.IMAP4.abort:
            raise
        except imaplib.IMAP4.error as error:
            raise self._refused(error, field=field) from None

    def _login(self, user: str, password: str) -> None:
        status, data = self._client._simple_command("LOGIN", *login_words(user, password))  # noqa: SLF001
        if status != "OK":
            raise self._refused(imaplib.IMAP4.error(*data[-1:]), field="password")
        self._client.state = "AUTH"

    def _refused(self, error: Exception, *, field: str) -> SourceFailed:
        if any("UNAVAILABLE" in str(part).upper() for part in error.args):  # RFC 5530, 3
            return SourceFailed(
                Step.AUTHENTICATED, f"the server cannot check it now{self._words(error.args)}", retriable=True
            )
        what = "the user and this token" if field == "oauth2_token" else "this user with this password"
        return SourceFailed(
            Step.AUTHENTICATED,
            f"the server does not accept {what}{self._words(error.args)}; set the asset's value anew",
            field=field,
        )

    @contextlib.contextmanager
    def _speaking(self, field: str) -> Iterator[None]:
        """Turns what the connection raises into our errors; nothing of the command is in them."""
        try:
            yield
        except imaplib.IMAP4.abort as error:
            raise SourceFailed(
                Step.REACHABLE, f"the connection broke off{self._words(error.args)}", field="host", retriable=True
            ) from None
        except imaplib.IMAP4.error as error:
            raise SourceFailed(Step.QUERY, f"the server does not do it{self._words(error.args)}", field=field) from None
        except (OSError, EOFError):
            raise SourceFailed(
                Step.REACHABLE, "the connection broke off, or the server fell silent", field="host", retriable=True
            ) from None

    def _words(self, data: Sequence[object]) -> str:
        """What the server said, masked, as the end of a sentence."""
        texts = [item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in data if item]
        said = " ".join("".join(one if one.isprintable() else " " for one in text) for text in texts).strip()
        masked = self._mask(said)[:200]
        return f" ({masked})" if masked else ""


def _criteria(definition: MailDefinition, today: date, also: Mapping[str, Any]) -> str:
    search = definition.search
    wanted: dict[str, Any] = {
        "from_": definition.sender,
        "subject": definition.subject,
        "body": definition.body,
        "date_gte": definition.since_day(today),
        "seen": search.seen,
        "answered": search.answered,
        "flagged": search.flagged,
        "draft": search.draft,
        "deleted": search.deleted,
        "keyword": search.keyword,
        "no_keyword": search.no_keyword,
        "to": search.to,
        "cc": search.cc,
        "bcc": search.bcc,
        "text": search.text,
        "header": [Header(name, value) for name, value in search.header.items()] or None,
        "date_lt": _day(search.before),
        "sent_date_gte": _day(search.sent_since),
        "sent_date_lt": _day(search.sent_before),
        "size_gt": search.size_gt,
        "size_lt": search.size_lt,
    }
    own = AND(**{"all": True, **{key: value for key, value in wanted.items() if value is not None}})
    return f"{own} {AND(**also)}" if also else str(own)


def _day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


def _print(headers: bytes, size: int) -> str:
    """What tells a message again: a hash of its Message-ID, Date and size."""
    parsed = email.message_from_bytes(headers)
    parts = (str(parsed.get("Message-ID", "")).strip(), str(parsed.get("Date", "")).strip(), str(size))
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def _received(line: bytes) -> datetime:
    found = _RECEIVED.search(line)
    try:
        return datetime.strptime(found[1].decode().strip(), "%d-%b-%Y %H:%M:%S %z") if found else _UNKNOWN
    except ValueError:
        return _UNKNOWN


def _chunks(uids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(uids), _CHUNK):
        yield uids[start : start + _CHUNK]
