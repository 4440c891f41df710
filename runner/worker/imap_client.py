"""the connection below a mailbox: one address, inside TLS, and what proves who is at either end.

Promises that the certificate is checked, for the name of the host, whatever address was connected to; that users,
passwords and tokens are sent as data (SASL) and never as part of a command; and that no answer is read into memory
which is longer than anything we asked for. There is no option to leave out a check.
"""

from __future__ import annotations

import imaplib
import re
import socket
import ssl
from pathlib import Path

from imap_tools.utils import quote

from runner.worker.failures import SourceFailed, Step

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Client(imaplib.IMAP4):
    """A connection to one address, whose certificate must name the host."""

    def __init__(
        self, host: str, port: int, *, address: str, context: ssl.SSLContext | None, limit: int, timeout: float
    ) -> None:
        self._address, self._context, self._limit = address, context, limit
        super().__init__(host, port, timeout)

    def _create_socket(self, timeout: float) -> socket.socket:
        plain = socket.create_connection((self._address, self.port), timeout)
        if self._context is None:
            return plain
        try:
            return self._context.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise

    def read(self, size: int) -> bytes:
        """The literal that the server announced, unless it is larger than anything we asked for."""
        if size > self._limit:
            raise self.abort(f"an answer of {size:,} bytes is longer than the largest message")
        return super().read(size)


def tls_context(ca: str | None) -> ssl.SSLContext:
    """Trust in the host's CAs, or in the private one alone that `ca` names: PEM text, or a file.

    Raises:
        SourceFailed: when there is no certificate there.
    """
    try:
        if ca is None:
            context = ssl.create_default_context()
        elif "-----BEGIN" in ca:
            context = ssl.create_default_context(cadata=ca)
        else:
            context = ssl.create_default_context(cafile=str(Path(ca)))
    except (OSError, ValueError):
        raise SourceFailed(
            Step.TLS,
            "the field 'ca' is neither the text of a certificate (PEM) nor a file of one on this runner",
            field="ca",
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def plain(user: str, password: str) -> bytes:
    """RFC 4616; any character but NUL can be sent."""
    _refuse("user", user, "\0")
    _refuse("password", password, "\0")
    return f"\0{user}\0{password}".encode()


def xoauth2(user: str, token: str) -> bytes:
    """Google's and Microsoft's XOAUTH2, whose parts end with ^A (developers.google.com, "OAuth 2.0 Mechanism")."""
    for field, text in (("user", user), ("oauth2_token", token)):
        if _CONTROL.search(text):
            raise SourceFailed(
                Step.AUTHENTICATED, f"the field {field!r} holds a control character or a line break", field=field
            )
    return f"user={user}\1auth=Bearer {token}\1\1".encode()


def _refuse(field: str, text: str, character: str) -> None:
    if character in text:
        raise SourceFailed(
            Step.AUTHENTICATED, f"the field {field!r} holds a NUL character, which no mail server takes", field=field
        )


def login_words(user: str, password: str) -> tuple[str, str]:
    """The arguments of LOGIN, for servers without SASL PLAIN: quoted strings, which hold plain ASCII only.

    Raises:
        SourceFailed: for any other text, naming its field.
    """
    for field, text in (("user", user), ("password", password)):
        if not text.isascii() or _CONTROL.search(text):
            raise SourceFailed(
                Step.AUTHENTICATED,
                f"the field {field!r} holds characters that this server cannot take: it offers LOGIN only, "
                "which has ASCII without control characters",
                field=field,
            )
    return str(quote(user)), str(quote(password))
