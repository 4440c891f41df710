"""The worker's ends of a bot's pipes: giving it its environment, taking what is left of its output.

Promises never to wait for a bot in the caller's thread, as long as the host gives another one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import threading

#: What is read from an output at once; the default capacity of a pipe (pipe(7)).
CHUNK = 65536
#: A larger environment gets a larger pipe, up to what an unprivileged process may ask for (pipe(7)).
LARGEST_PIPE = 1024 * 1024


def pipes(count: int) -> list[tuple[int, int]]:
    """Pipes as (read end, write end); all of them or, with OSError, none."""
    made: list[tuple[int, int]] = []
    try:
        made.extend(os.pipe() for _ in range(count))
    except OSError:
        for ends in made:
            for file in ends:
                os.close(file)
        raise
    return made


def readable(file: int, timeout: float | None) -> bool:
    """Whether a descriptor of any number has something to read within `timeout` seconds; `None` waits for ever."""
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return bool(poll.poll(None if timeout is None else timeout * 1000))


def rest(file: int) -> list[bytes]:
    """What is left in a pipe whose writers are dead, without waiting for one who is not."""
    os.set_blocking(file, False)
    found: list[bytes] = []
    with contextlib.suppress(BlockingIOError):
        while len(found) < LARGEST_PIPE // CHUNK and (data := os.read(file, CHUNK)):
            found.append(data)
    return found


def give(pipe: int, environment: bytes) -> None:
    """Writes the environment and closes the pipe. What does not fit is left to a thread, until it is read."""
    os.set_blocking(pipe, False)
    if len(environment) > CHUNK:
        with contextlib.suppress(OSError):  # the user's share of pipe memory is used up: the thread will do
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, min(len(environment), LARGEST_PIPE))
    try:
        written = os.write(pipe, environment) if environment else 0
    except BrokenPipeError:
        written = len(environment)
    if written == len(environment):
        os.close(pipe)
        return
    os.set_blocking(pipe, True)
    left = pipe, environment[written:]
    try:
        threading.Thread(target=give_rest, args=left, daemon=True).start()
    except RuntimeError:  # the host gives no thread; a bot reads this before it does anything else
        give_rest(*left)


def give_rest(pipe: int, environment: bytes) -> None:
    """Ends at the latest with the bot: nobody else holds the other end."""
    with contextlib.suppress(BrokenPipeError), open(pipe, "wb", buffering=0) as file:
        left = memoryview(environment)
        while left:
            left = left[file.write(left) or 0 :]
