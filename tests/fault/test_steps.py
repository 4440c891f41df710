"""A runner is killed before and after each named step of an attempt: one end, no survivor, and the next job is well.

No hook in the product: a process imports the real worker and wraps one function, so that it kills itself. All steps of
one test are tried side by side, each in a group and with a bot of its own, of which one may run at a time.
"""

import signal
import uuid
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest

from runner.worker import ending
from tests.conftest import Start
from tests.fault.staying import alone, expire
from tests.nursery import Program
from tests.support import ProcessId, Started, wait_until
from tests.system import START_WITHIN, System, start_runner

pytestmark = pytest.mark.timeout(300)

#: Notes its processes, leaves a daemon, and is done; but stays in the first attempt where it is asked to.
NOTES = """
import json, os, time
given = json.load(open(os.environ["BOTKEEP_PARAMETERS_FILE"]))
marks = os.open(given["marks"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
note = lambda what: os.write(marks, b"%s %d\\n" % (what, os.getpid()))
note(b"begun")
if os.fork() == 0:
    os.setsid()
    note(b"child")
    time.sleep(3600)
if given["stays"] and os.environ["BOTKEEP_ATTEMPT"] == "1":
    time.sleep(3600)
note(b"ended")
os._exit(0)
"""

#: A worker that kills itself before or after one function of `runner.worker.executor`, when that was called so often.
DIES = """
import itertools, os, signal
from runner.worker import executor
real, calls = executor.{step}, itertools.count(1)
def dies(*arguments, **words):
    if next(calls) < {call}:
        return real(*arguments, **words)
    if {before}:
        os.kill(os.getpid(), signal.SIGKILL)
    found = real(*arguments, **words)
    if found is not None or {step!r} != "_claim":
        os.kill(os.getpid(), signal.SIGKILL)
executor.{step} = dies
"""


@dataclass(frozen=True, slots=True)
class Death:
    """A step, and what must come of a runner's death at it.

    `attempts` of the job in the end; `readings` of values; `known` by whom the end of the first attempt is: a runner
    that reported it, one that adopted what the launcher recorded, or nobody, so that the lease must run out; `stays`
    where the bot is to be alive then.
    """

    step: str
    attempts: int
    readings: int
    known: Literal["reported", "adopted", "lost"]
    stays: bool = False


BEFORE = (
    Death("_claim", 1, 1, "reported"),
    Death("_preflight", 2, 1, "lost"),
    Death("_prepare", 2, 1, "lost"),
    Death("_resolve", 2, 1, "lost"),
    Death("_start", 2, 2, "lost"),
    Death("_pump", 2, 2, "adopted", stays=True),
    Death("capture.collect", 1, 1, "adopted"),
    Death("_report", 1, 1, "adopted"),
)
AFTER = (
    Death("_claim", 2, 1, "lost"),
    Death("_preflight", 2, 1, "lost"),
    Death("_prepare", 2, 1, "lost"),
    Death("_resolve", 2, 2, "lost"),
    Death("_start", 2, 2, "adopted", stays=True),
    Death("capture.collect", 1, 1, "adopted"),
    Death("_pump", 1, 1, "adopted"),
    Death("_discard", 1, 1, "adopted"),
    Death("_report", 1, 1, "reported"),
)


@dataclass(frozen=True, slots=True)
class Trial:
    """One death on its way: the group is the step's own, and so are the bot and its book."""

    death: Death
    group: str
    job_id: str
    marks: Path

    @property
    def bot(self) -> str:
        return bot_for(self.death)

    def processes(self, what: str) -> list[int]:
        lines = self.marks.read_text().split("\n") if self.marks.exists() else []
        return [int(line.split()[1]) for line in lines if line.startswith(what)]


def bot_for(death: Death) -> str:
    return f"dies-{death.step.replace('_', '').replace('.', '-')}"


def order(system: System, death: Death, group: str, marks: Path, *, stays: bool) -> str:
    return system.enqueue(bot_for(death), group=group, parameters={"marks": str(marks), "stays": stays})


def tried(system: System, death: Death) -> Trial:
    system.add_bot(bot_for(death), NOTES, toml='assets = ["SAP.PASSWORD"]\nconcurrency = 1\n')
    group, marks = alone(bot_for(death)), system.shared / f"marks-{uuid.uuid4().hex}"
    return Trial(death, group, order(system, death, group, marks, stays=death.stays), marks)


