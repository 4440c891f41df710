"""Queues: what is begun after what, for each policy."""

from dataclasses import replace

import pytest

from runner.states import State
from scheduler.flow_files import DefinitionInvalid, read
from scheduler.queues import Queue
from tests.flow_facts import World


def queue(*items: str) -> World:
    text = "\n".join(f"[[items]]\n{item}" for item in items)
    return World(read(text.encode(), Queue))


def begun(world: World) -> list[str]:
    return [f"{step}.{number}" if number > 1 else step for step, _, number in world.begun]


def test_items_run_one_after_the_other_and_the_queue_ends_with_the_last() -> None:
    world = queue('bot = "a"', 'bot = "b"', 'bot = "a"')
    world.look()
    assert begun(world) == ["a"]
    assert world.end("a").end is None
    assert begun(world) == ["a", "b"]
    world.end("b")
    end = world.end("a-2").end
    assert end is not None
    assert end.state == State.SUCCEEDED


def test_a_failure_stops_the_queue_and_says_which_item_it_was() -> None:
    world = queue('bot = "a"', 'bot = "b"')
    world.look()
    outlook = world.end("a", State.FAILED, reason="exit_code")
    assert outlook.end is not None
    assert (outlook.end.state, outlook.end.detail) == (State.FAILED, "a failed.")
    assert outlook.steps["b"].detail == "a failed, which stops the queue."
    assert begun(world) == ["a"]


def test_a_failure_that_is_passed_over_is_named_at_the_end() -> None:
    world = queue('bot = "a"\non_failure = "continue"', 'bot = "b"')
    world.look()
    world.end("a", State.FAILED)
    end = world.end("b").end
    assert end is not None
    assert (end.state, end.reason) == (State.SUCCEEDED, "passed_over")


@pytest.mark.parametrize(("then", "follows"), [("stop", []), ("continue", ["b"])])
def test_an_item_is_retried_after_its_pause_and_then_does_what_it_says(then: str, follows: list[str]) -> None:
    world = queue(f'bot = "a"\non_failure = "retry"\nretries = 1\ndelay = "30s"\nthen = "{then}"', 'bot = "b"')
    world.look()
    outlook = world.end("a", State.FAILED, reason="exit_code")
    assert outlook.again_at is not None
    assert begun(world) == ["a"], "the pause"
    world.later(seconds=29)
    assert begun(world) == ["a"]
    world.later(seconds=1)
    assert begun(world) == ["a", "a.2"]
    world.end("a", State.FAILED, reason="exit_code")
    assert begun(world) == ["a", "a.2", *follows]


@pytest.mark.parametrize(("state", "reason"), [(State.FAILED, "business"), (State.CANCELLED, "cancelled")])
def test_wrong_data_and_a_cancelled_job_are_not_retried(state: State, reason: str) -> None:
    world = queue('bot = "a"\non_failure = "retry"\ndelay = "0s"')
    world.look()
    assert world.end("a", state, reason=reason).end is not None
    assert begun(world) == ["a"]


def test_a_parallel_item_does_not_hold_up_the_next_but_the_queue_waits_for_it() -> None:
    world = queue('bot = "a"\nparallel = true', 'bot = "b"', 'bot = "c"')
    world.look()
    assert begun(world) == ["a", "b"]
    world.end("b")
    assert world.end("c").end is None
    assert world.end("a").end is not None


def test_a_parallel_item_that_fails_stops_what_has_not_begun() -> None:
    world = queue('bot = "a"\nparallel = true', 'bot = "b"', 'bot = "c"')
    world.look()
    world.end("a", State.FAILED)
    outlook = world.end("b")
    assert outlook.end is not None
    assert outlook.end.state == State.FAILED
    assert begun(world) == ["a", "b"]


def test_a_pause_lets_the_running_bot_finish_and_then_waits() -> None:
    world = queue('bot = "a"', 'bot = "b"')
    world.look()
    world.facts = replace(world.facts, paused=True)
    assert world.end("a").end is None
    assert begun(world) == ["a"]
    world.facts = replace(world.facts, paused=False)
    world.look()
    assert begun(world) == ["a", "b"]


def test_a_cancelled_queue_ends_when_what_runs_has_ended() -> None:
    world = queue('bot = "a"', 'bot = "b"')
    world.look()
    world.facts = replace(world.facts, ending="cancelled")
    assert world.look().end is None
    end = world.end("a", State.CANCELLED).end
    assert end is not None
    assert end.state == State.CANCELLED
    assert begun(world) == ["a"]


def test_a_job_whose_time_is_up_is_overdue_and_counts_as_failed() -> None:
    world = queue('bot = "a"\ntimeout = "1m"\non_failure = "retry"\nretries = 1\ndelay = "0s"')
    assert world.look().overdue == []
    assert len(world.later(seconds=60).overdue) == 1
    world.end("a", State.CANCELLED)
    assert begun(world) == ["a", "a.2"], "a time limit is no person who cancels"


def test_parameters_come_from_the_run_and_references_to_assets_stay() -> None:
    text = b'[parameters.month]\nrequired = true\n[[items]]\nbot = "a"\n[items.parameters]\n'
    text += b'when = "{{RUN.month}}"\nbefore = "<{{RUN.month}}>"\nkey = "{{ASSET.SAP.KEY}}"'
    world = World(read(text, Queue))
    world.facts = replace(world.facts, parameters={"month": 8})
    (made,) = world.definition.look(world.facts).dispatches
    assert made.parameters == {"when": 8, "before": "<8>", "key": "{{ASSET.SAP.KEY}}"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "items: it is required"),
        ("items = []", "items"),
        ('[[items]]\nbot = "a"\nretries = 2', "items.0: it has retries"),
        ('[[items]]\nbot = "a"\non_failure = "ignore"', "items.0.on_failure"),
        ('[[items]]\nbot = "a"\nname = "x"\n[[items]]\nbot = "b"\nname = "x"', "the name 'x'"),
        ('[[items]]\nbot = "a"\ntimeuot = "1m"', "items.0.timeuot: there is no such key"),
        ('environment = "live"\n[[items]]\nbot = "a"', "environment: it must be one of dev"),
        ('[[items]]\nbot = "a"\nparameters = { x = "{{RUN.y}}" }', "items.0.parameters: {{RUN.y}} names a parameter"),
        ('[[items]]\nbot = "a"\nparameters = { x = "{{STEP.b.y}}" }', "items.0.parameters: {{STEP.b.y}}"),
        ('[[items]]\nbot = "a"\nparameters = { x = "{{ RUN.y }}" }', "is no expression"),
        ('{"items": [{"bot": "a"', "not valid JSON"),
        ("items = [", "not valid TOML"),
    ],
)
def test_a_definition_that_cannot_be_used_is_refused_by_its_field(text: str, words: str) -> None:
    with pytest.raises(DefinitionInvalid) as caught:
        read(text.encode(), Queue)
    assert words in str(caught.value)
