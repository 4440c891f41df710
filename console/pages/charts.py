"""Bars of a chart: where each part of each bar stands, in the units of the drawing. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runner.series import STATES, Bucket

#: The drawing: its width on a desk and on a phone, its height, and what is left for numbers and times.
WIDE, NARROW, HEIGHT, LEFT, BOTTOM, TOP = 960, 340, 200, 38, 20, 8


@dataclass(frozen=True, slots=True)
class Part:
    """One rectangle of one state."""

    state: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One bucket: the area that shows its words, and its parts from the bottom up."""

    bucket: Bucket
    x: float
    width: float
    parts: Sequence[Part]
    #: What stands below it; empty for most.
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars, and lines at round numbers with their heights."""

    bars: Sequence[Bar]
    lines: Sequence[tuple[int, float]]
    total: int
    width: int


def chart(buckets: Sequence[Bucket], *, label: str, every: int, width: int = WIDE) -> Chart:
    """Stacked bars; below each `every`th stands its time in the format `label`."""
    highest = max((bucket.total for bucket in buckets), default=0)
    top = nice(highest)
    room, floor = HEIGHT - BOTTOM - TOP, HEIGHT - BOTTOM
    step = (width - LEFT) / max(len(buckets), 1)
    bars = []
    for place, bucket in enumerate(buckets):
        x, y, parts = LEFT + place * step, float(floor), []
        for state in STATES:
            height = bucket.counts.get(state, 0) / top * room
            if height:
                # What there is at all is seen.
                height = max(height, 1.5)
                y -= height
                parts.append(
                    Part(state, round(x + step * 0.12, 2), round(y, 2), round(step * 0.76, 2), round(height, 2))
                )
        text = bucket.begin.strftime(label) if place % every == 0 else ""
        bars.append(Bar(bucket, round(x, 2), round(step, 2), parts, text))
    lines = [(number, round(floor - number / top * room, 2)) for number in sorted({0, top // 2, top})]
    return Chart(bars, lines, sum(bucket.total for bucket in buckets), width)


def nice(highest: int) -> int:
    """The round number at the top of the scale: 2, 4, 10, 20, 40, 100 and so on, and no less than `highest`."""
    size = 1
    while True:
        for step in (2, 4, 10):
            if step * size >= highest:
                return step * size
        size *= 10
