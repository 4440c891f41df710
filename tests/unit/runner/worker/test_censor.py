"""Nothing that the worker's process writes about itself holds a value of a running attempt."""

import json
import subprocess
import sys

import pytest

#: A worker's process as far as its log goes, in which everything goes wrong in the way that its argument names.
CODE = """
import logging, sys, threading, warnings
from runner.logging import configure, logger
from runner.worker.censor import Censor, catch_stderr
from runner.worker.masker import Masker

censor = Censor()
configure("runner", censor=censor)
catch_stderr()
value = "it's \\"100%\\" " + "ca" + "nary" + " <ü€𝄞> & C:\\\\n/+\\n?={{x}}"

class Dropped:
    def __del__(self):
        raise RuntimeError(value)

def broken():
    raise RuntimeError({"password": value})

def go(how):
    if how == "event":
        logger().info("job.broken", error=value)
    elif how == "quotation":
        logger().info("job.broken", error=repr({"password": repr(value)}))
    elif how == "exception":
        try:
            broken()
        except RuntimeError:
            logger().exception("job.broken")
    elif how == "library":
        try:
            broken()
        except RuntimeError:
            logging.getLogger("sqlalchemy").exception("no login with %s", value)
    elif how == "format":
        logging.getLogger("celery").error("%d of %d", value)
    elif how == "warning":
        warnings.warn(value)
    elif how == "thread":
        thread = threading.Thread(target=broken)
        thread.start()
        thread.join()
    elif how == "ignored":
        Dropped()
    else:
        broken()

masker = Masker()
with censor.using(masker):
    masker.add([("SAP.PASSWORD", value.encode())])
    try:
        go(sys.argv[1])
    except RuntimeError:
        sys.excepthook(*sys.exc_info())
if len(sys.argv) > 2:
    logger().info("after", text=value)
"""


def say(*words: str) -> str:
    done = subprocess.run([sys.executable, "-c", CODE, *words], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("how", "event"),
    [
        ("event", "job.broken"),
        ("quotation", "job.broken"),
        ("exception", "job.broken"),
        ("library", "no login with ***"),
        ("format", "log.broken"),
        ("warning", None),
        ("thread", "thread.broken"),
        ("ignored", "error.ignored"),
        ("process", "process.broken"),
    ],
)
def test_a_value_in_whatever_the_process_writes_is_masked(how: str, event: str | None) -> None:
    said = say(how)

    assert "canary" not in said
    assert "100%" not in said
    (line,) = said.splitlines()
    record = json.loads(line)
    assert event is None or record["event"] == event
    assert how == "format" or "***" in line


def test_an_attempt_s_values_are_masked_as_long_as_it_runs() -> None:
    assert "canary" in say("event", "and after")
