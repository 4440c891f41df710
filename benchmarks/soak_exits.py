"""How each process of this host ended, as the kernel tells root (its process events connector, linux/cn_proc.h).

A witness that is no part of the system: a bot that exited has finished its work, one that was killed right after its
last line may have, and nobody's word is taken for which it was.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections import defaultdict

NETLINK_CONNECTOR, CN_IDX_PROC, LISTEN, EXIT = 11, 1, 1, 0x80000000
#: Where a message has what happened, when (nanoseconds of the monotonic clock), and to whom: after the headers of
#: netlink (16 bytes) and connector (20). Of an exit: process, its group, status.
WHAT, WHEN, WHO = 36, 44, 52
SO_RCVBUFFORCE = 33


class Exits:
    """Listens from its making on; knows nothing where the kernel or the user does not let it."""

    def __init__(self) -> None:
        self._found: dict[int, list[tuple[float, int]]] = defaultdict(list)
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_CONNECTOR)
            self._socket.bind((0, CN_IDX_PROC))
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 * 1024 * 1024)
            body = struct.pack("=IIIIHHI", CN_IDX_PROC, 1, 0, 0, 4, 0, LISTEN)
            self._socket.send(struct.pack("=IHHII", 16 + len(body), 3, 0, 0, os.getpid()) + body)
        except OSError as error:
            print(f"exits are not witnessed ({error.strerror}); every last line counts as an end", flush=True)
            return
        threading.Thread(target=self._listen, name="exits", daemon=True).start()

    def killed(self, pid: int, *, since: float) -> bool:
        """Whether the process of this number that lived at `since` (monotonic clock) was ended by a signal."""
        status = next((status for at, status in self._found.get(pid, ()) if at >= since), 0)
        return os.WIFSIGNALED(status)

    def _listen(self) -> None:
        while True:
            try:
                message = self._socket.recv(4096)
            except OSError:
                continue  # the kernel dropped some: these count as ends
            if struct.unpack_from("=I", message, WHAT)[0] == EXIT:
                (at,) = struct.unpack_from("=Q", message, WHEN)
                pid, group, status = struct.unpack_from("=iiI", message, WHO)
                if pid == group:
                    self._found[pid].append((at / 1e9, status))
