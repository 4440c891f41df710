"""The job's endpoint: what a running bot may ask, on one loopback listener per worker.

Each attempt has its own random token, valid until the attempt ends, and reaches only its own assets. A refusal
is a 4xx at once. The attempt's masker knows every value that can be asked for here, before it is answered.

    GET  /v1/assets                   names that the bot may see, one per line
    GET  /v1/assets/GROUP/NAME        the value, as bytes; 404 unknown, 409 unset
    POST /v1/masks                    the body is masked from now on; 422 too weak, 413 too large, 429 too many
    GET  /v1/sources                  names of the data sources that the bot may use, one per line
    GET  /v1/sources/NAME?OPTIONS     what the source gives, in chunks; 404 unknown, 409 busy, 422 a question that makes
                                      no sense, 502 the source failed
    GET, POST /v1/sources/NAME/WHAT   what else a kind of source can be asked
    PUT  /v1/results/KEY              a result, as JSON
    POST /v1/work-items               a new work item, as JSON
    POST /v1/work-items/reservation   the next item of a tray; 204 none waits
    PUT  /v1/work-items/ID/completion how it went, or …/failure

An answer of a source goes to the bot as it is read: a bot that does not read lets the source wait.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from runner.errors import Conflict, Invalid, NotFound, RunnerError
from runner.logging import logger
from runner.worker.failures import SourceFailed
from runner.worker.questions import Asked, Question, Reply
from runner.worker.requested import LARGEST, TooMuch
from vault.decrypt import Secret
from vault.errors import VaultError
from vault.names import AssetName

#: Addresses that a request may name as its host; anything else is another site's page or a rebinding.
_HOST = "127.0.0.1"

#: Connections at the same time: of one attempt, and of all; each costs a thread. Beyond the second the oldest one that
#: has not said its token yet is closed, so that nobody keeps the others out by being silent.
OF_ONE, OF_ALL = 16, 256

_TOO_LONG = "At most {:,} bytes are taken here; write what is longer into a file."

#: The largest result or work item, in bytes; what it may hold is less, and said by whoever stores it.
_MOST_SAID = 512 * 1024

#: Seconds that a bot may take to send a request, so that a stalled one holds no thread for long.
_REQUEST_TIMEOUT = 10

#: Bytes of a body that are read, and of the largest question to a source.
_MOST_READ = 1 << 20

_log = logger()


@dataclass(frozen=True, slots=True)
class Grant:
    """What one attempt may read: the assets of its own snapshot, whose values its masker knows."""

    names: tuple[AssetName, ...]
    read: Callable[[AssetName], Secret | None]
    #: Masks a value that the bot names; false for one too weak. Raises `TooMuch`.
    mask: Callable[[bytes], bool]
    sources: Asked | None = None
    #: Takes what the bot says: method, path in parts, body; answers a status and a body.
    take: Callable[[str, tuple[str, ...], bytes], tuple[int, bytes]] | None = None


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
        token = secrets.token_hex(32)  # letters and digits have the fewest forms to be masked
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
    request_queue_size = 128
    grant_of: Callable[[str], Grant | None]

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._lock = threading.Lock()
        #: Connections that have not said a token, the oldest first, and the tokens (hashed) of those that have.
        self._silent: dict[socket.socket, None] = {}
        self._known: dict[socket.socket, str] = {}

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as the library has it
        """Take a connection, in the place of the oldest silent one where there are too many."""
        with self._lock:
            if len(self._silent) + len(self._known) >= OF_ALL and self._silent:
                oldest = next(iter(self._silent))
                del self._silent[oldest]
                with contextlib.suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)
            self._silent[request] = None
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 - as the library has it
        """Forget a connection that ends."""
        with self._lock:
            self._silent.pop(request, None)
            self._known.pop(request, None)
        super().shutdown_request(request)

    def admits(self, request: socket.socket, token: str) -> bool:
        """Whether a connection with this valid token is one of so many that its attempt may have."""
        hashed = _hashed(token)
        with self._lock:
            self._silent.pop(request, None)
            others = sum(known == hashed for one, known in self._known.items() if one is not request)
            if others >= OF_ONE:
                return False
            self._known[request] = hashed
        return True

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
                self._ask(grant, "GET", b"")

    def do_PUT(self) -> None:
        """Take what a bot says."""
        self._take("PUT")

    def do_POST(self) -> None:
        """Take a value that the bot names, what it tells a source, or what it says."""
        self._take("POST")

    def _take(self, method: str) -> None:
        length = self.headers.get("Content-Length", "")
        size = int(length) if length.isdecimal() and len(length) < 10 else -1
        # Read whatever the answer is: a connection that is closed with something unread loses the answer.
        body = self.rfile.read(min(size, _MOST_READ)) if size > 0 else b""
        if size != len(body):
            self.close_connection = True
        grant = self._admitted()
        if grant is None:
            return
        masks, asks = (method, self.path) == ("POST", "/v1/masks"), self.path.startswith("/v1/sources/")
        most = LARGEST if masks else _MOST_READ if asks else _MOST_SAID
        if size < 0:
            self._answer(411, b"The request does not say how long its body is.")
        elif size > most:
            what = "A value to mask has at most {:,} bytes; name the part that matters." if masks else _TOO_LONG
            self._answer(413, what.format(most).encode())
        elif size != len(body):
            return  # the bot went away
        elif masks:
            self._mask(grant, body)
        elif asks and method == "POST":
            self._ask(grant, method, body)
        elif grant.take is None:
            self._answer(404, b"There is no such address; see the documentation of the SDK.")
        else:
            parts = tuple(unquote(part) for part in self.path.split("/")[1:])
            status, answer = grant.take(method, parts, body)
            self._answer(status, answer, kind="application/json" if status < 300 else "text/plain; charset=utf-8")

    def _ask(self, grant: Grant, method: str, body: bytes) -> None:
        parts = urlsplit(self.path)
        path, sources = [unquote(part) for part in parts.path.split("/")], grant.sources
        if sources is None or path[:3] != ["", "v1", "sources"] or len(path) > 5:
            self._answer(404, b"There is no such address; see GET /v1/assets and GET /v1/sources.")
        elif len(path) == 3:
            self._told(lambda: self._answer(200, "\n".join(sources.names()).encode()), sources, "")
        else:
            options = dict(parse_qsl(parts.query, keep_blank_values=True))
            question = Question(method, "".join(path[4:]), options, body)
            self._told(lambda: self._stream(sources, path[3], question), sources, path[3])

    def _told(self, answer: Callable[[], None], sources: Asked, name: str) -> None:
        """Answer, or say why not; nothing may have been sent when an error comes out of `answer`."""
        try:
            answer()
        except NotFound as error:
            self._answer(404, str(error).encode())
        except Conflict as error:
            self._answer(409, str(error).encode())
        except Invalid as error:
            self._answer(422, str(error).encode())
        except SourceFailed as failure:
            self._answer(502, sources.sentence(name, failure).encode())
        except (RunnerError, VaultError) as error:
            self._answer(503, str(error).encode())
        except Exception:
            _log.exception("source.broken", source=name)
            self._answer(500, b"The data source failed inside the runner; its log says more.")

    def _stream(self, sources: Asked, name: str, question: Question) -> None:
        """Give an answer on in chunks (RFC 9112, 7.1); one that breaks off has no last chunk."""
        reply = sources.ask(name, question)
        try:
            first = next(reply.chunks, b"")
            self._begin(reply)
            try:
                self.connection.settimeout(None)  # a bot may take its time, and is paused at times
                self._chunk(first)
                for chunk in reply.chunks:
                    self._chunk(chunk)
                self.wfile.write(b"0\r\n\r\n")
            except SourceFailed as failure:
                self.close_connection = True
                _log.warning("source.broken_off", source=name, error=sources.sentence(name, failure))
            finally:
                self.connection.settimeout(_REQUEST_TIMEOUT)
        except OSError:
            self.close_connection = True
        finally:
            reply.chunks.close()

    def _begin(self, reply: Reply) -> None:
        self.send_response(200)
        self.send_header("Content-Type", reply.kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")  # an answer may break off, and its reader may leave
        self.end_headers()

    def _chunk(self, chunk: bytes) -> None:
        if chunk:
            self.wfile.write(b"%x\r\n" % len(chunk))
            self.wfile.write(chunk)
            self.wfile.write(b"\r\n")

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
        elif not self.server.admits(self.connection, token):
            self.close_connection = True
            self._answer(429, f"This bot has {OF_ONE} connections already; close one.".encode())
            return None
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
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Requests are not logged: the readings are in the database."""
