"""What a bot asks to have masked while it runs (`botkeep.mask`): within bounds, since the runner is shared.

RunnerError
└── Invalid
    └── TooMuch       the value is too large, or the attempt named too many
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator

from runner.errors import Invalid
from runner.worker.masker import Masker
from vault.grading import too_weak

#: Bytes of one value, and values of one attempt.
LARGEST, MOST = 8 * 1024, 1_000

#: Forms that these may add (an ordinary value has 15, one of many short lines hundreds): about 10 MB of memory.
MOST_FORMS = 50_000


class TooMuch(Invalid):
    """The value is not masked, for it would go beyond what one attempt may name."""


class Requested:
    """The values that one attempt named. Threads may share it."""

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self._lock = threading.Lock()
        # Digests: a bot may name the same value again and again, and nothing here keeps one.
        self._seen: set[bytes] = set()
        self._forms = 0
        self._weak = 0
        self._refused = 0

    def mask(self, value: bytes) -> bool:
        """Mask `value` in whatever is written from now on; false for one that is too weak to be masked.

        Raises:
            TooMuch: when nothing more is masked for this attempt, or not a value of this size.
        """
        with self._lock:
            if too_weak(value):
                self._weak += 1
                return False
            digest = hashlib.sha256(value).digest()
            if digest not in self._seen:
                self._check(value)
                before = self._masker.size
                self._masker.add([("a value that the bot named", value)])
                self._forms += self._masker.size - before
                self._seen.add(digest)
            return True

    def learn(self, value: bytes) -> None:
        """Mask a value of an asset that is new to the attempt's masker: one that the bot sets, or a part of one.

        It may be as large as a value may be, and one that is too weak to be masked is a warning of the job.

        Raises:
            TooMuch: when nothing more is masked for this attempt.
        """
        if len(value) <= LARGEST:
            self.mask(value)
            return
        with self._lock:
            digest = hashlib.sha256(value).digest()
            if digest in self._seen:
                return
            self._check(value[:LARGEST])
            self._masker.add([("a value that the bot set", value)])
            self._seen.add(digest)

    def warnings(self) -> Iterator[str]:
        """What the job says of values that are not masked."""
        if self._weak:
            yield f"The bot named {_values(self._weak)} too short to be masked in the log (`botkeep.mask`)."
        if self._refused:
            yield f"The bot named more than one job may: {_values(self._refused)} not masked (`botkeep.mask`)."

    def _check(self, value: bytes) -> None:
        if len(value) > LARGEST:
            problem = f"The value has more than {LARGEST:,} bytes; mask the part of it that must stay hidden."
        elif len(self._seen) >= MOST or self._forms > MOST_FORMS:
            problem = f"This job named {len(self._seen):,} values already, and no more are masked for it."
        else:
            return
        self._refused += 1
        raise TooMuch(problem)


def _values(count: int) -> str:
    return "one value" if count == 1 else f"{count:,} values"
