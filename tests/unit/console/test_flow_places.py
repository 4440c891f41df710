"""Where people put the steps of a workflow: kept as they stand, with room for those that come later."""

from itertools import combinations

import pytest

from console.pages import flow_layout, flow_places
from console.pages.flow_layout import HEIGHT, MARGIN, WIDTH
from console.pages.flow_places import moved, placed, read, written
from runner.errors import Invalid

STEPS = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}


def places_of(drawing: flow_layout.Drawing) -> flow_places.Places:
    return {box.name: (box.x, box.y) for box in drawing.boxes}


def apart(places: flow_places.Places) -> bool:
    pairs = combinations(places.values(), 2)
    return all(abs(x - to_x) >= WIDTH or abs(y - to_y) >= HEIGHT for (x, y), (to_x, to_y) in pairs)


def test_what_nobody_moved_is_laid_out_as_ever() -> None:
    assert placed(STEPS, {}) == flow_layout.drawing(STEPS)
    assert placed(STEPS, {"gone": (1, 2)}) == flow_layout.drawing(STEPS)


def test_a_step_stays_where_it_is_put_and_so_do_the_others() -> None:
    before = places_of(placed(STEPS, {}))
    after = moved({}, STEPS, {"step": "b", "x": "600", "y": "400"})
    assert after == before | {"b": (600, 400)}
    drawing = placed(STEPS, after)
    assert places_of(drawing) == after
    assert drawing.width == 600 + WIDTH + MARGIN
    (line,) = [each for each in drawing.lines if each.target == "b"]
    assert line.path.endswith(f" {600 + WIDTH // 2} 400")
    assert read(written(after)) == after
    assert (written({}), read("")) == ("", {})


def test_a_step_that_is_dropped_near_the_line_of_another_stands_on_it() -> None:
    before = places_of(placed(STEPS, {}))
    after = moved({}, STEPS, {"step": "d", "x": str(before["c"][0] + flow_places.NEAR), "y": "500"})
    assert after["d"] == (before["c"][0], 500)
    after = moved({}, STEPS, {"step": "d", "x": "900", "y": str(before["c"][1] - flow_places.NEAR - 1)})
    assert after["d"] == (900, before["c"][1] - flow_places.NEAR - 1)


def test_a_step_that_is_moved_out_of_the_drawing_takes_it_along() -> None:
    after = moved({}, STEPS, {"step": "a", "x": "-100", "y": "-60"})
    assert min(x for x, _ in after.values()) == min(y for _, y in after.values()) == MARGIN
    start = moved({}, STEPS, {"step": "d", "direction": "down"})
    again = moved(start, STEPS, {"step": "d", "direction": "up"})
    assert again["d"][1] == start["d"][1] - (HEIGHT + flow_layout.GAP_Y) // 2


def test_new_steps_stand_below_what_they_come_after_and_on_nobody() -> None:
    places = moved({}, STEPS, {"step": "a", "x": "600", "y": "100"})
    more = STEPS | {"e": ["a"], "f": ["a"], "g": [], "h": ["g"]}
    found = places_of(placed(more, places))
    assert {name: found[name] for name in STEPS} == places
    assert found["e"][1] > found["a"][1]
    assert found["h"][1] > found["g"][1]
    assert apart({name: found[name] for name in "efgh"} | places)


@pytest.mark.parametrize("wrong", ["[", "[]", "1", '{"a": 1}', '{"a": [1, "2"]}', '{"a": [true, 2]}', "[" * 9000])
def test_places_that_are_none_are_refused(wrong: str) -> None:
    with pytest.raises(Invalid, match="places"):
        read(wrong)
    assert read('{"a": [-5, 99999999]}') == {"a": (0, flow_places.FARTHEST)}
    with pytest.raises(Invalid, match="characters"):
        read(" " * (flow_places.LONGEST + 1))


@pytest.mark.parametrize(
    ("given", "field"),
    [({"step": "z"}, "step"), ({"step": "a", "x": "1"}, "x"), ({"step": "a", "direction": "away"}, "direction")],
)
def test_a_move_that_cannot_be_is_refused_by_its_field(given: dict[str, str], field: str) -> None:
    with pytest.raises(Invalid, match=f"^{field}:"):
        moved({}, STEPS, given)
