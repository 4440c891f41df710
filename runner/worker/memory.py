"""What this process keeps of the memory that it once needed: as little as it can.

Standard library only: `save` runs before everything else is loaded.
"""

from __future__ import annotations

import ctypes
import gc
import sys

#: Loaded by a library for looks that a worker's log never has (structlog's for terminals: 3 MB).
UNUSED = ("rich",)

#: mallopt(3): how many heaps threads may have. Each would keep what its thread once needed; the interpreter lets one
#: thread at a time allocate anyway.
_M_ARENA_MAX = -8
_HEAPS = 1

_libc = ctypes.CDLL(None)


def save() -> None:
    """Load less and keep less from here on; called before there are threads."""
    _libc.mallopt(_M_ARENA_MAX, _HEAPS)
    sys.modules.update(dict.fromkeys(UNUSED))  # type: ignore[arg-type]  # None: an import of it fails


def settle() -> None:
    """Give back what only the start needed, and spare the collector what stays for ever (malloc_trim(3), gc.freeze)."""
    gc.collect()
    gc.freeze()
    _libc.malloc_trim(0)
