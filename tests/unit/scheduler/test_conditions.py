"""Conditions: declared comparisons, and what they make of things that cannot be compared."""

import pytest

from scheduler.conditions import Condition
from scheduler.expressions import JSON, Name, Refused

MISSING = object()


def holds(found: object, **asked: object) -> bool:
    def lookup(_name: Name) -> JSON:
        if found is MISSING:
            raise Refused("missing")
        return found  # type: ignore[return-value]

    return Condition.model_validate({"value": "{{STEP.a.x}}", **asked}).holds(lookup)


@pytest.mark.parametrize(
    ("found", "asked", "expected"),
    [
        (3, {"is": 3}, True),
        (3.0, {"is": 3}, True),
        (True, {"is": 1}, False),
        ("3", {"is": 3}, False),
        (3, {"is_not": 4}, True),
        (3, {"above": 2, "below": 4}, True),
        (3, {"above": 3}, False),
        (3, {"at_least": 3, "at_most": 3}, True),
        ("b", {"above": "a"}, True),
        ("b", {"above": 1}, False),
        (True, {"above": 0}, False),
        (None, {"at_most": 3}, False),
        ("invoice", {"contains": "voice"}, True),
        ([1, "x"], {"contains": "x"}, True),
        ([True], {"contains": 1}, False),
        ({"k": 1}, {"contains": "k"}, True),
        (3, {"contains": 3}, False),
        ("b", {"one_of": ["a", "b"]}, True),
        ("c", {"one_of": ["a", "b"]}, False),
        (False, {"exists": True}, True),
        (False, {"exists": False}, False),
        (MISSING, {"exists": False}, True),
        (MISSING, {"exists": True}, False),
        (MISSING, {"is_not": 3}, False),
        ("__import__('os')", {"is": "__import__('os')"}, True),
    ],
)
def test_a_comparison_holds_or_not(found: object, asked: dict[str, object], expected: bool) -> None:  # noqa: FBT001
    assert holds(found, **asked) is expected


def test_a_condition_needs_a_comparison_and_a_result() -> None:
    for wrong in ({"value": "{{STEP.a.x}}"}, {"value": "3", "is": 3}, {"value": "{{STEP.a.x}}", "eval": "1"}):
        with pytest.raises(ValueError, match=r"compares with nothing|names no result|Extra inputs"):
            Condition.model_validate(wrong)
