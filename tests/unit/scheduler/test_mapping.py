"""From events to parameters; pure."""

import pytest

from runner.errors import Invalid
from scheduler import mapping

EVENT = {"a": {"b": [10, {"c~d": "x", "e/f": "y", "": "z"}]}, "n": None}


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/a/b/0", 10),
        ("/a/b/1/c~0d", "x"),
        ("/a/b/1/e~1f", "y"),
        ("/a/b/1/", "z"),
        ("/n", None),
        ("", EVENT),
        ("/a/b", EVENT["a"]["b"]),  # type: ignore[index]
    ],
)
def test_a_pointer_finds_its_value(pointer: str, value: object) -> None:
    assert mapping.parameters({"P": pointer}, EVENT) == {"P": value}


@pytest.mark.parametrize("pointer", ["/x", "/a/b/2", "/a/b/-1", "/a/b/x", "/a/b/0/y", "/n/x", "/a/b/٣"])
def test_a_pointer_that_finds_nothing_is_named(pointer: str) -> None:
    with pytest.raises(Invalid, match=r"parameters_from\.P: the event has nothing"):
        mapping.parameters({"P": pointer}, EVENT)


@pytest.mark.parametrize(
    "text", ["{{ASSET.A.B}}", "x {{ASSET.A.B}} y", "secret://A/B", "roboto-secret://a", "{{ ASSET.broken", "{{ASSET.A"]
)
def test_text_that_looks_like_a_reference_is_refused_wherever_it_stands(text: str) -> None:
    for event in (text, [text], {"deep": [{"er": text}]}):
        with pytest.raises(Invalid, match="looks like a reference"):
            mapping.parameters({"P": "/e"}, {"e": event})


def test_other_text_in_braces_is_only_text() -> None:
    assert mapping.parameters({"P": "/e"}, {"e": "{{name}} and secret://a/b/c d"}) != {}


@pytest.mark.parametrize(("document", "deep"), [("x", 0), ([], 1), ({"a": [1]}, 2), ([[[]]], 3)])
def test_depth_counts_lists_and_objects(document: object, deep: int) -> None:
    assert mapping.depth(document) == deep


def test_depth_stops_counting_above_the_bound() -> None:
    document: list[object] = []
    for _ in range(100):
        document = [document]
    assert mapping.depth(document) == mapping.MAX_DEPTH + 1


@pytest.mark.parametrize(("document", "holds"), [("a\0", 1), ({"a\0": 1}, 1), ("\\u0000", 0), ("\\\0", 1), ("ok", 0)])
def test_nul_is_found_and_its_spelling_is_not(document: object, holds: int) -> None:
    assert mapping.holds_nul(document) == bool(holds)
