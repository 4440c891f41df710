"""A line of the log says what happened, when, where, and in which attempt; each is one JSON document."""

import json
import subprocess
import sys
from datetime import datetime, timedelta
from typing import Any

#: Logs in the ways that a process does.
CODE = """
import logging
from pathlib import Path
from runner.logging import bound, configure, logger

configure("runner")
log = logger()
log.debug("not.heard")
log.info("before.all", folder=Path("/x"), fields={"a": [1]})
with bound(job_id="one", attempt=1):
    log.warning("in.it")
    with bound(attempt=2):
        log.info("in.it", job_id="its own")
        logging.getLogger("celery").error("of %s", "others")
    log.info("in.it")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("went.wrong")
    logging.getLogger("celery").exception("theirs")
"""


def said() -> list[dict[str, Any]]:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, timeout=60)
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_each_line_says_what_where_when_and_in_which_attempt() -> None:
    lines = said()
    assert [(line["event"], line["level"]) for line in lines] == [
        ("before.all", "info"),
        ("in.it", "warning"),
        ("in.it", "info"),
        ("of others", "error"),
        ("in.it", "info"),
        ("went.wrong", "error"),
        ("theirs", "error"),
    ]
    assert [(line.get("job_id"), line.get("attempt")) for line in lines] == [
        (None, None),
        ("one", 1),
        ("its own", 2),
        ("one", 2),
        ("one", 1),
        (None, None),
        (None, None),
    ]
    assert {line["process"] for line in lines} == {"runner"}
    assert (lines[0]["folder"], lines[0]["fields"]) == ("PosixPath('/x')", {"a": [1]})
    times = [datetime.fromisoformat(line["timestamp"]) for line in lines]
    assert times == sorted(times)
    assert all(time.utcoffset() == timedelta(0) for time in times)
    assert all(line["timestamp"].endswith("Z") for line in lines)


def test_an_exception_is_in_the_line_with_its_traceback() -> None:
    for line in said()[-2:]:
        assert line["exception"].startswith("Traceback (most recent call last):\n")
        assert "ZeroDivisionError" in line["exception"]
        assert "exc_info" not in line
