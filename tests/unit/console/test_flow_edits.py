"""Changes of a workflow by hand: each gives the text that says the same, or a sentence."""

from typing import Any

import pytest

from console.pages.complaints import by_field
from console.pages.flow_drawing import drawn
from console.pages.flow_edits import changed, tidied
from runner.errors import Invalid

GIVEN: dict[str, Any] = {
    "timeout": "8h",
    "steps": {
        "fetch": {"bot": "fetch"},
        "check": {"bot": "check", "after": "fetch", "parameters": {"n": "{{STEP.fetch.n}} of {{STEP.fetch-2.n}}"}},
        "tell": {"bot": "tell", "after": ["fetch", {"step": "check", "on": "failure"}]},
    },
}


def steps(verb: str, **given: str) -> dict[str, Any]:
    found: dict[str, Any] = changed(GIVEN, verb, given)["steps"]
    return found


def test_a_line_is_drawn_changed_and_taken_away() -> None:
    assert steps("connect", source="tell", target="fetch")["fetch"]["after"] == "tell"
    assert steps("connect", source="check", target="tell", on="always")["tell"]["after"] == [
        "fetch",
        {"step": "check", "on": "always"},
    ]
    assert steps("connect", source="check", target="tell")["tell"]["after"] == ["fetch", "check"]
    assert steps("disconnect", source="check", target="tell")["tell"]["after"] == "fetch"
    assert "after" not in steps("disconnect", source="fetch", target="check")["check"]
    assert "after" not in GIVEN["steps"]["fetch"], "what was given stays as it was"


def test_a_condition_of_a_line_is_kept_when_its_word_changes() -> None:
    edge = {"step": "a", "when": {"value": "{{STEP.a.n}}", "above": 1}}
    table = {"steps": {"a": {"bot": "x"}, "b": {"bot": "x", "after": [edge]}}}
    found = changed(table, "connect", {"source": "a", "target": "b", "on": "failure"})
    assert found["steps"]["b"]["after"] == [{**edge, "on": "failure"}]


def test_a_step_is_added_removed_and_renamed_with_all_that_names_it() -> None:
    assert steps("add", bot="fetch", source="tell")["fetch-2"] == {"bot": "fetch", "after": "tell"}
    assert steps("add", bot="4 eyes!", name="look")["look"] == {"bot": "4 eyes!"}
    assert list(steps("add", bot="4 eyes!"))[-1] == "_4_eyes_"
    gone = steps("remove", step="fetch")
    assert (list(gone), "after" in gone["check"], gone["tell"]["after"]) == (
        ["check", "tell"],
        False,
        [{"step": "check", "on": "failure"}],
    )
    renamed = steps("rename", step="fetch", name="get")
    assert list(renamed) == ["get", "check", "tell"]
    assert renamed["check"] == {
        "bot": "check",
        "after": "get",
        "parameters": {"n": "{{STEP.get.n}} of {{STEP.fetch-2.n}}"},
    }
    assert renamed["tell"]["after"][0] == "get"


@pytest.mark.parametrize(
    ("verb", "given", "field"),
    [
        ("explode", {}, "change"),
        ("add", {}, "bot"),
        ("add", {"bot": "x", "name": "fetch"}, "name"),
        ("add", {"bot": "x", "name": "1"}, "name"),
        ("connect", {"source": "fetch", "target": "fetch"}, "target"),
        ("connect", {"source": "no", "target": "fetch"}, "source"),
        ("connect", {"source": "fetch", "target": "check", "on": "luck"}, "on"),
        ("disconnect", {"source": "tell", "target": "check"}, "source"),
        ("remove", {"step": "no"}, "step"),
        ("rename", {"step": "fetch", "name": "check"}, "name"),
    ],
)
def test_a_change_that_cannot_be_made_names_the_field(verb: str, given: dict[str, str], field: str) -> None:
    with pytest.raises(Invalid, match=f"^{field}: "):
        changed(GIVEN, verb, given)


def test_steps_that_are_no_tables_are_refused() -> None:
    with pytest.raises(Invalid, match=r"^steps: "):
        changed({"steps": ["a"]}, "remove", {"step": "a"})


def test_what_is_drawn_says_what_it_is() -> None:
    graph = drawn(tidied(GIVEN)["steps"], {"fetch": "running"})
    words = [node.words for node in graph.nodes]
    assert words[0] == "fetch runs fetch, running"
    assert {(edge.line.source, edge.line.target): edge.label for edge in graph.edges}["check", "tell"] == "on failure"


def test_each_sentence_stands_beside_its_field() -> None:
    fields = ["connection", "schedule.cron", "schedule", "password", "steps"]
    said = "`connection` must be text. schedule: cron: it has no day. steps.a.bot: there is no bot. Look elsewhere."
    found = by_field(said, ["connection", "schedule.cron", "steps"])
    assert found["schedule.cron"].startswith("schedule: cron:")
    assert found["steps"].startswith("steps.a.bot:")
    assert found["connection"] == "`connection` must be text."
    unknown = "The reference {{ASSET.A.B}} names the asset A.B, which does not exist."
    assert by_field(unknown, fields, {"password": "x{{ASSET.A.B}}"}) == {"password": unknown}
    assert by_field("Nothing works.", fields) == {"": "Nothing works."}
