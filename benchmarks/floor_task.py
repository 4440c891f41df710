"""Tasks that do nothing, for `benchmarks.floor`. Started as `celery -A benchmarks.floor_task worker`."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.plain import app


def nothing() -> None:
    """The work of `floor.nothing`."""


def last() -> None:
    """Say that all before it were begun."""
    Path(os.environ["FLOOR_DONE"]).touch()


app.task(nothing, name="floor.nothing")
app.task(last, name="floor.last")
