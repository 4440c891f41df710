"""Names who left a connection to PostgreSQL open, which the garbage collector finds in some later test only.

Promises that the `ResourceWarning` of a connection that was never closed says in which test and at which lines it was
made; it changes nothing else.
"""

import os
import sys
import warnings
from types import FrameType
from typing import Any

import psycopg

#: Frames of ours that a warning names.
FRAMES = 8


def watch() -> None:
    """From here on each connection remembers where it was made."""
    kind: Any = psycopg.Connection
    make = kind.__init__

    def made(connection: Any, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - psycopg's own
        make(connection, *arguments, **options)
        connection.made_in = os.environ.get("PYTEST_CURRENT_TEST", "no test")
        connection.made_at = _lines()

    def forgotten(connection: Any) -> None:  # noqa: ANN401 - psycopg's own
        if hasattr(connection, "pgconn") and hasattr(connection, "made_in") and not connection.closed:
            said = f"A connection to PostgreSQL was left open: made in {connection.made_in} at {connection.made_at}"
            warnings.warn(said, ResourceWarning, stacklevel=1, source=connection)

    kind.__init__, kind.__del__ = made, forgotten


def _lines() -> str:
    found = list[str]()
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and len(found) < FRAMES:
        if "site-packages" not in frame.f_code.co_filename:
            found.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
        frame = frame.f_back
    return ", ".join(found)
