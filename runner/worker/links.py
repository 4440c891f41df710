"""The worker's links to its launchers, one for each: a launcher that has just ended a bot is asked for the next one
without waking the spawner.

A request is one message (SOCK_SEQPACKET) with descriptors (SCM_RIGHTS): control socket, journal, and the lock on the
bot's user if it has one of its own. The bot's ends of its pipes wait in the control socket, where the launcher takes
them; the request it reads, but leaves in the link until the outcome is recorded. So the spawner, which holds the
launcher's end of the link as well, finds in there what a launcher that was killed had not ended, and by the control
socket whether it was begun. When worker, spawner or launcher die, what nobody holds any more is closed.
"""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Sequence

#: Links that are kept for the next attempts; a launcher whose link is closed ends. Each has 2 MB of its own.
IDLE = 4
#: After so many attempts a launcher makes room for a fresh one.
ATTEMPTS = 1000

#: What sending to a process that ended raises; the last where another thread has just replaced it.
GONE = (errno.EPIPE, errno.ECONNRESET, errno.EBADF)


class Link:
    """A launcher, as one attempt has it, from `ask` to `release` or `close`."""

    __slots__ = ("_left", "_links", "_socket")

    def __init__(self, links: Links, ours: socket.socket) -> None:
        self._links, self._socket = links, ours
        self._left = ATTEMPTS

    @property
    def worn(self) -> bool:
        """Whether its launcher has done enough."""
        return self._left <= 0

    def ask(self, request: bytes, files: Sequence[int]) -> bool:
        """Asks for a bot; false where nobody is there any more, and nothing was asked of anybody. Raises OSError."""
        self._left -= 1
        try:
            socket.send_fds(self._socket, [request], files)
        except OSError as error:
            if error.errno in GONE:
                return False
            raise
        return True

    def release(self) -> None:
        """Its launcher has recorded the end of what it was asked for."""
        self._links.keep(self)

    def close(self) -> None:
        """Lets its launcher go, which ends with what it has in work."""
        self._socket.close()


class Links:
    """Those to launchers that have nothing to do, of one spawner. May be used from any thread."""

    def __init__(self) -> None:
        self._idle: list[Link] = []
        self._lock = threading.Lock()
        self._closed = False

    def ask(self, request: bytes, files: Sequence[int]) -> Link | None:
        """Asks a launcher that has nothing to do; `None` where there is none. Raises OSError."""
        while (link := self._last()) is not None:
            try:
                if link.ask(request, files):
                    return link
            except OSError:
                link.close()
                raise
            link.close()
        return None

    def new(self) -> tuple[Link, socket.socket]:
        """One more, and its other end, for the spawner. Raises OSError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return Link(self, ours), theirs

    def keep(self, link: Link) -> None:
        """Keeps a link for the next attempt, or closes it where there are enough."""
        with self._lock:
            if not self._closed and len(self._idle) < IDLE and not link.worn:
                self._idle.append(link)
                return
        link.close()

    def _last(self) -> Link | None:
        """The one that was released last, whose slot is likely to be that of the next attempt."""
        with self._lock:
            return self._idle.pop() if self._idle else None

    def close(self) -> None:
        """Lets all idle launchers go, and the others when they are released."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for link in idle:
            link.close()
