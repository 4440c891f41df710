"""Workflows: which steps start, are skipped and fail, and what is handed on."""

import json
from dataclasses import replace
from typing import Any

import pytest

from runner.states import State
from scheduler.flow_files import DefinitionInvalid, from_json, read, stored
from scheduler.outlook import Answer
from scheduler.workflows import Workflow
from tests.flow_facts import BEGIN, World


def workflow(steps: dict[str, Any], **more: Any) -> World:  # noqa: ANN401 - JSON
    return World(read(json.dumps({"steps": steps, **more}).encode(), Workflow))


def begun(world: World) -> list[str]:
    return [step for step, _, _ in world.begun]


def test_edges_on_success_failure_and_always_go_their_ways() -> None:
    steps = {
        "a": {"bot": "a"},
        "good": {"bot": "b", "after": "a"},
        "bad": {"bot": "b", "after": [{"step": "a", "on": "failure"}]},
        "tidy": {"bot": "b", "after": [{"step": "good", "on": "always"}]},
    }
    world = workflow(steps)
    world.look()
    world.end("a", State.FAILED)
    assert world.standing() == {"a": "failed", "good": "skipped", "bad": "queued", "tidy": "queued"}
    world.end("bad")
    end = world.end("tidy").end
    assert end is not None
    assert end.state == State.SUCCEEDED, "the failure was taken care of"


def test_a_failure_that_nobody_takes_care_of_fails_the_run() -> None:
    world = workflow({"a": {"bot": "a"}, "tidy": {"bot": "b", "after": [{"step": "a", "on": "always"}]}})
    world.look()
    world.end("a", State.FAILED)
    end = world.end("tidy").end
    assert end is not None
    assert (end.state, end.detail) == (State.FAILED, "a failed.")


@pytest.mark.parametrize(("join", "after_one"), [("all", "waiting"), ("any", "queued")])
def test_a_join_waits_for_all_or_starts_with_the_first(join: str, after_one: str) -> None:
    world = workflow({"a": {"bot": "a"}, "b": {"bot": "b"}, "c": {"bot": "c", "after": ["a", "b"], "join": join}})
    world.look()
    world.end("a")
    assert world.standing()["c"] == after_one
    world.end("b")
    assert begun(world).count("c") == 1


def test_conditions_choose_the_branch_by_a_result() -> None:
    big = [{"step": "a", "when": {"value": "{{STEP.a.total}}", "above": 1000}}]
    small = [{"step": "a", "when": {"value": "{{STEP.a.total}}", "at_most": 1000}}]
    world = workflow({"a": {"bot": "a"}, "big": {"bot": "b", "after": big}, "small": {"bot": "b", "after": small}})
    world.look()
    outlook = world.end("a", results={"total": 1001})
    assert world.standing() == {"a": "succeeded", "big": "queued", "small": "skipped"}
    assert outlook.steps["small"].detail == "{{STEP.a.total}} at_most 1000 does not hold."


def test_a_result_becomes_a_parameter_as_it_is() -> None:
    step = {"bot": "b", "after": "a", "parameters": {"rows": "{{STEP.a.rows}}", "text": "n={{STEP.a.n}}"}}
    world = workflow({"a": {"bot": "a"}, "b": step})
    world.look()
    *_, last = world.tries("a")
    facts = replace(
        world.facts,
        tries={"a": {0: [replace(last, state=State.SUCCEEDED, results={"rows": [1, {"x": None}], "n": 2})]}},
    )
    (made,) = world.definition.look(facts).dispatches
    assert made.parameters == {"rows": [1, {"x": None}], "text": "n=2"}


@pytest.mark.parametrize(
    ("parameter", "result"),
    [
        ("{{STEP.a.x}}", "{{ASSET.SAP.PASSWORD}}"),
        ("{{STEP.a.x}}", {"deep": ["secret://SAP/PASSWORD"]}),
        ("to {{STEP.a.x}}", "{{ASSET.SAP.PASSWORD}}"),
        ("{{ASSET.{{STEP.a.x}}.PASSWORD}}", "SAP"),
        ("{{STEP.a.x}}://SAP/PASSWORD", "secret"),
        ("{{STEP.a.x}}ASSET.SAP.PASSWORD}}", "{{"),
    ],
)
def test_a_result_never_becomes_a_reference_to_an_asset(parameter: str, result: object) -> None:
    world = workflow({"a": {"bot": "a"}, "b": {"bot": "b", "after": "a", "parameters": {"x": parameter}}})
    world.look()
    outlook = world.end("a", results={"x": result})
    assert outlook.steps["b"].standing == "failed"
    assert "reference to an asset" in (outlook.steps["b"].detail or "")
    assert outlook.end is not None


def test_a_reference_of_the_definition_stays_beside_a_result() -> None:
    parameters = {"x": "{{STEP.a.user}}:{{ASSET.SAP.PASSWORD}}"}
    world = workflow({"a": {"bot": "a"}, "b": {"bot": "b", "after": "a", "parameters": parameters}})
    world.look()
    world.end("a", results={"user": "ann"})
    assert world.standing()["b"] == "queued"


def test_a_result_that_is_missing_fails_the_step_and_says_which() -> None:
    world = workflow({"a": {"bot": "a"}, "b": {"bot": "b", "after": "a", "parameters": {"x": "{{STEP.a.rows}}"}}})
    world.look()
    outlook = world.end("a")
    assert outlook.steps["b"].detail == "{{STEP.a.rows}} names a result that a did not give."


