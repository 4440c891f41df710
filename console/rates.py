"""Rate limits of one console process: token buckets (https://en.wikipedia.org/wiki/Token_bucket), in memory.

Promises bounded memory: of too many keys the one that was asked about longest ago is forgotten, which lets it begin
anew. Several consoles count each for itself.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable

#: Keys that are remembered at the same time: some MB.
MOST = 10_000


class Buckets:
    """One bucket for each key; it holds what a minute brings, and a full one lets that many through at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def take(self, key: Hashable, *, per_minute: float, now: float) -> float:
        """Take one; answers 0, or the seconds until there is one again. `now` is monotonic, in seconds."""
        with self._lock:
            level, since = self._buckets.pop(key, (per_minute, now))
            level = min(per_minute, level + max(now - since, 0.0) * per_minute / 60)
            taken = level >= 1
            self._buckets[key] = (level - 1 if taken else level, now)
            while len(self._buckets) > MOST:
                self._buckets.popitem(last=False)
        return 0.0 if taken else (1 - level) * 60 / per_minute

    def empty(self, key: Hashable, *, per_minute: float, now: float) -> bool:
        """Whether nothing could be taken now; takes nothing."""
        with self._lock:
            level, since = self._buckets.get(key, (per_minute, now))
        return level + max(now - since, 0.0) * per_minute / 60 < 1
