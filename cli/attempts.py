"""How the attempts of a job look to a person: when each step began, what it cost, who ended it; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cli.client import Item
from cli.follow import why
from cli.render import duration, plain


def lines(attempts: Sequence[Item]) -> Iterator[str]:
    """A paragraph for each attempt, the oldest first."""
    for attempt in attempts:
        yield f"attempt {attempt.get('number')}  {_headline(attempt)}"
        for words in (_steps(attempt), _cost(attempt)):
            if words:
                yield f"  {words}"


def _headline(attempt: Item) -> str:
    parts = [plain(str(attempt.get("state"))), f"on {plain(str(attempt.get('runner')))}"]
    if user := attempt.get("user"):
        parts.append(f"as user {plain(str(user))}")
    if reason := why(attempt):
        parts.append(f"({reason})")
    if by := attempt.get("ended_by"):
        parts.append(f"ended by {plain(str(by))}")
    if attempt.get("adopted_at"):
        parts.append("adopted")
    return " ".join(parts)


def _steps(attempt: Item) -> str:
    steps = attempt.get("steps") or {}
    return plain(", ".join(f"{name.replace('_', ' ')} {_seconds(at)}" for name, at in steps.items()))


def _cost(attempt: Item) -> str:
    memory, cpu, survivors = (attempt.get(name) for name in ("max_rss_kb", "cpu_seconds", "survivors"))
    parts = []
    if memory:
        parts.append(f"peak memory {memory / 1024:.1f} MiB")
    if cpu is not None:
        parts.append(f"CPU time {_seconds(cpu)}")
    if survivors:
        parts.append(f"{survivors} processes left" if survivors > 0 else "processes may be left")
    return ", ".join(parts)


def _seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1 else duration(value)
