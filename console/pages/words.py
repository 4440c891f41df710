"""Times, durations, sizes and counts as people read them. Pure: now is a parameter."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

#: Seconds of each unit, from the largest.
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))

#: Beyond this a date says more than a number of days.
_NEAR = timedelta(days=60)


def absolute(at: datetime) -> str:
    """A time to the second, in UTC: `2026-11-26 09:30:00 UTC`."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def machine(at: datetime) -> str:
    """A time as `<time datetime>` wants it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def relative(at: datetime, now: datetime) -> str:
    """How far a time is from now: `5 min ago`, `in 2 h`, or a date when that is more than two months away."""
    away = now - at
    if abs(away) > _NEAR:
        return at.astimezone(UTC).strftime("%Y-%m-%d")
    seconds = abs(away).total_seconds()
    if seconds < 5:
        return "now"
    words = _largest(seconds)
    return f"{words} ago" if away > timedelta(0) else f"in {words}"


def lasting(span: timedelta | float) -> str:
    """A duration, given also in seconds: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `4 d 3 h`."""
    seconds = span.total_seconds() if isinstance(span, timedelta) else float(span)
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    whole = int(seconds)
    for (size, unit), (smaller, smaller_unit) in zip(_UNITS, (*_UNITS[1:], (1, "s")), strict=True):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {smaller_unit}" if rest else "")
    raise AssertionError(seconds)


def size(count: int) -> str:
    """A number of bytes: `812 B`, `4.2 kB`, `31 MB`; thousands, as disks are sold."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 10 else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError(count)


def count(number: int, one: str = "", many: str = "") -> str:
    """A number with thin groups of thousands, and the word that goes with it: `1 bot`, `12,300 jobs`."""
    text = f"{number:,}"
    return text if not one else f"{text} {one if number == 1 else many or one + 's'}"


def _largest(seconds: float) -> str:
    for length, unit in _UNITS:
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.0f} s"