def dying(system: System, start: Start, trial: Trial, *, before: bool) -> Started:
    """The runner of the step's group, which kills itself there."""
    program = Program("runner.worker", DIES.format(step=trial.death.step, before=before, call=1))
    served = ["--environment", "dev", "--group", trial.group, "--name", trial.group]
    return start(program, *served, env=system.env, name=trial.group)


@pytest.mark.parametrize(("deaths", "before"), [(BEFORE, True), (AFTER, False)], ids=["before", "after"])
def test_a_runner_may_die_at_any_step(system: System, start: Start, deaths: tuple[Death, ...], *, before: bool) -> None:
    system.set_value("SAP.PASSWORD", "value-1")
    trials = [tried(system, death) for death in deaths]
    runners = [dying(system, start, trial, before=before) for trial in trials]
    for runner in runners:
        assert runner.wait(START_WITHIN) == -signal.SIGKILL, runner.log
    for trial in trials:
        if trial.death.known == "lost":
            assert system.job(trial.job_id)["state"] == "running", (trial, "its lease holds, and nobody knows more")
            expire(system, trial.job_id)
    groups = [word for trial in trials[1:] for word in ("--group", trial.group)]
    start_runner(system, start, name=alone("follows"), group=trials[0].group, more=groups)
    for trial in trials:
        judge(system, trial, system.wait_for(trial.job_id, timeout=60))
        following = system.wait_for(order(system, trial.death, trial.group, trial.marks, stays=False), timeout=60)
        assert (following["state"], following["attempt"]) == ("succeeded", 1), (trial, "its bot's one place is free")


def test_a_runner_may_die_when_it_has_claimed_the_next_job_with_the_end_of_one(system: System, start: Start) -> None:
    death = Death("_report", 1, 0, "reported")
    system.add_bot(bot_for(death), NOTES)
    group, marks = alone(bot_for(death)), system.shared / f"marks-{uuid.uuid4().hex}"
    # A thread's first job is followed by a claim of its own.
    first, ended, claimed = (order(system, death, group, marks, stays=False) for _ in range(3))
    served = ["--environment", "dev", "--group", group, "--name", group, "--concurrency", "1"]
    program = Program("runner.worker", DIES.format(step="_report", before=False, call=2))
    runner = start(program, *served, env=system.env, name=group)
    assert runner.wait(START_WITHIN) == -signal.SIGKILL, runner.log
    states = [system.job(job_id)["state"] for job_id in (first, ended, claimed)]
    assert states == ["succeeded", "succeeded", "running"]
    expire(system, claimed)
    start_runner(system, start, name=alone("follows"), group=group)
    job = system.wait_for(claimed, timeout=60)
    assert (job["state"], [each["reason"] for each in job["attempts"]]) == ("succeeded", ["runner_lost", None])
    assert {system.job(job_id)["attempt"] for job_id in (first, ended)} == {1}
    assert len(Trial(death, group, claimed, marks).processes("ended")) == 3, "each did its work once"


def is_gone(pid: int) -> bool:
    return ProcessId.of(pid) is None


def judge(system: System, trial: Trial, job: dict[str, Any]) -> None:
    death = trial.death
    assert (job["state"], job["attempt"], len(job["readings"])) == ("succeeded", death.attempts, death.readings), trial
    ended, begun = trial.processes("ended"), trial.processes("begun")
    assert len(ended) == 1, (trial, "it did its work once")
    assert len(begun) in {1, 1 + death.stays}, (trial, "it may have been killed before it could note anything")
    for pid in (*begun, *trial.processes("child")):
        wait_until(partial(is_gone, pid), what=f"process {pid} of {trial} to be gone")
    reasons = [each["reason"] for each in job["attempts"]]
    assert reasons == ["runner_lost"] * (death.attempts - 1) + [None], trial
    assert all(each["survivors"] in {0, None} for each in job["attempts"]), trial
    adopted = job["attempts"][0]["adopted_at"] is not None
    assert (adopted, ending.ADOPTED in job["warnings"]) == (death.known == "adopted",) * 2, trial
