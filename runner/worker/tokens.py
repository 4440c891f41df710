"""The tokens that are valid at a worker's endpoint: one for an attempt, and one more for each dialect of it.

Promises that a token opens its own attempt in its own dialect only and ends with the attempt; that only hashes are
kept; and that one which is used after its end is told to whoever it belonged to. A *pass* is a token for one thing,
made from a key that lives in this process: it needs no memory, ends within minutes, and with its attempt in any case.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from runner.worker.grant import Grant

#: Tokens that have ended and are still told from tokens that never were; each takes 1 kB.
REMEMBERED = 1024

#: Seconds that a pass is valid; clients use it at once.
PASS_LIFETIME = 900


@dataclass(frozen=True, slots=True)
class Admission:
    """What a valid token opens; `handle` stands for it in passes and limits."""

    grant: Grant
    dialect: str
    handle: str
    #: What a pass was issued for; empty with the token itself.
    passed: str = ""


class Tokens:
    """The tokens of a worker; threads may share it."""

    def __init__(self) -> None:
        self._valid: dict[str, Admission] = {}
        self._ended: OrderedDict[str, Callable[[str], None]] = OrderedDict()
        self._lock = threading.Lock()
        self._key = os.urandom(32)

    def admit(self, grant: Grant, dialect: str = "") -> str:
        """A new token of an attempt."""
        # 128 bits; letters and digits, and no more of them, have the fewest forms to be masked.
        token = os.urandom(16).hex()
        handle = _hashed(token)
        with self._lock:
            self._valid[handle] = Admission(grant, dialect, handle)
        return token

    def revoke(self, token: str) -> None:
        """End a token; what it could read is forgotten."""
        handle = _hashed(token)
        with self._lock:
            found = self._valid.pop(handle, None)
            if found is not None:
                self._ended[handle] = found.grant.refused
                if len(self._ended) > REMEMBERED:
                    self._ended.popitem(last=False)

    def find(self, token: str, dialect: str = "") -> Admission | None:
        """What a token opens in a dialect, `None` when it is not valid there."""
        return self._admission(_hashed(token), dialect)

    def issue(self, handle: str, what: str) -> str:
        """A pass for one thing of the attempt that `handle` stands for."""
        text = f"{handle}.{what.encode().hex()}.{int(time.time()) + PASS_LIFETIME}"
        return f"{text}.{self._sign(text)}"

    def passed(self, given: str, dialect: str) -> Admission | None:
        """What a pass opens, `None` when it is not valid."""
        text, _, signature = given.rpartition(".")
        if not hmac.compare_digest(self._sign(text).encode(), signature.encode("utf-8", "surrogateescape")):
            return None
        handle, what, until = text.split(".")
        found = self._admission(handle, dialect)
        if found is None or time.time() > int(until):
            return None
        return Admission(found.grant, dialect, handle, bytes.fromhex(what).decode())

    def _admission(self, handle: str, dialect: str) -> Admission | None:
        with self._lock:
            found = self._valid.get(handle)
            late = self._ended.get(handle)
        if late is not None:
            late("anything after its end")
        return found if found is not None and found.dialect == dialect else None

    def _sign(self, text: str) -> str:
        return hmac.digest(self._key, text.encode("utf-8", "surrogateescape"), "sha256").hex()


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
