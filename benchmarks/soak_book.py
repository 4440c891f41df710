"""The bots' own book of the soak: each writes when it begins and ends, so that nobody else's word is taken for it.

A line is appended by one write(2) with O_APPEND: job, attempt, what, process, its start time, monotonic time (the same
clock for all processes of a host). A thread follows the book and looks every few milliseconds which of the processes in
it live, so that the end of one that was killed is known, too.
"""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.soak_exits import Exits
from tests.support import ProcessId, read_stat

#: Seconds between two looks at the processes in the book.
PAUSE = 0.02

#: A bot of each kind; its name is its kind. It exits right after its last line, so that a finished bot is finished.
BOT = """
import json, os, time
job, attempt, kind = os.environ["BOTKEEP_JOB_ID"], int(os.environ["BOTKEEP_ATTEMPT"]), os.environ["BOTKEEP_BOT"]
given = json.load(open(os.environ["BOTKEEP_PARAMETERS_FILE"]))
book = os.open(given["book"], os.O_WRONLY | os.O_APPEND)
def note(what):
    began = int(open("/proc/self/stat").read().rpartition(")")[2].split()[19])
    line = json.dumps([job, attempt, what, os.getpid(), began, time.monotonic()])
    os.write(book, line.encode() + b"\\n")
note("begin")
if kind == "sleeps":
    time.sleep(given["seconds"])
elif kind == "forks":
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            note("child")
            time.sleep(3600)
        os._exit(0)
    os.wait()
    time.sleep(0.2)
elif kind == "fails" and attempt == 1:
    note("fail")
    os._exit(1)
note("end")
os._exit(0)
"""

KINDS = ("quick", "sleeps", "forks", "fails")


@dataclass(slots=True, eq=False)
class Life:
    """One process of an attempt: from its first line to when it was last known to live."""

    attempt: int
    process: ProcessId
    since: float
    until: float
    ended: bool = False


class Book:
    """Follows the book; `lives` is what each job's bots did, by the id of the job."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch(mode=0o666)
        self.lives: dict[str, list[Life]] = defaultdict(list)
        self._living: list[tuple[str, Life]] = []
        self._read = 0
        self._exits = Exits()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="book", daemon=True)

    def start(self) -> None:
        """Follow from now on."""
        self._thread.start()

    def close(self) -> None:
        """Stop following, after a last look."""
        self._stop.set()
        self._thread.join()
        self._look()

    def living(self) -> list[tuple[str, Life]]:
        """The job and the life of each process in the book that lives."""
        with self._lock:
            return list(self._living)

    def ends(self, job_id: str) -> int:
        """How many attempts of a job came to their last line, and then exited by themselves."""
        return len(self._ended(job_id) - self.cut_off(job_id))

    def cut_off(self, job_id: str) -> set[int]:
        """The attempts whose bot was killed after its last line, before it could exit."""
        with self._lock:
            lives = [life for life in self.lives.get(job_id, ()) if life.ended]
        return {life.attempt for life in lives if self._exits.killed(life.process.pid, since=life.since)}

    def _ended(self, job_id: str) -> set[int]:
        with self._lock:
            return {life.attempt for life in self.lives.get(job_id, ()) if life.ended}

    def overlaps(self, job_id: str) -> list[tuple[Life, Life]]:
        """Pairs of processes of different attempts of one job that lived at the same time."""
        with self._lock:
            lives = list(self.lives.get(job_id, ()))
        return [
            (one, other) for one in lives for other in lives if one.attempt < other.attempt and _together(one, other)
        ]

    def _run(self) -> None:
        while not self._stop.wait(PAUSE):
            self._look()

    def _look(self) -> None:
        with self._lock:
            for line in self._new_lines():
                self._note(json.loads(line))
            now = time.monotonic()
            for _job_id, life in self._living:
                if life.process.alive:
                    life.until = max(life.until, now)
            self._living = [(job_id, life) for job_id, life in self._living if life.process.alive]

    def _new_lines(self) -> Iterable[bytes]:
        with self.path.open("rb") as file:
            file.seek(self._read)
            whole = file.read().rpartition(b"\n")
        self._read += len(whole[0]) + len(whole[1])
        return whole[0].splitlines()

    def _note(self, line: list[Any]) -> None:
        job_id, attempt, what, pid, began, at = line
        process = ProcessId(pid, began)
        life = next((life for life in self.lives[job_id] if life.process == process), None)
        if life is None:
            life = Life(attempt, process, at, at)
            self.lives[job_id].append(life)
            self._living.append((job_id, life))
        life.until = max(life.until, at)
        life.ended |= what == "end"


def _together(one: Life, other: Life) -> bool:
    return max(one.since, other.since) < min(one.until, other.until)


def describe(life: Life) -> str:
    """A life in words, with the state of the process if it is still there."""
    stat = read_stat(life.process.pid)
    state = stat.state if stat and stat.started == life.process.started else "gone"
    return f"attempt {life.attempt} process {life.process.pid} ({state}) {life.since:.3f} to {life.until:.3f}"
