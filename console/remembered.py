"""What costs much to count and may be a minute old: kept by each console for itself."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from datetime import datetime, timedelta
from threading import Lock
from typing import TypeVar, cast

T = TypeVar("T")

#: How many answers are kept; the oldest goes when another comes.
MOST = 256


class Remembered:
    """Answers by key, each asked for again when it is old."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[datetime, object]] = {}
        self._lock = Lock()

    def get(self, key: Hashable, ask: Callable[[], T], *, now: datetime, lasting: timedelta) -> T:
        """The answer to `ask`, no older than `lasting`; several who come at once may each ask."""
        with self._lock:
            found = self._kept.get(key)
        if found is not None and now - found[0] < lasting:
            return cast("T", found[1])
        answer = ask()
        with self._lock:
            self._kept.pop(key, None)
            self._kept[key] = (now, answer)
            while len(self._kept) > MOST:
                del self._kept[next(iter(self._kept))]
        return answer
