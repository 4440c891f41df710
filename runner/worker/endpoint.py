"""The job's endpoint: what a running bot may ask, on one loopback listener per worker.

Each attempt has its own random token, valid until the attempt ends, and reaches only its own assets. A refusal
is a 4xx at once. The attempt's masker knows every value that can be asked for here, before it is answered.

    GET  /v1/assets                 names that the bot may see, one per line
    GET  /v1/assets/GROUP/NAME      the value, as bytes; 404 unknown, 409 unset
    POST /v1/masks                  the body is masked from now on; 422 too weak, 413 too large, 429 too many
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from runner.worker.requested import LARGEST, TooMuch
from vault.decrypt import Secret
from vault.errors import VaultError
from vault.names import AssetName

#: Addresses that a request may name as its host; anything else is another site's page or a rebinding.
_HOST = "127.0.0.1"

#: Seconds that a bot may take to send a request, so that a stalled one holds no thread for long.
_REQUEST_TIMEOUT = 10

#: Bytes of a body that are read although it is refused, so that the answer arrives.
_MOST_READ = 1 << 20


@dataclass(frozen=True, slots=True)
class Grant:
    """What one attempt may read: the assets of its own snapshot, whose values its masker knows."""

    names: tuple[AssetName, ...]
    read: Callable[[AssetName], Secret | None]
    #: Masks a value that the bot names; false for one too weak. Raises `TooMuch`.
    mask: Callable[[bytes], bool]


class Endpoint:
    """The listener and the tokens that are valid now."""

    def __init__(self) -> None:
        self._grants: dict[str, Grant] = {}
        self._lock = threading.Lock()
        self._server = _Server((_HOST, 0), _Request)
        self._server.grant_of = self.grant_of
        self._thread = threading.Thread(target=self._server.serve_forever, name="endpoint", daemon=True)

    @property
    def url(self) -> str:
        """The address that bots are told."""
        return f"http://{_HOST}:{self._server.server_port}"

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def admit(self, grant: Grant) -> str:
        """A new token for an attempt; only its hash is kept here."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._grants[_hashed(token)] = grant
        return token

    def revoke(self, token: str) -> None:
        """End a token; what it could read is forgotten."""
        with self._lock:
            self._grants.pop(_hashed(token), None)

    def grant_of(self, token: str) -> Grant | None:
        """What a token may read, `None` when it is not valid."""
        with self._lock:
            return self._grants.get(_hashed(token))


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    grant_of: Callable[[str], Grant | None]

    def handle_error(self, request: object, client_address: object) -> None:
        """A bot that hangs up is no event; nothing of its request reaches a log."""


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _REQUEST_TIMEOUT
    server: _Server

    def do_GET(self) -> None:
        """Answer one question of a bot."""
        grant = self._admitted()
        if grant is None:
            return
        match self.path.split("/"):
            case ["", "v1", "assets"]:
                self._answer(200, "\n".join(str(name) for name in grant.names).encode())
            case ["", "v1", "assets", group, name]:
                self._value(grant, group, name)
            case _:
                self._answer(404, b"There is no such address; see GET /v1/assets.")

    def do_POST(self) -> None:
        """Take one value that the bot names."""
        length = self.headers.get("Content-Length", "")
        size = int(length) if length.isdecimal() and len(length) < 10 else -1
        # Read whatever the answer is: a connection that is closed with something unread loses the answer.
        value = self.rfile.read(min(size, _MOST_READ)) if size > 0 else b""
        if size != len(value):
            self.close_connection = True
        grant = self._admitted()
        if grant is None:
            return
        if self.path != "/v1/masks":
            self._answer(404, b"There is no such address; see POST /v1/masks.")
        elif size < 0:
            self._answer(411, b"The request does not say how long the value is.")
        elif size > LARGEST:
            self._answer(413, f"A value to mask has at most {LARGEST:,} bytes; name the part that matters.".encode())
        elif size == len(value):
            self._mask(grant, value)

    def _mask(self, grant: Grant, value: bytes) -> None:
        try:
            masked = grant.mask(value)
        except TooMuch as error:
            self._answer(429, str(error).encode())
            return
        if masked:
            self._answer(200, b"It is masked from now on.")
        else:
            self._answer(422, b"The value is too short to be masked in the log; the job carries a warning.")

    def _admitted(self) -> Grant | None:
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        host = self.headers.get("Host", "").partition(":")[0]
        grant = self.server.grant_of(token) if kind == "Bearer" and host in {_HOST, "localhost"} else None
        if grant is None:
            self._answer(401, b"This token is not valid; it ends with its job's attempt.")
        return grant

    def _value(self, grant: Grant, group: str, name: str) -> None:
        try:
            asset = AssetName(group, name)
            if asset not in grant.names:
                self._answer(404, f"This bot sees no asset {asset}.".encode())
                return
            secret = grant.read(asset)
        except VaultError as error:
            self._answer(409, str(error).encode())
            return
        if secret is None:
            self._answer(409, f"{asset} has no value in this environment.".encode())
        else:
            self._answer(200, secret.reveal(), kind="application/octet-stream")

    def _answer(self, status: int, body: bytes, *, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Requests are not logged: the readings are in the database."""
