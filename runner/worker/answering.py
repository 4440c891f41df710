"""How a worker's endpoint answers: one thread a connection, one request after the other.

Promises that a refusal is a 4xx at once and that it never shows a value; that a bot which asks too much stands in its
own way only; and that a request is answered for this machine's own address as its host, from this machine, only.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from runner.errors import Conflict, Invalid, NotFound, RunnerError, Unavailable
from runner.logging import logger
from runner.worker import shapes
from runner.worker.failures import SourceFailed
from runner.worker.grant import Call, Denied, Grant, NotSeen
from runner.worker.questions import Asked, Question, Reply
from runner.worker.requested import LARGEST, TooMuch
from runner.worker.tokens import Admission, Tokens
from vault import errors as vault_errors
from vault.errors import VaultError
from vault.names import AssetName

#: The address that is listened on, and the only one that may ask.
HOST = "127.0.0.1"

#: Connections at the same time: of one attempt, and of all; each costs a thread. Beyond the second the oldest one that
#: has not said its token yet is closed, so that nobody keeps the others out by being silent.
OF_ONE, OF_ALL = 16, 256

_TOO_LONG_TO_MASK = "A value to mask has at most {:,} bytes; name the part that matters."
_TOO_LONG = "At most {:,} bytes are taken here; write what is longer into a file."

#: The largest result or work item, in bytes; what it may hold is less, and said by whoever stores it.
_MOST_SAID = 512 * 1024

#: Seconds that a bot may take to send a request, so that a stalled one holds no thread for long.
_REQUEST_TIMEOUT = 10

#: Bytes of a body that are read: of the largest question to a source, and of the largest value or file.
_MOST_READ, MOST_FILED = 1 << 20, 12 << 20

#: Where the dialects are; see `runner.worker.dialects`.
_COMPAT = "/compat/"

#: The status of each kind of error, the narrower kinds first.
_STATUSES: tuple[tuple[tuple[type[Exception], ...], int], ...] = (
    ((TooMuch,), 429),
    ((Denied,), 403),
    ((NotFound, vault_errors.NotFound), 404),
    ((Conflict, vault_errors.Conflict), 409),
    ((Invalid, vault_errors.Invalid), 422),
    ((Unavailable, vault_errors.Unavailable), 503),
)

_log = logger()


def status_of(error: RunnerError | VaultError) -> int:
    """The status of a refusal: 4xx, but for a store that is away and may be asked again."""
    for kinds, status in _STATUSES:
        if isinstance(error, kinds):
            return status
    return 409


class Server(ThreadingHTTPServer):
    """Takes connections, a bounded number of them."""

    daemon_threads = True
    request_queue_size = 128
    tokens: Tokens

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._lock = threading.Lock()
        #: Connections that have not said a token, the oldest first, and the handles of those that have.
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

    def admits(self, request: socket.socket, handle: str) -> bool:
        """Whether a connection with a valid token is one of so many that its attempt may have."""
        with self._lock:
            self._silent.pop(request, None)
            others = sum(known == handle for one, known in self._known.items() if one is not request)
            if others >= OF_ONE:
                return False
            self._known[request] = handle
        return True

    def handle_error(self, request: object, client_address: object) -> None:
        """A bot that hangs up is no event; nothing of its request reaches a log."""


class Request(BaseHTTPRequestHandler):
    """One connection of a bot."""

    protocol_version = "HTTP/1.1"
    timeout = _REQUEST_TIMEOUT
    server: Server

    def do_GET(self) -> None:
        """Answer one question of a bot."""
        if self.path.startswith(_COMPAT):
            self._take("GET")
            return
        admission = self._admission()
        grant = self._admitted(admission)
        if grant is None:
            return
        match self.path.split("/"):
            case ["", "v1", "assets"]:
                self._answer(200, "\n".join(str(name) for name in grant.names()).encode())
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

    def do_DELETE(self) -> None:
        """Take something away."""
        self._take("DELETE")

    def _take(self, method: str) -> None:
        admission = self._admission()
        # Neither a question nor a removal needs a body.
        length = self.headers.get("Content-Length", "0" if method in {"GET", "DELETE"} else "")
        size = int(length) if length.isdecimal() and len(length) < 10 else -1
        # Read whatever the answer is: a connection that is closed with something unread loses the answer.
        body = self.rfile.read(min(size, _MOST_READ if admission is None else MOST_FILED)) if size > 0 else b""
        if size != len(body):
            self.close_connection = True
        grant = self._admitted(admission)
        if grant is None or admission is None:
            return
        if size < 0:
            self._answer(411, b"The request does not say how long its body is.")
        elif size > (most := self._most(method)):
            self._answer(413, (_TOO_LONG_TO_MASK if most == LARGEST else _TOO_LONG).format(most).encode())
        elif size == len(body):  # else the bot went away
            self._taken(admission, method, body)

    def _most(self, method: str) -> int:
        if self.path.startswith(_COMPAT):
            return MOST_FILED
        if (method, self.path) == ("POST", "/v1/masks"):
            return LARGEST
        return _MOST_READ if self.path.startswith(("/v1/sources/", "/v1/assets/")) else _MOST_SAID

    def _taken(self, admission: Admission, method: str, body: bytes) -> None:
        grant, parts = admission.grant, self.path.split("/")
        if self.path.startswith(_COMPAT):
            self._speak(admission, method, body)
        elif (method, self.path) == ("POST", "/v1/masks"):
            self._mask(grant, body)
        elif method == "POST" and self.path.startswith("/v1/sources/"):
            self._ask(grant, method, body)
        elif method in {"PUT", "DELETE"} and parts[1:3] == ["v1", "assets"] and len(parts) == 5:
            self._write(grant, parts[3], parts[4], body if method == "PUT" else None)
        elif grant.take is None:
            self._answer(404, b"There is no such address; see the documentation of the SDK.")
        else:
            status, answer = grant.take(method, tuple(unquote(part) for part in parts[1:]), body)
            self._answer(status, answer, kind="application/json" if status < 300 else "text/plain; charset=utf-8")

    def _speak(self, admission: Admission, method: str, body: bytes) -> None:
        """Let the dialect answer; whatever it refuses, it refuses in its own words."""
        address = urlsplit(self.path)
        word, *path = (unquote(part) for part in address.path.split("/")[2:])
        call = Call(
            method=method,
            path=tuple(path),
            query=dict(parse_qsl(address.query, keep_blank_values=True)),
            headers=self.headers,  # type: ignore[arg-type]  # a message is a mapping that ignores case
            body=body,
            base=f"http://{HOST}:{self.server.server_port}{_COMPAT}{word}",
            passed=admission.passed,
            issue=lambda what: self.server.tokens.issue(admission.handle, what),
        )
        try:
            said = admission.grant.speakers[word].answer(call)
        except (RunnerError, VaultError) as error:
            said = shapes.refusal(word, status_of(error), str(error))
        except Exception:
            _log.exception("dialect.broken", dialect=word)
            said = shapes.refusal(word, 500, "The runner failed in this; its log says more.")
        self._answer(said.status, said.body, kind=said.kind)

    def _write(self, grant: Grant, group: str, name: str, value: bytes | None) -> None:
        if grant.write is None:
            self._answer(403, b"This bot may write no asset.")
            return
        try:
            grant.write(AssetName(group, name), value, f"{group}.{name}")
        except (RunnerError, VaultError) as error:
            self._answer(status_of(error), str(error).encode())
        else:
            self._answer(204, b"")

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
        except SourceFailed as failure:
            self._answer(502, sources.sentence(name, failure).encode())
        except (RunnerError, VaultError) as error:
            self._answer(status_of(error) if isinstance(error, RunnerError) else 503, str(error).encode())
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

    def _admission(self) -> Admission | None:
        """What the request's token opens where it is used, `None` when it is not valid there or not from here."""
        host = self.headers.get("Host", "").rpartition(":")
        if self.client_address[0] != HOST or (host[0] or host[2]) not in {HOST, "localhost"}:
            return None
        tokens = self.server.tokens
        word = shapes.word_of(self.path)
        dialect = shapes.DIALECTS.get(word, "")
        if word and not dialect:
            return None
        if (given := shapes.pass_of(word, self.path, self.headers)) is not None:  # type: ignore[arg-type]
            return tokens.passed(given, dialect)
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        return tokens.find(token, dialect) if kind == "Bearer" else None

    def _admitted(self, admission: Admission | None) -> Grant | None:
        word = shapes.word_of(self.path)
        if admission is None:
            self._refuse(word, 401, "This token is not valid here; it ends with its job's attempt.")
        elif not self.server.admits(self.connection, admission.handle):
            self.close_connection = True
            self._refuse(word, 429, f"This bot has {OF_ONE} connections already; close one.")
        else:
            return admission.grant
        return None

    def _refuse(self, word: str, status: int, sentence: str) -> None:
        said = shapes.refusal(word, status, sentence)
        self._answer(said.status, said.body, kind=said.kind)

    def _value(self, grant: Grant, group: str, name: str) -> None:
        try:
            asset = AssetName(group, name)
            secret = grant.read(asset)
        except NotSeen as error:
            grant.refused(f"asset {group}.{name}")
            self._answer(404, str(error).encode())
            return
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

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """A method that is none here is the asker's mistake, which the library answers as its own."""
        super().send_error(405 if code == 501 else code, message, explain)

    def log_message(self, *_arguments: object) -> None:
        """Requests are not logged: the readings are in the database."""
