"""Whether a runner's process is alive on this host, told by the kernel and at once.

Each process holds a name of its own, an abstract socket (unix(7)) that no file stands for and that its end sets free,
however it ends. So a runner that was killed can be followed by the next one of its name without waiting for its
heartbeat to be missed. It says nothing about other hosts, nor about another network namespace of this one.
"""

from __future__ import annotations

import socket
import uuid


def hold(instance: uuid.UUID) -> None:
    """Hold the instance's name until this process ends."""
    holder = _bound(instance)
    if holder is not None:
        holder.detach()  # the descriptor stays open, and with it the name, as long as the process lives


def gone(instance: uuid.UUID) -> bool:
    """Whether no process of this host, of whatever user, holds the instance's name."""
    probe = _bound(instance)
    if probe is None:
        return False
    probe.close()
    return True


def _bound(instance: uuid.UUID) -> socket.socket | None:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        made.bind(f"\0botkeep-runner-{instance}")
    except OSError:
        made.close()
        return None
    return made
