"""Queues, workflows and work items when runners and schedulers are killed: each step once, each item done once."""

import random
import signal
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.fault.staying import COUNTS, alone, counted, expire, frozen_scheduler
from tests.flow_system import Flows, tries
from tests.nursery import Program
from tests.support import wait_until
from tests.system import START_WITHIN, System, start_runner

pytestmark = pytest.mark.timeout(240)

#: Counts its step in a file, so that the file tells how often each was begun.
MARKS = """
import json, os
given = json.load(open(os.environ["BOTKEEP_PARAMETERS_FILE"]))
file = os.open(given["marks"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
os.write(file, (given["mark"] + "\\n").encode())
"""

#: Takes items of a tray: the first one that it ever holds it keeps until it is killed, the others it completes.
WORKS = """
import os, time, botkeep
given = botkeep.parameters()
for item in botkeep.work_items.each(given["tray"]):
    if not os.path.exists(given["held"]):
        open(given["held"], "w").write(item.id)
        while True:
            time.sleep(0.01)
    with item:
        file = os.open(given["marks"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(file, (item.reference + "\\n").encode())
"""


def test_a_queue_ends_though_its_runner_was_killed_in_the_middle_of_a_parallel_item(
    system: System, start: Start
) -> None:
    system.add_bot("counts", COUNTS, toml="retries = { runner_lost = 0 }\n")
    system.add_bot("quick", "print('quick')")
    flows, group, bot = Flows(system), alone("parallel"), counted(system)
    first = {"bot": "counts", "parallel": True, "on_failure": "continue", "parameters": bot.parameters}
    name = flows.save("queue", {"group": group, "items": [first, {"bot": "quick"}]})
    runner = start_runner(system, start, name=group, group=group)
    run_id = flows.start("queue", name)
    bot.begun()
    wait_until(lambda: flows.standing(run_id)["quick"] == "succeeded", 60, "the item beside it")
    with frozen_scheduler(system):  # it would go on as soon as another runner says how the item ended
        runner.stop(signal.SIGKILL)
        assert flows.run(run_id)["state"] == "running"
    expire(system, flows.job_of(run_id, "counts"))
    run = flows.wait(run_id)
    assert (run["state"], run["reason"]) == ("succeeded", "passed_over")
    (lost,) = (step for step in run["steps"] if step["name"] == "counts")
    assert (lost["state"], lost["reason"], bot.ran) == ("failed", "runner_lost", 1)


def test_schedulers_killed_at_random_make_each_step_once(system: System, start: Start, tmp_path: Path) -> None:
    system.add_bot("marks", MARKS)
    flows, marks, lot = Flows(system), tmp_path / "marks", random.Random(7)

    def step(mark: str, **more: object) -> dict[str, object]:
        return {"bot": "marks", "parameters": {"marks": str(marks), "mark": "{{RUN.run}}." + mark}, **more}

    given = {"run": {"required": True}}
    queue = flows.save(
        "queue", {"parameters": given, "items": [step(f"i{place}", name=f"i{place}") for place in range(3)]}
    )
    each = step("e", after="a", each=[1, 2])
    steps = {"a": step("a"), "e": each, "b": step("b", after="a"), "c": step("c", after=["e", "b"])}
    workflow = flows.save("workflow", {"parameters": given, "steps": steps})
    runs = [
        flows.start(kind, name, parameters={"run": f"{kind}{number}"})
        for number in range(10)
        for kind, name in (("queue", queue), ("workflow", workflow))
    ]
    for _ in range(4):
        one = start(Program("scheduler"), env=system.env, name="scheduler")
        one.wait_for("scheduler.ready", START_WITHIN)
        begun = len(marks.read_text().splitlines()) if marks.exists() else 0
        wanted = min(80, begun + lot.randint(1, 15))
        wait_until(partial(_reached, marks, wanted), 90, "progress")
        one.stop(signal.SIGKILL)
    ended = [flows.wait(run_id, timeout=120) for run_id in runs]
    assert {run["state"] for run in ended} == {"succeeded"}
    assert all(len(tries(run)) == len(set(tries(run))) == (3 if run["kind"] == "queue" else 5) for run in ended)
    lines = sorted(marks.read_text().splitlines())
    expected = [f"queue{number}.i{place}" for number in range(10) for place in range(3)]
    expected += [f"workflow{number}.{mark}" for number in range(10) for mark in ("a", "b", "c", "e", "e")]
    assert lines == sorted(expected)


