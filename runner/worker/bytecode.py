"""Bytecode of what every bot's interpreter runs of ours, made before the first bot starts.

A bot may only read our folder. So where nobody else has written the bytecode (`uv` writes none, and
PYTHONDONTWRITEBYTECODE forbids it), each bot would compile `bot_main.py` for itself: 3 ms (measured) of the 11 that an
interpreter takes to start. Promises that a bot starts without it, too.
"""

from __future__ import annotations

import importlib.util
import py_compile
import sys
from collections.abc import Iterable
from pathlib import Path

from runner.logging import logger

#: Of a file whose first bytes are the magic number, zeros, and the source's time and size
#: (https://peps.python.org/pep-0552/); without the zeros it is valid by its hash.
_HEADER = 16

_BY_TIME = py_compile.PycInvalidationMode.TIMESTAMP  # whatever SOURCE_DATE_EPOCH says

_log = logger()


def prepare(sources: Iterable[Path]) -> None:
    """Write the bytecode of these files where a bot's interpreter looks for it, unless it is there.

    Bots have the interpreter of this process, and none of the variables that move its bytecode or optimise it.
    """
    for source in sources:
        cached = source.parent / "__pycache__" / f"{source.stem}.{sys.implementation.cache_tag}.pyc"
        try:
            if not _is_current(source, cached):
                py_compile.compile(str(source), cfile=str(cached), doraise=True, optimize=0, invalidation_mode=_BY_TIME)
        except OSError as error:
            _log.warning(
                "bytecode.missing",
                file=str(source),
                error=error.strerror,
                advice="Each bot starts some milliseconds later; run `python -m compileall` on this folder once.",
            )


def _is_current(source: Path, cached: Path) -> bool:
    try:
        with cached.open("rb") as file:
            header = file.read(_HEADER)
    except OSError:
        return False
    magic, flags, rest = header[:4], header[4:8], header[8:]
    found = source.stat()
    mtime, size = (int(number).to_bytes(8, "little")[:4] for number in (found.st_mtime, found.st_size))
    return magic == importlib.util.MAGIC_NUMBER and (any(flags) or rest == mtime + size)
