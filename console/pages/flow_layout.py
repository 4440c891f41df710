"""Where the steps of a graph are drawn: in rows from top to bottom, each below all that it comes after; pure.

Sugiyama's way (layers, order, places): a step's row is the longest way to it, an edge that passes rows is led through
points of its own there, the order within rows is searched for the fewest crossings, and steps are moved sideways to
stand under what they come from. The same graph has the same drawing. Lengths are units of the drawing's own grid,
which the page shows as pixels at full size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

#: Size of a step, and the room between two of a row and between rows.
WIDTH, HEIGHT, GAP_X, GAP_Y = 184, 56, 28, 52

#: Room that a line takes which passes a row, and the drawing's margin.
PASSAGE, MARGIN = 28, 16

#: Rounds of ordering; more have found no better order in graphs of the allowed size.
ROUNDS = 12

#: A place in a row: a step by its name, or a passage of an edge by the edge's number and the row.
Place = str | tuple[int, int]


@dataclass(frozen=True, slots=True)
class Box:
    """Where a step is drawn: its left upper corner, and its row, from 0."""

    name: str
    x: int
    y: int
    row: int


@dataclass(frozen=True, slots=True)
class Line:
    """Where an edge is drawn, as an SVG path, with the point in its middle where its label stands."""

    source: str
    target: str
    path: str
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Drawing:
    """A graph with its places."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]


def drawing(steps: Mapping[str, Sequence[str]]) -> Drawing:
    """The drawing of steps, each with those that it comes after; edges of a cycle, or from nowhere, are left out."""
    after = _acyclic(steps)
    edges = [(source, name) for name, sources in after.items() for source in sources]
    rows = _rows(after)
    layers, neighbours = _layered(rows, edges)
    ordered = _ordered(layers, neighbours)
    centres = _centres(ordered, neighbours)
    boxes = tuple(
        Box(place, round(centres[place] - WIDTH / 2), MARGIN + row * (HEIGHT + GAP_Y), row)
        for row, layer in enumerate(ordered)
        for place in layer
        if isinstance(place, str)
    )
    lines = tuple(_line(number, edge, rows, centres) for number, edge in enumerate(edges))
    right = max((centres[place] + _half(place) for layer in ordered for place in layer), default=0)
    height = MARGIN * 2 + len(ordered) * (HEIGHT + GAP_Y) - (GAP_Y if ordered else 0)
    return Drawing(round(right) + MARGIN, height, boxes, lines)


def crossings(ordered: Sequence[Sequence[Place]], neighbours: Mapping[Place, Sequence[Place]]) -> int:
    """How many pairs of lines cross between neighbouring rows; `neighbours` are those of the row above."""
    found = 0
    for upper, lower in pairwise(ordered):
        place = {each: number for number, each in enumerate(upper)}
        ends = [place[each] for target in lower for each in sorted(neighbours[target], key=place.__getitem__)]
        owners = [number for number, target in enumerate(lower) for _ in neighbours[target]]
        for left in range(len(ends)):
            found += sum(ends[left] > ends[right] and owners[left] < owners[right] for right in range(left, len(ends)))
    return found


