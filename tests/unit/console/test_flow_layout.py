"""The layout of graphs: rows, order, places, and as few crossings as can be."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.pages import flow_layout
from console.pages.flow_layout import GAP_X, HEIGHT, WIDTH, Drawing, drawing

DIAMOND = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    names = [f"s{number}" for number in range(draw(st.integers(1, 14)))]
    return {name: draw(st.lists(st.sampled_from(names[:at] or names[:1]), max_size=3)) for at, name in enumerate(names)}


def rows(found: Drawing) -> dict[str, int]:
    return {box.name: box.row for box in found.boxes}


@given(graphs())
def test_a_step_is_below_all_that_it_comes_after_and_touches_no_other(steps: dict[str, list[str]]) -> None:
    steps = {name: [each for each in after if each != name] for name, after in steps.items()}
    found = drawing(steps)
    places = rows(found)
    assert set(places) == set(steps)
    assert all(places[source] < places[name] for name, after in steps.items() for source in after)
    assert {(line.source, line.target) for line in found.lines} == {
        (source, name) for name, after in steps.items() for source in after
    }
    for row in set(places.values()):
        lefts = sorted(box.x for box in found.boxes if box.row == row)
        assert all(right - left >= WIDTH + GAP_X - 1 for left, right in pairwise(lefts))
    assert all(box.x >= 0 and box.x + WIDTH <= found.width for box in found.boxes)
    assert all(box.y + HEIGHT <= found.height for box in found.boxes)
    assert drawing(steps) == found, "the same graph has the same drawing"


@pytest.mark.parametrize(
    "steps",
    [
        DIAMOND,
        # Written in an order in which nearly every line would cross.
        {"r": [], "a": ["r"], "b": ["r"], "c": ["r"], "x": ["c"], "y": ["b"], "z": ["a"], "e": ["x", "y", "z"]},
        {"a": [], "b": [], "c": [], "d": ["c"], "e": ["b"], "f": ["a"]},
        {"a": [], "b": ["a"], "c": ["b"], "d": ["a", "c"], "e": ["a"]},
    ],
)
def test_what_can_be_drawn_without_a_crossing_is(steps: dict[str, list[str]]) -> None:
    after = flow_layout._acyclic(steps)
    edges = [(source, name) for name, sources in after.items() for source in sources]
    layers, above = flow_layout._layered(flow_layout._rows(after), edges)
    assert flow_layout.crossings(flow_layout._ordered(layers, above), above) == 0


def test_crossings_are_counted() -> None:
    above: dict[flow_layout.Place, list[flow_layout.Place]] = {"a": [], "b": [], "c": ["b"], "d": ["a"]}
    assert flow_layout.crossings([["a", "b"], ["c", "d"]], above) == 1
    assert flow_layout.crossings([["a", "b"], ["d", "c"]], above) == 0


def test_a_line_that_passes_a_row_is_led_beside_its_steps() -> None:
    found = drawing({"a": [], "b": ["a"], "c": ["a", "b"]})
    long = next(line for line in found.lines if line.source == "a" and line.target == "c")
    middle = next(box for box in found.boxes if box.name == "b")
    passing = [int(part.split()[0]) for part in long.path.split("C")[1].split(" ")[4:5]]
    assert passing
    assert not middle.x <= passing[0] <= middle.x + WIDTH


def test_steps_of_a_chain_stand_straight_below_each_other() -> None:
    found = {box.name: box.x for box in drawing({**DIAMOND, "e": ["d"], "f": ["e"]}).boxes}
    assert found["a"] == found["d"] == found["e"] == found["f"] == (found["b"] + found["c"]) / 2


def test_a_graph_that_is_half_written_is_drawn_all_the_same() -> None:
    assert rows(drawing({"a": ["nowhere"], "b": ["a", "a"]})) == {"a": 0, "b": 1}
    assert len(drawing({"a": ["b"], "b": ["a"]}).lines) == 1, "the line that closes a circle is left out"
    assert drawing({}).boxes == ()


def test_a_large_graph_is_drawn() -> None:
    steps = {f"s{number}": [f"s{max(0, number - 7)}"] if number else [] for number in range(200)}
    assert len(drawing(steps).boxes) == 200
