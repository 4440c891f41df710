"""A bot that stays until it is let go, and what tests of faults do with it."""

import uuid
from datetime import timedelta

from sqlalchemy import update

from runner.models import Job
from tests.support import ProcessId, wait_until
from tests.system import System, identity_of
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


def expire(system: System, job_id: str) -> None:
    """Let the lease of a job have run out."""
    with system.edit() as session:
        job = update(Job).where(Job.id == uuid.UUID(job_id), Job.state == "running")
        session.execute(job.values(lease_expires_at=db.clock(-timedelta(seconds=1))))
