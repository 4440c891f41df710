"""The baseline of `benchmarks.jobs`: a Celery task that does `subprocess.run` of the same bot, and nothing else.

Started as `celery -A benchmarks.plain worker`; broker, interpreter and bot come from the environment.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from celery import Celery

app = Celery("plain", broker=os.environ.get("PLAIN_BROKER", "redis://"))
app.conf.update(
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    broker_transport_options={"global_keyprefix": "plain:"},
)


def run(stamp: str) -> None:
    """Run the bot; `stamp` is the file it writes its first instant to, told in its parameters file."""
    parameters = f"{stamp}.json"
    with Path(parameters).open("w") as file:
        json.dump({"stamp": stamp}, file)
    subprocess.run(
        [os.environ["PLAIN_PYTHON"], os.environ["PLAIN_BOT"]],
        env={"PATH": "/usr/bin:/bin", "BOTKEEP_PARAMETERS_FILE": parameters},
        capture_output=True,
        check=False,
    )


app.task(run, name="plain.run")