def _reached(marks: Path, wanted: int) -> bool:
    return marks.exists() and len(marks.read_text().splitlines()) >= wanted


def test_what_a_killed_bot_held_goes_to_another_and_each_item_is_done_once(
    system: System, start: Start, tmp_path: Path
) -> None:
    system.add_bot("works", WORKS, toml="retries = { runner_lost = 0 }\n")
    group, tray = alone("works"), alone("tray")
    marks, held = tmp_path / "marks", tmp_path / "held"
    for number in range(6):
        body = {"tray": tray, "data": number, "reference": f"r{number}", "retry_delay": 0}
        assert system.client.post("/api/v1/work-items", json=body).status_code == 201
    given = {"tray": tray, "marks": str(marks), "held": str(held)}
    runner = start_runner(system, start, name=group, group=group)
    lost = system.enqueue("works", parameters=given, group=group)
    wait_until(held.exists, 60, "the bot to hold an item")
    wait_until(held.read_text, 10, "its id")
    item = system.client.get(f"/api/v1/work-items/{held.read_text()}").json()
    assert (item["state"], item["job_id"], item["tries"]) == ("reserved", lost, 1)
    others = [system.enqueue("works", parameters=given) for _ in range(3)]
    for job_id in others:
        assert system.wait_for(job_id, timeout=60)["state"] == "succeeded", system.log(job_id)
    assert len(marks.read_text().splitlines()) == 5, "what is held is nobody else's"
    runner.stop(signal.SIGKILL)
    expire(system, lost)
    assert system.wait_for(lost)["reason"] == "runner_lost"
    released = wait_until(lambda: _waiting(system, held.read_text()), 30, "the item to be released")
    assert released is not None
    assert released["reason"] == "released"
    assert system.wait_for(system.enqueue("works", parameters=given), timeout=60)["state"] == "succeeded"
    assert sorted(marks.read_text().splitlines()) == [f"r{number}" for number in range(6)]
    listed = system.client.get("/api/v1/work-items", params={"tray": tray}).json()["items"]
    assert {item["state"] for item in listed} == {"done"}


def _waiting(system: System, item_id: str) -> dict[str, object] | None:
    item: dict[str, object] = system.client.get(f"/api/v1/work-items/{item_id}").json()
    return item if item["state"] == "waiting" else None


def test_a_pause_and_a_cancellation_between_two_steps_are_obeyed_once(system: System) -> None:
    system.add_bot("counts", COUNTS)
    system.add_bot("quick", "print('quick')")
    flows, bot = Flows(system), counted(system)
    items = [{"bot": "counts", "parameters": bot.parameters}, {"bot": "quick"}]
    name = flows.save("queue", {"items": items})
    run_id = flows.start("queue", name)
    bot.begun()
    assert system.client.put(f"/api/v1/runs/{run_id}/pause").status_code == 200
    bot.gate.touch()
    wait_until(lambda: flows.standing(run_id)["counts"] == "succeeded", 60, "the first item to end")
    assert flows.standing(run_id)["quick"] == "waiting"
    assert system.client.delete(f"/api/v1/runs/{run_id}/pause").status_code == 200
    assert flows.wait(run_id)["state"] == "succeeded"
    second = counted(system)
    name = flows.save("queue", {"items": [{"bot": "counts", "parameters": second.parameters}, {"bot": "quick"}]})
    run_id = flows.start("queue", name)
    second.begun()
    assert system.client.post(f"/api/v1/runs/{run_id}/cancellation").status_code == 200
    run = flows.wait(run_id)
    assert run["state"] == "cancelled"
    assert tries(run) == [("counts", 0, 1)]


def test_a_run_goes_on_while_redis_is_away(system: System) -> None:
    system.add_bot("counts", COUNTS)
    system.add_bot("quick", "print('quick')")
    flows, bot = Flows(system), counted(system)
    name = flows.save("queue", {"items": [{"bot": "counts", "parameters": bot.parameters}, {"bot": "quick"}]})
    run_id = flows.start("queue", name)
    bot.begun()
    with system.without_redis():
        bot.gate.touch()
        wait_until(lambda: flows.standing(run_id)["quick"] == "queued", 60, "the next step, by the tick")
    assert flows.wait(run_id)["state"] == "succeeded"
