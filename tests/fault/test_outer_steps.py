"""Consoles and schedulers are killed before and after each of their steps; what was accepted ends once."""

import hashlib
import hmac
import signal
import socket
import uuid
from collections.abc import Iterable, Iterator

import httpx
import pytest
from sqlalchemy import func, select

from runner import jobs
from runner.models import Job
from tests.conftest import Start
from tests.fault.staying import COUNTS, alone, assert_ran_once, counted, expire, frozen_scheduler
from tests.nursery import Program
from tests.support import Started, wait_until
from tests.system import START_WITHIN, System, start_runner
from vault.direct import Direct

pytestmark = pytest.mark.timeout(300)

#: A process of ours that kills itself before or after one function, once that has something to do.
DIES = """
import os, signal
import {module} as module
def die(function, before):
    place = module
    *path, name = function.split(".")
    for part in path:
        place = getattr(place, part)
    real = getattr(place, name)
    def dies(*arguments, **words):
        if before:
            os.kill(os.getpid(), signal.SIGKILL)
        if real(*arguments, **words) not in (0, []):
            os.kill(os.getpid(), signal.SIGKILL)
    setattr(place, name, dies)
die({function!r}, {before})
"""


#: Before (True) and after the console's steps: check, the row (after the check is before it), the transaction that
#: makes the job of a bot that was ordered before, what follows the commit; and whether there is a job then.
CONSOLE = (
    ("runner.orders", "requests.prepare", True, False),
    ("runner.orders", "jobs.enqueue", True, False),
    ("runner.orders", "jobs.enqueue", False, False),
    ("runner.orders", "_insert", True, False),
    ("runner.orders", "_insert", False, True),
    ("console.api.jobs", "_announce", True, True),
    ("console.api.jobs", "_announce", False, True),
)
#: The same of a delivery to a webhook: firing and job before their commit, and after it.
DELIVERY = (("firing.fire", False), ("firing.announce", True))
#: The rescuer's: end what was lost, announce, remember that it was announced.
RESCUER = [
    (function, before)
    for function in ("conclusion.lose_expired", "_publish", "announcements.mark_published")
    for before in (True, False)
]
#: Those of a completion: before firing and job, before their commit, and after it.
COMPLETION = (("firing.fire_all", True), ("firing.fire_all", False), ("firing.announce", True))


