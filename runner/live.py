"""What goes from a runner to those who follow a log: chunks of it over Redis, while somebody listens.

A message is a hint, too: the store has all that one says, a second later. Whoever can write to Redis can write
anything, so what makes no sense is nothing.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from runner import chunks
from runner.chunks import Run
from runner.lanes import PREFIX

#: What the channel of each job's log begins with.
CHANNEL = f"{PREFIX}log."

#: Seconds that a follower's word holds, and between two of them.
HOLDS, EVERY = 10.0, 3.0

# The attempt, and whether it has ended.
_HEAD = struct.Struct("<IB")


@dataclass(frozen=True, slots=True)
class News:
    """Some of an attempt's log, or that the attempt has ended and its end is in the database."""

    attempt: int
    runs: Sequence[Run] = ()
    ended: bool = False


def channel(job_id: uuid.UUID) -> str:
    """Where the log of a job is told."""
    return f"{CHANNEL}{job_id}"


def job_of(name: bytes) -> uuid.UUID | None:
    """The job whose log a channel tells."""
    try:
        return uuid.UUID(name.decode("ascii").removeprefix(CHANNEL))
    except (ValueError, UnicodeDecodeError):
        return None


def message(news: News) -> bytes:
    """The message that says it."""
    head = _HEAD.pack(news.attempt, news.ended)
    return head + chunks.pack(news.runs, number=0, skip=0, compressed=False) if news.runs else head


def parsed(data: bytes) -> News | None:
    """What a message says; `None` where it makes no sense."""
    if len(data) < _HEAD.size:
        return None
    attempt, ended = _HEAD.unpack_from(data)
    rest = data[_HEAD.size :]
    if not rest:
        return News(attempt, ended=bool(ended))
    header = chunks.header_of(rest)
    runs = None if header is None else chunks.unpack(header, rest)
    return None if runs is None else News(attempt, runs, bool(ended))
