"""Random graphs, random outcomes and random orders, against a model of which steps must run."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from runner.states import State
from scheduler.flow_files import read
from scheduler.queues import Queue
from scheduler.workflows import Workflow
from tests.flow_facts import World

WORDS = ("success", "failure", "always")


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, Any]:
    """Steps of a workflow, each after some of those before it."""
    count = draw(st.integers(1, 8))
    steps: dict[str, Any] = {}
    for place in range(count):
        before = [f"s{other}" for other in range(place) if draw(st.booleans())]
        after = [{"step": name, "on": draw(st.sampled_from(WORDS))} for name in before]
        steps[f"s{place}"] = {"bot": "b", "after": after, "join": draw(st.sampled_from(("all", "any")))}
    return steps


def must_run(steps: dict[str, Any], well: dict[str, bool], name: str) -> bool:
    """The model: a step runs when its edges hold, by what becomes of the steps they come from."""
    step = steps[name]
    holds = [
        edge["on"] == "always"
        or (must_run(steps, well, edge["step"]) and well[edge["step"]] == (edge["on"] == "success"))
        for edge in step["after"]
    ]
    return not holds or (all(holds) if step["join"] == "all" else any(holds))


def running(world: World) -> list[tuple[str, int]]:
    return [
        (step, item)
        for step, items in world.facts.tries.items()
        for item, tries in items.items()
        if tries[-1].state == State.QUEUED
    ]


@settings(max_examples=300)
@given(graphs(), st.data())
def test_a_workflow_runs_the_steps_that_the_model_says_each_once(steps: dict[str, Any], data: st.DataObject) -> None:
    world = World(read(json.dumps({"steps": steps}).encode(), Workflow))
    well = {name: data.draw(st.booleans(), label=name) for name in steps}
    outlook = world.look()
    while jobs := running(world):
        step, _ = data.draw(st.sampled_from(sorted(jobs)))
        settled = {name: status.standing for name, status in outlook.steps.items() if status.settled}
        outlook = world.end(step, State.SUCCEEDED if well[step] else State.FAILED, reason="exit_code")
        assert all(outlook.steps[name].standing == then for name, then in settled.items()), "it stays settled"
    expected = {name for name in steps if must_run(steps, well, name)}
    assert {step for step, _, _ in world.begun} == expected
    assert len(world.begun) == len(expected)
    caught = {edge["step"] for step in steps.values() for edge in step["after"] if edge["on"] == "failure"}
    unhandled = {name for name in expected if not well[name]} - caught
    assert outlook.end is not None
    assert outlook.end.state == (State.FAILED if unhandled else State.SUCCEEDED)


@st.composite
def queues(draw: st.DrawFn) -> list[dict[str, Any]]:
    items = []
    for place in range(draw(st.integers(1, 7))):
        policy = draw(st.sampled_from(("stop", "continue", "retry")))
        more = {"retries": draw(st.integers(0, 2)), "delay": 0, "then": draw(st.sampled_from(("stop", "continue")))}
        item = {"bot": "b", "name": f"i{place}", "on_failure": policy, "parallel": draw(st.booleans())}
        items.append({**item, **(more if policy == "retry" else {})})
    return items


@settings(max_examples=300)
@given(queues(), st.data())
def test_a_queue_keeps_its_order_and_its_policies_however_jobs_end(
    items: list[dict[str, Any]], data: st.DataObject
) -> None:
    world = World(read(json.dumps({"items": items}).encode(), Queue))
    by_name = {item["name"]: item for item in items}
    names = list(by_name)
    world.look()
    outlook = world.look()
    while jobs := running(world):
        for step, _ in jobs:  # nothing runs while an item before it that is not parallel goes on or stopped the queue
            for earlier in names[: names.index(step)]:
                assert by_name[earlier]["parallel"] or earlier not in dict(jobs)
        step, _ = data.draw(st.sampled_from(sorted(jobs)))
        state = data.draw(st.sampled_from((State.SUCCEEDED, State.FAILED)))
        outlook = world.end(step, state, reason="exit_code")
    assert outlook.end is not None, world.standing()
    for name in names:
        tries = world.tries(name)
        allowed = by_name[name].get("retries", 0) + 1
        assert len(tries) <= allowed
        assert all(made.state == State.FAILED for made in tries[:-1])
    stopped = [
        name
        for name in names
        if world.tries(name)
        and world.tries(name)[-1].state == State.FAILED
        and by_name[name].get("then", by_name[name]["on_failure"]) == "stop"
    ]
    assert (outlook.end.state == State.FAILED) == bool(stopped)
    if not stopped:
        assert all(world.tries(name) for name in names)
