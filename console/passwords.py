"""Passwords: hashed with argon2id, compared at the same cost whether or not there is an account.

The parameters are those of RFC 9106, section 4, second choice: 64 MiB, three passes, four lanes. Two at a time are
computed, so that a flood of sign-ins can take no more than that of the console's memory.
"""

from __future__ import annotations

import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from runner.errors import Invalid

#: Characters of a password: NIST SP 800-63B-4, section 3.1.1.2, asks for 15 where it is the only factor, and takes
#: anything long; no rules about kinds of characters.
SHORTEST, LONGEST = 12, 256

_HASHER = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
_TURN = threading.BoundedSemaphore(2)

#: What is compared with where there is no account or no password, so that the time does not tell. Nobody knows the
#: text that it was made of; a random one.
_NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$p8uFORkIz1wwd8nodI6zbA$YvAxI7QJ2P9GB9ItXTY3z84nlrrdVEeVJ3ONOjvJgNc"


def hashed(password: str, *, name: str) -> str:
    """What is stored of a password.

    Raises:
        Invalid: for one that is too short, too long, or the account's name.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise Invalid(f"A password has {SHORTEST} to {LONGEST} characters; take several words.")
    if password.casefold() == name.casefold() or len(set(password)) < 4:
        raise Invalid("This password is the first that somebody would try; take several words.")
    with _TURN:
        return _HASHER.hash(password)


def matches(stored: str | None, password: str) -> bool:
    """Whether a password is the stored one; without a stored one it takes as long and is false."""
    with _TURN:
        try:
            _HASHER.verify(stored or _NOBODY, password[: LONGEST + 1])
        except (VerificationError, InvalidHashError):
            return False
    return stored is not None
