"""Where people put the steps of a workflow: read from a form, moved, and drawn; pure.

A drawing that nobody arranged is laid out by `flow_layout`; once a step was moved, every step has a place of its own,
and steps that come later stand below what they come after, where nothing else is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from console.pages import flow_layout
from console.pages.flow_layout import GAP_X, GAP_Y, HEIGHT, MARGIN, WIDTH, Box, Drawing, Line
from runner.errors import Invalid

#: Left upper corners by step.
Places: TypeAlias = dict[str, tuple[int, int]]

#: How far a step may be from the corner, in units of the drawing; a workflow has at most some hundred steps.
FARTHEST = 40_000

#: Characters that say the places of a workflow's steps.
LONGEST = 200_000

#: A step that is dropped this near to the line of another one stands on it, so that what looks aligned is.
NEAR = 6

#: What a step is moved by at once without a pointer: half of what lies between two steps.
DIRECTIONS = {
    "left": (-(WIDTH + GAP_X) // 2, 0),
    "right": ((WIDTH + GAP_X) // 2, 0),
    "up": (0, -(HEIGHT + GAP_Y) // 2),
    "down": (0, (HEIGHT + GAP_Y) // 2),
}


def read(text: str) -> Places:
    """The places in a form's field; none where it is empty.

    Raises:
        Invalid: for what `written` could not have given.
    """
    if not text:
        return {}
    if len(text) > LONGEST:
        raise Invalid(f"places: they may have {LONGEST:,} characters.")
    try:
        places = {name: (_whole(x), _whole(y)) for name, (x, y) in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise Invalid("places: they must be a JSON object of a pair of numbers for each step.") from None
    return places


def written(places: Mapping[str, tuple[int, int]]) -> str:
    """The places as the form's field has them."""
    return json.dumps(places, separators=(",", ":")) if places else ""


def moved(
    places: Mapping[str, tuple[int, int]], steps: Mapping[str, Sequence[str]], given: Mapping[str, str]
) -> Places:
    """The places after a step was moved to `x` and `y`, or by one to the `direction`.

    Raises:
        Invalid: naming the field.
    """
    name = given.get("step", "")
    if name not in steps:
        raise Invalid(f"step: there is no step {name[:60]!a}.")
    all_of_them = {box.name: (box.x, box.y) for box in placed(steps, places).boxes}
    x, y = all_of_them[name]
    if "x" in given:
        try:
            x, y = int(given["x"]), int(given.get("y", ""))
        except ValueError:
            raise Invalid("x: the place must be two whole numbers.") from None
        others = [place for other, place in all_of_them.items() if other != name]
        x, y = _aligned(x, [left for left, _ in others]), _aligned(y, [top for _, top in others])
    elif (direction := given.get("direction", "")) in DIRECTIONS:
        x, y = x + DIRECTIONS[direction][0], y + DIRECTIONS[direction][1]
    else:
        raise Invalid(f"direction: it must be one of {', '.join(DIRECTIONS)}.")
    return _within(all_of_them | {name: (max(-FARTHEST, min(FARTHEST, x)), max(-FARTHEST, min(FARTHEST, y)))})


def placed(steps: Mapping[str, Sequence[str]], places: Mapping[str, tuple[int, int]]) -> Drawing:
    """The drawing of steps, each with those that it comes after, with these at their places."""
    usual = flow_layout.drawing(steps)
    known = {name: place for name, place in places.items() if name in steps}
    if not known:
        return usual
    for box in usual.boxes:
        if box.name not in known:
            above = [known[source] for source in steps[box.name] if source in known]
            known[box.name] = _free(known, above)
    known = _within(known)
    boxes = tuple(Box(box.name, *known[box.name], box.row) for box in usual.boxes)
    lines = tuple(_line(line.source, line.target, known[line.source], known[line.target]) for line in usual.lines)
    right, bottom = max(x for x, _ in known.values()), max(y for _, y in known.values())
    return Drawing(right + WIDTH + MARGIN, bottom + HEIGHT + MARGIN, boxes, lines)


def _whole(number: object) -> int:
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError("a place is whole numbers")
    return max(0, min(FARTHEST, number))


def _aligned(length: int, others: Sequence[int]) -> int:
    """The nearest of the others where one is near, else the length itself."""
    nearest = min(others, key=lambda other: abs(other - length), default=length)
    return nearest if abs(nearest - length) <= NEAR else length


def _within(places: Places) -> Places:
    """Everything moved right and down where a step would stand outside of the drawing."""
    left = min(0, *(x - MARGIN for x, _ in places.values()))
    top = min(0, *(y - MARGIN for _, y in places.values()))
    return {name: (x - left, y - top) for name, (x, y) in places.items()} if left or top else places


def _free(known: Places, above: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """A place below these, or below everything, where nothing stands."""
    if above:
        x, y = above[0][0], max(top for _, top in above) + HEIGHT + GAP_Y
    else:
        x, y = MARGIN, max(top for _, top in known.values()) + HEIGHT + GAP_Y
    while any(
        abs(x - left) < WIDTH + GAP_X // 2 and abs(y - top) < HEIGHT + GAP_Y // 4 for left, top in known.values()
    ):
        x += WIDTH + GAP_X
    return x, y


def _line(source: str, target: str, begin: tuple[int, int], end: tuple[int, int]) -> Line:
    """A line from the foot of one step to the head of another, wherever they stand."""
    x, y, to_x, to_y = begin[0] + WIDTH // 2, begin[1] + HEIGHT, end[0] + WIDTH // 2, end[1]
    bend = max(GAP_Y // 2, abs(to_y - y) // 2)
    path = f"M{x} {y} C{x} {y + bend} {to_x} {to_y - bend} {to_x} {to_y}"
    return Line(source, target, path, (x + to_x) // 2, (y + to_y) // 2)
