"""Records what a session does: its HTTP traffic, the broker's commands, and what /proc shows of its processes.

Promises to keep every byte that passed and every different command line and environment that it saw; whatever it
cannot see is somebody else's test. Each recorder is a context: it records while inside.
"""

import contextlib
import http.client
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import redis

from tests.canaries import Place
from tests.support import ProcessId, descendants

#: Seconds between two looks at all processes.
PAUSE = 0.03


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer, whole."""

    method: str
    path: str
    request_head: bytes
    request_body: bytes
    answer: bytes

    @property
    def sets_a_value(self) -> bool:
        """Whether the request's body is a value, by its address."""
        return self.method == "PUT" and "/values/" in self.path


@contextlib.contextmanager
def proxy(target: str) -> Iterator[tuple[str, list[Exchange]]]:
    """An address that passes everything on to `target`, streams included, and all that passed."""
    exchanges: list[Exchange] = []
    address = urlsplit(target).netloc

    class Relay(BaseHTTPRequestHandler):
        def relay(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            connection = http.client.HTTPConnection(address, timeout=60)
            answer = b""
            try:
                connection.request(self.command, self.path, body=body, headers=dict(self.headers))
                response = connection.getresponse()
                head = f"HTTP/1.0 {response.status} {response.reason}\r\n"
                kept = (pair for pair in response.getheaders() if pair[0].lower() != "transfer-encoding")
                answer = (head + "".join(f"{name}: {value}\r\n" for name, value in kept) + "\r\n").encode()
                self.wfile.write(answer)
                while chunk := response.read1(65536):
                    answer += chunk
                    self.wfile.write(chunk)
            except (BrokenPipeError, ConnectionResetError):
                """A browser leaves a page, and with it the stream of a log, whenever it likes."""
            finally:
                connection.close()
                exchanges.append(Exchange(self.command, self.path, bytes(self.headers), body, answer))

        do_GET = do_POST = do_PUT = do_DELETE = relay  # noqa: N815 - the library's names

        def log_message(self, *_arguments: object) -> None:
            """The test's output is not the place."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Relay) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", exchanges
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def monitored(client: "redis.Redis") -> Iterator[list[bytes]]:
    """The broker's MONITOR, a line a command, with its escapes undone; complete at the end of the block."""
    seen: list[bytes] = []
    last = b"the end of the recording"

    def listen(connection: "redis.connection.Connection") -> None:
        while last not in (line := connection.read_response()):
            seen.append(unescaped(line))

    with client.monitor() as monitor:  # type: ignore[no-untyped-call]  # not annotated
        thread = threading.Thread(target=listen, args=(monitor.connection,))
        thread.start()
        try:
            yield seen
        finally:
            client.echo(last)
            thread.join(20)
    assert not thread.is_alive(), "the broker never told the monitor of the last command"


def unescaped(line: bytes) -> bytes:
    r"""A line of MONITOR as the bytes that were sent: `\x00`, `\n`, `\"` and their like undone."""
    letters = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}

    def undo(found: re.Match[bytes]) -> bytes:
        code = found[1]
        return bytes.fromhex(code[1:].decode()) if len(code) == 3 else letters.get(code, code)

    return re.sub(rb"\\(x[0-9a-f]{2}|.)", undo, line, flags=re.DOTALL)


@dataclass(frozen=True, slots=True)
class Seen:
    """What /proc showed of a process at one moment; `environ` is empty where it may not be read."""

    process: ProcessId
    cmdline: bytes
    environ: bytes = field(repr=False)


@contextlib.contextmanager
def watched(root: int, *, without: frozenset[ProcessId] = frozenset()) -> Iterator[set[Seen]]:
    """Looks at every process below `root` all the time, at its command line and its environment."""
    seen: set[Seen] = set()
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(PAUSE):
            for process in descendants(root, without=without):
                look = look_at(process)
                if look is not None:
                    seen.add(look)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def look_at(process: ProcessId) -> Seen | None:
    """Both at one moment; None where the process was just becoming another program, or is gone."""
    folder = Path(f"/proc/{process.pid}")
    try:
        before = (folder / "cmdline").read_bytes()
        try:
            environ = (folder / "environ").read_bytes()
        except PermissionError:
            environ = b""
        after = (folder / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return Seen(process, after, environ) if before == after and process.alive else None


def shown_by_proc(seen: set[Seen], *, owns_values: Callable[[Seen], bool]) -> Iterator[Place]:
    """Command lines of all, and environments of all but those that may hold values there."""
    for each in seen:
        name = each.cmdline.replace(b"\0", b" ").decode(errors="replace")
        yield f"the command line of {name}", each.cmdline
        if not owns_values(each):
            yield f"the environment of {name}", each.environ


def traffic(exchanges: Iterable[Exchange]) -> Iterator[Place]:
    """Everything that passed, but for the bodies that set a value."""
    for each in exchanges:
        name = f"{each.method} {each.path}"
        yield f"the request {name}", f"{name}\n".encode() + each.request_head
        if not each.sets_a_value:
            yield f"the request {name}", each.request_body
        yield f"the answer to {name}", each.answer
