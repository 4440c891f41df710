"""The time that an attempt has a user for itself, from the giving of its folders to the last trace of its bot.

Promises that a bot does not start while anybody else is that user, and that the user is free for the next attempt only
when no process of it lives and the folders are the runner's again.
Standard library only: the spawner's process loads it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence

from runner.worker import belongings, clearing, privileges
from runner.worker.starting import NotStarted, Request, User, sentence


def begin(user: User, trees: Sequence[str], pipes: Sequence[int]) -> User:
    """Gives the bot's user what is the bot's: its folders, and the pipes it may open again as /dev/stdout.

    Raises `NotStarted`, also while somebody else is that user, whom `end` would kill; then nothing stays given.
    """
    number, group, name = user
    if clearing.lives(number):
        raise NotStarted(f"The bot was not started: somebody else runs processes as its user {name}.")
    try:
        for pipe in pipes:
            os.fchown(pipe, number, group)
        belongings.hand_over(trees, number, group)
    except (OSError, belongings.Strange) as error:
        belongings.take_back(trees, number)
        raise NotStarted(sentence(f"its folders cannot be given to its user {name}", error)) from None
    return user


def end(user: User, trees: Iterable[str]) -> int:
    """Ends and removes all that is the user's and takes the folders back; how many of its processes live on."""
    number, group, _ = user
    return clearing.clear(number, group, trees)


def end_of(request: Request) -> int:
    """The same for an attempt whose launcher is gone; 0 where its bot had no user of its own."""
    return 0 if request.user is None else end(request.user, request.owned)


def release(lock: Sequence[int]) -> None:
    """Lets the next attempt have the user, also while spawner and worker still hold the lock, if there is one."""
    for file in lock:
        with contextlib.suppress(OSError):
            privileges.unlock(file)
        os.close(file)
