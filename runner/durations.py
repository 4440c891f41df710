"""Durations as people write them, read into `timedelta`; pure."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

#: The longest duration that anybody may ask for.
LONGEST = timedelta(days=30)

_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(s|m|h|d)", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def duration(value: object) -> timedelta:
    """Reads `"30s"`, `"5m"`, `"1.5h"`, `"2d"` or a number of seconds; ValueError for anything else."""
    seconds: float | None = None
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, str) and (match := _DURATION.fullmatch(value)):
        seconds = float(match[1]) * _SECONDS[match[2]]
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = value
    if seconds is None:
        raise ValueError('must be a duration such as "30s", "5m" or "1h", or a number of seconds')
    if not 0 <= seconds <= LONGEST.total_seconds():
        raise ValueError(f"must be between 0 seconds and {LONGEST.days} days")
    return timedelta(seconds=seconds)


Duration = Annotated[
    timedelta,
    BeforeValidator(duration),
    PlainSerializer(timedelta.total_seconds, return_type=float),
]
