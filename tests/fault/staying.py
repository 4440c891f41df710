"""A bot that stays until it is let go, and what tests of faults do with it."""

import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy import update

from runner.models import Job
from tests.support import ProcessId, identity_of, wait_until
from tests.system import System
from vault import db

#: Leaves a daemon, prints its process id, and waits; then it has done its work.
STAYS = """
import json, os, time
parameters = json.load(open(os.environ["BOTKEEP_PARAMETERS_FILE"]))
if os.fork() == 0:
    os.setsid()
    time.sleep(3600)
    os._exit(0)
print(os.getpid(), flush=True)
while not os.path.exists(parameters["gate"]):
    time.sleep(0.005)
"""


def alone(name: str) -> str:
    """A group that no other test's runner ever served."""
    return f"{name}-{uuid.uuid4().hex[:8]}"


def bot_of(system: System, job_id: str) -> ProcessId:
    """The process of a running bot that printed its id first."""
    lines = wait_until(lambda: system.log(job_id, "stdout"), 60, "the bot to say its process id")
    return identity_of(int(lines[0].split()[0]))


def expire(system: System, job_id: str, *, attempt: int | None = None) -> None:
    """Let the lease of a job have run out, where this attempt has it."""
    with system.edit() as session:
        job = update(Job).where(Job.id == uuid.UUID(job_id), Job.state == "running")
        job = job if attempt is None else job.where(Job.attempt == attempt)
        session.execute(job.values(lease_expires_at=db.clock(-timedelta(seconds=1))))


#: Counts itself in the file `marks`, then waits to be let go, prints a little and is done.
COUNTS = """
import json, os, time
given = json.load(open(os.environ["BOTKEEP_PARAMETERS_FILE"]))
marks = os.open(given["marks"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
os.write(marks, b"%d\\n" % os.getpid())
while not os.path.exists(given["gate"]):
    time.sleep(0.005)
print("done " * 2000)
"""


@dataclass(frozen=True, slots=True)
class Counted:
    """One bot that counts itself: how often it ran is its own word."""

    gate: Path
    marks: Path

    @property
    def parameters(self) -> dict[str, str]:
        return {"gate": str(self.gate), "marks": str(self.marks)}

    @property
    def ran(self) -> int:
        """How many processes were started for it."""
        return len(self.processes())

    def processes(self) -> list[int]:
        return [int(line) for line in self.marks.read_text().split()] if self.marks.exists() else []

    def begun(self) -> None:
        """Return when it runs."""
        wait_until(lambda: self.ran, 60, "the bot to begin")


def counted(system: System) -> Counted:
    """A bot that nobody has let go yet."""
    name = uuid.uuid4().hex
    return Counted(system.shared / f"gate-{name}", system.shared / f"marks-{name}")


def assert_ran_once(system: System, job_id: str, bot: Counted, *, timeout: float = 60) -> None:
    """The job succeeded with one attempt, its bot ran once and left nothing, and the next job is well."""
    job = system.wait_for(job_id, timeout=timeout)
    assert (job["state"], job["attempt"], bot.ran) == ("succeeded", 1, 1), job
    assert job["attempts"][0]["survivors"] == 0
    assert not any(ProcessId.of(pid) for pid in bot.processes())
    after = counted(system)
    after.gate.touch()
    following = system.run(parameters=after.parameters, group=job["group"])
    assert (following["state"], following["attempt"], after.ran) == ("succeeded", 1, 1)


@contextmanager
def frozen_scheduler(system: System) -> Iterator[None]:
    """The system's own scheduler stands still for the time of the block, outside of any transaction."""
    scheduler = system.processes["scheduler"].identity
    with system.edit():
        scheduler.send(signal.SIGSTOP)
    try:
        yield
    finally:
        scheduler.send(signal.SIGCONT)
