"""A tap on TCP connections: what two processes say to each other, byte for byte, whatever the protocol.

Promises that every byte of either direction is kept in its order, and that a connection passes as it would without the
tap. Refuses to understand: encrypted connections are passed on as they are.
"""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.canaries import Place


@dataclass(slots=True)
class Tap:
    """A tap that listens on `port`; one stream for each direction of each connection."""

    name: str
    port: int
    streams: list[bytearray] = field(default_factory=list, repr=False)

    def places(self) -> Iterator[Place]:
        """All that passed."""
        for number, stream in enumerate(list(self.streams)):
            yield f"{self.name}, stream {number}", bytes(stream)

    @property
    def size(self) -> int:
        """How many bytes passed."""
        return sum(map(len, self.streams))


@contextlib.contextmanager
def tapped(name: str, connect: Callable[[], socket.socket]) -> Iterator[Tap]:
    """A tap before whatever `connect` reaches."""
    sockets: list[socket.socket] = []
    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        tap = Tap(name, listener.getsockname()[1])

        def pump(source: socket.socket, target: socket.socket, stream: bytearray) -> None:
            with contextlib.suppress(OSError):
                while content := source.recv(65536):
                    stream += content
                    target.sendall(content)
            for each, how in ((target, socket.SHUT_WR), (source, socket.SHUT_RD)):
                with contextlib.suppress(OSError):
                    each.shutdown(how)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    near, _ = listener.accept()
                    far = connect()
                    sockets.extend((near, far))
                    for source, target in ((near, far), (far, near)):
                        stream = bytearray()
                        tap.streams.append(stream)
                        threads.append(threading.Thread(target=pump, args=(source, target, stream)))
                        threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield tap
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for each in sockets:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()
            for each in sockets:
                each.close()


def to_port(port: int) -> Callable[[], socket.socket]:
    """Connects to a port of this machine."""
    return lambda: socket.create_connection(("127.0.0.1", port))


def to_socket(path: str) -> Callable[[], socket.socket]:
    """Connects to a Unix socket."""

    def connect() -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.connect(path)
        return made

    return connect