def _acyclic(steps: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    placed: dict[str, list[str]] = {}
    left = {name: [each for each in dict.fromkeys(after) if each in steps] for name, after in steps.items()}
    while left:
        ready = [name for name, after in left.items() if all(each in placed for each in after)] or [next(iter(left))]
        for name in ready:
            placed[name] = [each for each in left.pop(name) if each in placed]
    return placed


def _rows(after: Mapping[str, Sequence[str]]) -> dict[str, int]:
    rows: dict[str, int] = {}
    for name, sources in after.items():
        rows[name] = max((rows[each] + 1 for each in sources), default=0)
    return rows


def _layered(
    rows: Mapping[str, int], edges: Sequence[tuple[str, str]]
) -> tuple[list[list[Place]], dict[Place, list[Place]]]:
    layers: list[list[Place]] = [[] for _ in range(max(rows.values(), default=-1) + 1)]
    above: dict[Place, list[Place]] = {name: [] for name in rows}
    for name, row in rows.items():
        layers[row].append(name)
    for number, (source, target) in enumerate(edges):
        way: list[Place] = [source, *((number, row) for row in range(rows[source] + 1, rows[target])), target]
        for row, place in zip(range(rows[source] + 1, rows[target]), way[1:-1], strict=True):
            layers[row].append(place)
        for upper, lower in pairwise(way):
            above.setdefault(lower, []).append(upper)
    return layers, above


def _ordered(layers: list[list[Place]], above: Mapping[Place, list[Place]]) -> list[list[Place]]:
    below: dict[Place, list[Place]] = {place: [] for place in above}
    for lower, uppers in above.items():
        for upper in uppers:
            below[upper].append(lower)
    current = [list(layer) for layer in layers]
    best, fewest = current, crossings(current, above)
    for turn in range(ROUNDS):
        if not fewest:
            break
        down = turn % 2 == 0
        order = range(1, len(current)) if down else range(len(current) - 2, -1, -1)
        for row in order:
            beside = current[row - 1 if down else row + 1]
            current[row] = _by_median(current[row], beside, above if down else below)
        _swap(current, above)
        if (found := crossings(current, above)) < fewest:
            best, fewest = [list(layer) for layer in current], found
    return best


def _by_median(
    layer: Sequence[Place], beside: Sequence[Place], neighbours: Mapping[Place, Sequence[Place]]
) -> list[Place]:
    place = {each: number for number, each in enumerate(beside)}
    mean = {
        each: sum(place[near] for near in neighbours[each]) / len(neighbours[each])
        if neighbours[each]
        else float(number)
        for number, each in enumerate(layer)
    }
    return sorted(layer, key=mean.__getitem__)


def _swap(current: list[list[Place]], above: Mapping[Place, Sequence[Place]]) -> None:
    """Exchange neighbours of a row where that saves a crossing."""
    for row, layer in enumerate(current):
        around = current[max(0, row - 1) : row + 2]
        for left in range(len(layer) - 1):
            before = crossings(around, above)
            layer[left], layer[left + 1] = layer[left + 1], layer[left]
            if crossings(around, above) >= before:
                layer[left], layer[left + 1] = layer[left + 1], layer[left]


def _centres(ordered: Sequence[Sequence[Place]], above: Mapping[Place, Sequence[Place]]) -> dict[Place, float]:
    """The middle of each place, left to right in its order, near the middle of what it hangs together with."""
    below: dict[Place, list[Place]] = {place: [] for place in above}
    for lower, uppers in above.items():
        for upper in uppers:
            below[upper].append(lower)
    centres: dict[Place, float] = {}
    for layer in ordered:
        centres.update(zip(layer, _apart(layer, [0.0] * len(layer)), strict=True))
    # Up and down in turns, and down at last: a step alone stands straight under the one that it comes after.
    for turn in range(ROUNDS):
        up = turn % 2 == 0
        for layer in reversed(ordered) if up else ordered:
            near = below if up else above
            wanted = [
                sum(centres[each] for each in near[place]) / len(near[place]) if near[place] else centres[place]
                for place in layer
            ]
            centres.update(zip(layer, _apart(layer, wanted), strict=True))
    left = min((centre - _half(place) for place, centre in centres.items()), default=0)
    return {place: centre - left + MARGIN for place, centre in centres.items()}


def _apart(layer: Sequence[Place], wanted: Sequence[float]) -> list[float]:
    """The places nearest to what is wanted, in order and without touching: pooled neighbours share their mean."""
    offsets = [0.0]
    for left, right in pairwise(layer):
        offsets.append(offsets[-1] + _half(left) + _half(right) + GAP_X)
    pools: list[tuple[float, int]] = []
    for number, each in enumerate(wanted):
        mean, size = each - offsets[number], 1
        while pools and pools[-1][0] > mean:
            other, count = pools.pop()
            mean, size = (mean * size + other * count) / (size + count), size + count
        pools.append((mean, size))
    flat = [mean for mean, size in pools for _ in range(size)]
    return [mean + offset for mean, offset in zip(flat, offsets, strict=True)]


def _half(place: Place) -> float:
    return WIDTH / 2 if isinstance(place, str) else PASSAGE / 2


def _line(number: int, edge: tuple[str, str], rows: Mapping[str, int], centres: Mapping[Place, float]) -> Line:
    source, target = edge
    passed: list[Place] = [(number, row) for row in range(rows[source] + 1, rows[target])]
    x, y = round(centres[source]), MARGIN + rows[source] * (HEIGHT + GAP_Y) + HEIGHT
    parts = [f"M{x} {y}"]
    label = (0, 0)
    for step, place in enumerate((*passed, target)):
        to_x, to_y = round(centres[place]), y + GAP_Y
        middle = y + GAP_Y // 2
        parts.append(f"C{x} {middle} {to_x} {middle} {to_x} {to_y}")
        if step == 0:
            label = ((x + to_x) // 2, middle)
        x, y = to_x, to_y
        if place != target:
            y += HEIGHT
            parts.append(f"V{y}")
    return Line(source, target, " ".join(parts), *label)