def console(system: System, start: Start, function: str, *, before: bool, module: str) -> tuple[Started, str]:
    """A console that will die at a function that a module of its calls, and its address."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    program = dying("console", module, function, before=before)
    process = start(program, "--port", str(port), env=system.env, name=f"console-{function}")
    return process, f"http://127.0.0.1:{port}"


def dying(process: str, module: str, function: str, *, before: bool) -> Program:
    """A process that will kill itself before or after a function that a module of its calls."""
    return Program(process, DIES.format(module=module, function=function, before=before))


def test_an_order_whose_console_dies_at_any_step_is_one_job_when_it_is_repeated(system: System, start: Start) -> None:
    system.add_bot(source=COUNTS)
    consoles = [(step, *console(system, start, step[1], before=step[2], module=step[0])) for step in CONSOLE]
    for step, process, url in consoles:
        bot, key = counted(system), uuid.uuid4().hex
        bot.gate.touch()
        process.wait_for("console.started", START_WITHIN)
        order = {"bot": "tells", "parameters": bot.parameters, "idempotency_key": key}
        headers = {"Authorization": f"Bearer {system.token}"}
        if step[1] == "_insert":
            other = {"bot": "tells", "parameters": counted(system).parameters}
            first = httpx.post(f"{url}/api/v1/jobs", json=other, headers=headers, trust_env=False)
            assert first.status_code == 201, first.text
            assert system.client.post(f"/api/v1/jobs/{first.json()['id']}/cancellation").status_code == 200
        with pytest.raises(httpx.HTTPError):
            httpx.post(f"{url}/api/v1/jobs", json=order, headers=headers, trust_env=False)
        assert process.wait(10) == -signal.SIGKILL
        again = system.client.post("/api/v1/jobs", json=order)
        *_, accepted = step
        assert again.status_code == (200 if accepted else 201), (step, "the client had seen no 201")
        assert_ran_once(system, again.json()["id"], bot)
        with system.edit() as session:
            assert session.scalar(select(func.count()).where(Job.idempotency_key == key)) == 1, step


def test_a_delivery_whose_console_dies_is_one_job_when_it_is_sent_again(system: System, start: Start) -> None:
    name = alone("delivered")
    system.add_bot(name, COUNTS)
    bot, key = counted(system), "a key that the sender made"
    bot.gate.touch()
    definition = {"bot": name, "parameters": bot.parameters, "webhook": {"style": "github"}}
    made = system.client.post("/api/v1/triggers", json={"name": name, "definition": definition})
    assert made.status_code == 201, made.text
    assert system.client.put(f"/api/v1/triggers/{name}/key", json={"key": key}).status_code == 200
    hook = made.json()["hook"]
    consoles = [
        (step, *console(system, start, step[0], before=step[1], module="console.api.hooks")) for step in DELIVERY
    ]
    signature = f"sha256={hmac.new(key.encode(), b'{}', hashlib.sha256).hexdigest()}"
    for number, (step, process, url) in enumerate(consoles, start=1):
        process.wait_for("console.started", START_WITHIN)
        headers = {"X-Hub-Signature-256": signature, "X-GitHub-Delivery": str(number)}
        with pytest.raises(httpx.HTTPError):
            httpx.post(f"{url}{hook}", content=b"{}", headers=headers, trust_env=False)
        assert process.wait(10) == -signal.SIGKILL
        again = system.client.post(hook, content=b"{}", headers=headers)
        assert again.status_code == (201 if step == DELIVERY[0] else 200), (step, again.text)
        job = system.wait_for(again.json()["started"]["id"])
        assert (job["state"], job["attempt"], bot.ran) == ("succeeded", 1, number), step
        found = system.client.get("/api/v1/jobs", params={"bot": name}).json()["items"]
        assert len(found) == number, (step, "it started one job, however often it came")


def schedulers(
    system: System, start: Start, module: str, steps: Iterable[tuple[str, bool]]
) -> Iterator[tuple[str, bool, int]]:
    """Those that die, one after the other: at which step of a duty, whether before it, and how each ended."""
    env = {**system.env, "BOTKEEP_REPUBLISH_AFTER": "0.2"}
    for function, before in steps:
        program = dying("scheduler", f"scheduler.{module}", function, before=before)
        yield function, before, start(program, env=env, name=f"scheduler-{function}").wait(START_WITHIN)


def test_a_lost_attempt_is_repeated_once_whatever_step_its_rescuers_die_at(system: System, start: Start) -> None:
    system.add_bot(source=COUNTS)
    bot, group = counted(system), alone("rescued")
    bot.gate.touch()
    with frozen_scheduler(system):
        job_id = system.enqueue(group=group, parameters=bot.parameters)
        direct = Direct(system.engine)
        lost = jobs.claim(direct, environment="dev", group=group, runner="lost", lease=jobs.LEASE)
        direct.close()
        assert lost is not None
        expire(system, job_id)
        for function, before, ended in schedulers(system, start, "rescuer", RESCUER):
            assert ended == -signal.SIGKILL, (function, before)
            expected = "running" if function == RESCUER[0][0] else "queued"
            assert system.job(job_id)["state"] == expected, (function, before)
    start_runner(system, start, name=alone("after"), group=group)
    job = system.wait_for(job_id, timeout=60)
    assert (job["state"], job["attempt"], bot.ran) == ("succeeded", 2, 1)
    assert [each["reason"] for each in job["attempts"]] == ["runner_lost", None]
    assert job["attempts"][0]["ended_by"] == "scheduler, since the lease ran out"


def test_the_end_of_a_job_fires_once_whatever_step_its_schedulers_die_at(system: System, start: Start) -> None:
    ends, follows = alone("ends"), alone("follows")
    system.add_bot(ends, "pass")
    for name in (follows, "tells"):
        system.add_bot(name, COUNTS)
    bot = counted(system)
    bot.gate.touch()
    definition = {"bot": follows, "parameters": bot.parameters, "completion": {"bot": ends}}
    made = system.client.post("/api/v1/triggers", json={"name": follows, "definition": definition})
    assert made.status_code == 201, made.text

    def firings() -> list[str]:
        found = system.client.get(f"/api/v1/triggers/{follows}/firings").json()["items"]
        return [one["state"] for one in found]

    with frozen_scheduler(system):
        assert system.run(ends)["state"] == "succeeded"
        for function, before, ended in schedulers(system, start, "completion", COMPLETION):
            assert ended == -signal.SIGKILL, (function, before)
            committed = (function, before) == COMPLETION[-1]
            assert firings() == (["started"] if committed else []), (function, before)
    (queued,) = system.client.get("/api/v1/jobs", params={"bot": follows}).json()["items"]
    assert_ran_once(system, queued["id"], bot)
    assert system.run(ends)["state"] == "succeeded"
    wait_until(lambda: len(firings()) == 2, 60, "the next end to fire")
    assert firings() == ["started", "started"]