def fan_out(**more: Any) -> World:  # noqa: ANN401 - JSON
    each = {"bot": "b", "after": "a", "each": "{{STEP.a.rows}}", "parameters": {"x": "{{ITEM}}"}, **more}
    sums = {"bot": "c", "after": "b", "parameters": {"all": "{{STEP.b.y}}"}}
    world = workflow({"a": {"bot": "a"}, "b": each, "c": sums})
    world.look()
    return world


def test_a_fan_out_makes_a_job_for_each_element_so_many_at_a_time() -> None:
    world = fan_out(width=2)
    world.end("a", results={"rows": [1, 2, 3]})
    assert world.begun[1:] == [("b", 0, 1), ("b", 1, 1)]
    world.end("b", item=1, results={"y": "two"})
    assert world.begun[3:] == [("b", 2, 1)]
    world.end("b", item=0, results={"y": "one"})
    outlook = world.definition.look(world.facts)
    assert outlook.steps["b"].standing == "running"
    world.end("b", item=2)
    assert world.standing()["c"] == "queued"
    assert [tries[-1].results.get("y") for _, tries in sorted(world.facts.tries["b"].items())] == ["one", "two", None]


def test_a_fan_out_fails_when_one_element_failed_and_all_have_ended() -> None:
    world = fan_out()
    world.end("a", results={"rows": [1, 2]})
    world.end("b", State.FAILED, item=0)
    assert world.standing()["b"] == "running"
    outlook = world.end("b", item=1)
    assert outlook.steps["b"].detail is not None
    assert outlook.steps["b"].detail.startswith("1 of 2 failed")


@pytest.mark.parametrize(("rows", "state"), [([], "succeeded"), ("text", "failed"), ([1] * 101, "failed")])
def test_a_fan_out_over_nothing_succeeds_and_over_too_much_or_no_list_fails(rows: object, state: str) -> None:
    world = fan_out()
    world.end("a", results={"rows": rows})
    assert world.standing()["b"] == state


APPROVAL = {"a": {"approval": {"expires": "1h"}}, "b": {"bot": "b", "after": "a"}}


def test_an_approval_is_asked_in_prod_and_waits_for_the_answer() -> None:
    world = workflow(APPROVAL)
    world.facts = replace(world.facts, environment="prod")
    assert world.standing() == {"a": "approval", "b": "waiting"}
    answer = Answer(BEGIN, allowed=True, by="ann")
    world.facts = replace(world.facts, answers={"a": answer})
    assert world.standing() == {"a": "succeeded", "b": "queued"}


@pytest.mark.parametrize("environment", ["dev", "staging"])
def test_an_approval_is_not_asked_elsewhere(environment: str) -> None:
    world = workflow(APPROVAL)
    world.facts = replace(world.facts, environment=environment)
    assert world.standing() == {"a": "succeeded", "b": "queued"}


def test_a_refused_and_an_expired_approval_fail_the_step() -> None:
    world = workflow(APPROVAL)
    world.facts = replace(world.facts, environment="prod")
    world.look()
    assert world.later(minutes=59).steps["a"].standing == "approval"
    outlook = world.later(minutes=1)
    assert (outlook.steps["a"].standing, outlook.steps["a"].reason) == ("failed", "expired")
    world.facts = replace(world.facts, answers={"a": Answer(BEGIN, allowed=False, by="ann", comment="no")})
    assert world.look().steps["a"].detail == "Refused by ann: no"


def test_a_definition_is_the_same_after_it_was_stored() -> None:
    when = {"value": "{{STEP.a.n}}", "is": 3, "one_of": [1, 3]}
    steps = {**APPROVAL, "c": {"bot": "c", "after": [{"step": "b", "when": when}]}}
    definition = workflow(steps, timeout="2h").definition
    assert from_json(json.loads(json.dumps(stored(definition))), Workflow) == definition


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ({}, "steps"),
        ({"a": {}}, "steps.a: it needs a bot or an approval"),
        ({"a": {"bot": "x", "approval": {}}}, "steps.a: it needs a bot or an approval"),
        ({"a": {"approval": {}, "retries": 1}}, "steps.a: it is an approval"),
        (
            {"a": {"bot": "x"}, "b": {"bot": "x", "after": "aa"}},
            "steps.b.after: there is no step 'aa'; did you mean 'a'",
        ),
        ({"a": {"bot": "x", "after": "a"}}, "steps.a.after: it waits for itself: a after a"),
        (
            {"a": {"bot": "x", "after": "c"}, "b": {"bot": "x", "after": "a"}, "c": {"bot": "x", "after": "b"}},
            "it waits for itself: a after c after b after a",
        ),
        ({"a": {"bot": "x"}, "b": {"bot": "x", "after": ["a", "a"]}}, "steps.b.after: it names a step twice"),
        ({"a": {"bot": "x", "parameters": {"p": "{{STEP.b.y}}"}}, "b": {"bot": "x"}}, "does not come before"),
        ({"a": {"bot": "x", "parameters": {"p": "{{STEP.no.y}}"}}}, "steps.a.parameters: {{STEP.no.y}}"),
        ({"a": {"bot": "x", "parameters": {"p": "{{ITEM}}"}}}, "with `each` only"),
        ({"a": {"bot": "x", "each": 3}}, "steps.a: it has an `each`"),
        ({"a": {"bot": "x"}, "b": {"bot": "x", "after": [{"step": "a", "when": {"value": "{{STEP.a.n}}"}}]}}, "when"),
        ({"a": {"approval": {"role": "viewer"}}}, "steps.a.approval.role"),
        ({"1a": {"bot": "x"}}, "steps.1a"),
    ],
)
def test_a_graph_that_cannot_run_is_refused_by_its_field(steps: object, words: str) -> None:
    with pytest.raises(DefinitionInvalid) as caught:
        read(json.dumps({"steps": steps}).encode(), Workflow)
    assert words in str(caught.value)
