"""How an attempt ended, as launcher and spawner say it: the fields of `outcomes.Outcome`, in a line of the journal.

The worker is told the very line. Standard library only: the spawner's process loads it.
"""

from __future__ import annotations

import errno
import json
import os
import select

from runner.worker.descendants import Usage
from runner.worker.starting import Request, why

#: Characters of a detail that go into the journal; its lines stay below 4096 bytes.
MAX_DETAIL = 800

_encoder = json.JSONEncoder(ensure_ascii=False)


def outcome(
    reason: str,
    detail: str,
    survivors: int,
    *,
    usage: Usage,
    code: int | None,
    started_at: float,
    ended_at: float,
    mode: str,
    started_after: float,
    user: str | None,
) -> dict[str, object]:
    """The fields of `outcomes.Outcome`. A negative `code` is the signal that ended the bot."""
    return {
        "exit_code": code if code is not None and code >= 0 else None,
        "signal": -code if code is not None and code < 0 else None,
        "reason": reason,
        "detail": detail,
        "survivors": survivors,
        "max_rss_kb": usage.max_rss_kb,
        "user_seconds": round(usage.user_seconds, 6),
        "system_seconds": round(usage.system_seconds, 6),
        "started_at": started_at,
        "started_after": round(started_after, 4),
        "ended_at": ended_at,
        "mode": mode,
        "user": user,
    }


def line_of(found: dict[str, object], *, job: str, attempt: int) -> bytes:
    """One line. It begins with an end: what came before may be torn."""
    short = {"job": job, "attempt": attempt, **found, "detail": str(found["detail"])[:MAX_DETAIL]}
    return b"\n" + _encoder.encode(short).encode(errors="replace") + b"\n"


def append(journal: int, line: bytes) -> None:
    """Appends one line. Raises OSError."""
    if os.write(journal, line) < len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def report(request: Request, journal: int, control: int, found: dict[str, object]) -> None:
    """Writes the outcome durably, then tells the worker, who may be gone."""
    tell(control, record(request, journal, found))


def record(request: Request, journal: int, found: dict[str, object]) -> bytes:
    """Writes the outcome durably, or into its detail that it could not; what to tell the worker."""
    job, attempt = request.job, request.attempt
    line = line_of(found, job=job, attempt=attempt)
    try:
        append(journal, line)
        os.fdatasync(journal)
    except OSError as error:
        note = f"The outcome could not be recorded ({why(error)})."
        return line_of({**found, "detail": f"{found['detail']} {note}".strip()}, job=job, attempt=attempt)
    return line


def tell(control: int, line: bytes) -> None:
    """Sends the worker, who may be gone, a line of the journal, or an event."""
    try:
        os.write(control, line)
    except (BrokenPipeError, ConnectionResetError):
        return


def is_gone(control: int) -> bool:
    """Whether the worker has closed its end of an attempt's control socket, as the kernel does when it dies."""
    poll = select.poll()
    poll.register(control, 0)  # POLLHUP is told in any case (poll(2))
    return bool(poll.poll(0))
