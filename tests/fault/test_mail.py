"""Runners that die at each step between a mailbox and a job's end: no message is lost, none is given twice."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Start
from tests.fault.staying import alone
from tests.mail import add_source, message
from tests.mail_server import MailServer
from tests.nursery import Program
from tests.services import Services
from tests.support import Started, wait_until
from tests.system import KINDS, START_WITHIN, System, lasting, start_runner

pytestmark = pytest.mark.timeout(300)

#: A bot that writes the subjects it was given into a file, one a line.
NOTES = """
import botkeep

with open(botkeep.parameters()["path"], "a") as file:
    for message in botkeep.source("inbox"):
        print(message.subject, file=file, flush=True)
"""

#: Makes the worker kill itself before or after it calls a function.
DIES = """
import os, signal
from runner.worker import executor, mail_marks, mail_polls, mail_source, mailbox
real = {owner}.{name}
def dying(*arguments, **words):
    answer = real(*arguments, **words) if {after} else None
    os.kill(os.getpid(), signal.SIGKILL)
{owner}.{name} = dying
"""


@pytest.fixture(scope="module", params=KINDS)
def lone_system(request: pytest.FixtureRequest, services: Services) -> Iterator[System]:
    with lasting(request, services, parts=("console", "scheduler"), forked=True) as system:
        yield system


@pytest.fixture
def lone(lone_system: System, start: Start) -> Iterator[System]:
    """A system without a runner: the tests start those that die, and one that lives."""
    yield lone_system
    lone_system.clear()


@pytest.fixture
def notes(lone: System) -> str:
    """The bot `NOTES`, by a name that no other test's jobs had."""
    name = alone("notes")
    lone.add_bot(name, NOTES)
    return name


@dataclass(frozen=True, slots=True)
class Step:
    """Before or after which function a runner dies."""

    owner: str
    name: str
    after: bool


def dying(system: System, start: Start, step: Step) -> Started:
    """A runner that kills itself before or after its first call of a function."""
    program = Program("runner.worker", DIES.format(owner=step.owner, name=step.name, after=step.after))
    return start(program, "--environment", "dev", "--name", "dies", env=system.env, name="dies")


def living(system: System, start: Start, name: str = "lives") -> Started:
    return start_runner(system, start, name=name, group="default")


def noted(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize(
    ("step", "attempts"),
    [
        (Step("mail_source.MailSource", "_taken", after=False), 2),
        (Step("mail_source.MailSource", "_taken", after=True), 2),
        (Step("mail_source.MailSource", "_sent", after=False), 2),
        (Step("executor", "_report", after=False), 1),
        (Step("mail_marks.Marks", "_do", after=False), 1),
        (Step("mailbox.Mailbox", "mark", after=True), 1),
    ],
    ids=str,
)
def test_a_runner_that_dies_at_any_step_neither_loses_nor_repeats_a_message(
    lone: System, notes: str, mail_server: MailServer, user: str, start: Start, step: Step, attempts: int
) -> None:
    add_source(lone, mail_server, user, mark="seen")
    uid = mail_server.append(user, message("Once"))
    path = lone.shared / notes
    job_id = lone.enqueue(notes, parameters={"path": str(path)})
    assert dying(lone, start, step).wait(START_WITHIN) == -signal.SIGKILL
    if step.name != "mark":
        assert mail_server.uids(user, criteria="SEEN") == [], "nothing is marked before the job's success"
    living(lone, start)
    job = lone.wait_for(job_id, timeout=60)
    assert (job["state"], job["attempt"], noted(path)) == ("succeeded", attempts, ["Once"])
    mail_server.wait_for(user, [uid], "the message to be marked", criteria="SEEN", within=120)
    again = lone.run(notes, parameters={"path": str(path)})
    assert (again["state"], noted(path)) == ("succeeded", ["Once"])


def add_trigger(system: System, bot: str, path: Path) -> None:
    definition = {
        "bot": bot,
        "parameters": {"path": str(path)},
        "email": {"source": "inbox", "interval": "1s"},
    }
    answer = system.client.post("/api/v1/triggers", json={"name": "on-mail", "definition": definition})
    assert answer.status_code == 201, answer.text


def jobs(system: System, bot: str) -> list[dict[str, Any]]:
    return list(system.client.get("/api/v1/jobs", params={"bot": bot}).json()["items"])


@pytest.mark.parametrize(
    "step",
    [Step("mail_polls", "Firing", after=False), Step("mail_polls._New", "_fire_for", after=True)],
)
def test_a_message_starts_one_job_where_the_runner_that_saw_it_died(
    lone: System, notes: str, mail_server: MailServer, user: str, start: Start, step: Step
) -> None:
    add_source(lone, mail_server, user, mark="seen")
    path = lone.shared / notes
    add_trigger(lone, notes, path)
    uid = mail_server.append(user, message("Fires once"))
    assert dying(lone, start, step).wait(START_WITHIN) == -signal.SIGKILL
    living(lone, start)
    mail_server.wait_for(user, [uid], "the message to be marked", criteria="SEEN", within=120)
    assert [one["state"] for one in jobs(lone, notes)] == ["succeeded"]
    assert noted(path) == ["Fires once"]


def test_several_runners_fire_each_message_once(
    lone: System, notes: str, mail_server: MailServer, user: str, start: Start
) -> None:
    add_source(lone, mail_server, user, mark="seen")
    path = lone.shared / notes
    add_trigger(lone, notes, path)
    runners = [living(lone, start, name) for name in ("one", "two")]
    uids = [mail_server.append(user, message(f"Number {number}")) for number in range(8)]
    mail_server.wait_for(user, uids, "every message to be marked", criteria="SEEN", within=120)
    wait_until(lambda: all(one["finished_at"] for one in jobs(lone, notes)), 30, "the jobs to end")
    assert len(jobs(lone, notes)) == 8
    assert sorted(noted(path)) == sorted(f"Number {number}" for number in range(8))
    assert all(runner.popen.poll() is None for runner in runners)
