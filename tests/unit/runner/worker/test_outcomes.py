"""The outcome journal: whole lines, one lock for worker and launchers, gone when all is reported."""

import os
import signal
import sys
import uuid
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from runner.worker import endlines, outcomes, spawner
from runner.worker.outcomes import Entry, Journal, Outcome, Recorded, abandoned, taking_over
from runner.worker.starting import Request
from tests.conftest import Start

JOB = uuid.UUID(int=7)
END = Outcome(3, None, "exit", "", 0, 100, 0.5, 0.25, 1.0, 2.0)


def write(entry: Entry, outcome: Outcome = END, **more: object) -> None:
    """As a launcher does."""
    line = endlines.line_of({**asdict(outcome), **more}, job=str(entry.job_id), attempt=entry.attempt)
    endlines.append(entry.fileno(), line)


def journal_in(root: Path) -> Journal:
    return Journal(root, instance=uuid.uuid4())


def taken(root: Path) -> list[Recorded]:
    found: list[Recorded] = []
    for path in abandoned(root):
        with taking_over(path) as records:
            found += records
    return found


def test_an_entry_finds_its_own_line_among_others(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    first, second, third = (journal.entry(JOB, number) for number in (1, 2, 3))
    write(second, Outcome(**{**asdict(END), "exit_code": 9}))
    write(first)
    assert (first.read(), third.read()) == (END, None)
    journal.close()


def test_a_line_is_shorter_than_a_page_whatever_the_detail(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    write(journal.entry(JOB, 1), Outcome(**{**asdict(END), "detail": "\U0001f600\udc80" * 5000}))
    (path,) = abandoned(tmp_path)
    assert 1000 < path.stat().st_size < 4096
    journal.close()
    assert [one.attempt for one in taken(tmp_path)] == [1]


@pytest.mark.parametrize("torn", [b'\n{"job": "x', b"\n\xff\xfe", b"\n[]", b"\n{}", b"\nnull", b"\n7"])
def test_a_torn_line_is_ignored_and_spoils_no_other(tmp_path: Path, torn: bytes) -> None:
    journal = journal_in(tmp_path)
    entry = journal.entry(JOB, 1)
    os.write(entry.fileno(), torn)
    write(entry)
    os.write(entry.fileno(), torn)
    journal.close()
    assert taken(tmp_path) == [Recorded(JOB, 1, END)]


def test_a_line_that_a_full_disk_tore_keeps_the_spawner_from_no_other(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    entry, request = journal.entry(JOB, 1), cast("Request", SimpleNamespace(job=str(JOB), attempt=1))
    os.write(entry.fileno(), b'\n{"job": "%s", "attempt": 1, "exit_c' % str(JOB).encode())
    assert spawner.recorded(request, entry.fileno()) == ({}, False)
    write(entry)
    assert spawner.recorded(request, entry.fileno()) == (asdict(END), True)
    journal.close()


def test_what_a_launcher_noted_before_its_end_counts_until_there_is_more(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    entry = journal.entry(JOB, 1)
    noted = Outcome(**{**asdict(END), "survivors": -1})
    write(entry, noted, final=False)
    assert entry.read() == noted
    (path,) = abandoned(tmp_path)
    assert outcomes.peek(path) == [], "it may still be alive"
    write(entry)
    write(entry, Outcome(**{**asdict(END), "exit_code": 9}))
    assert entry.read() == END
    assert outcomes.peek(path) == [Recorded(JOB, 1, END)]
    journal.close()
    assert taken(tmp_path) == [Recorded(JOB, 1, END)]
    assert outcomes.peek(path) == []


def test_a_line_of_a_later_version_is_read_as_far_as_it_is_known(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    entry = journal.entry(JOB, 1)
    write(entry, colour="red")
    journal.close()
    assert taken(tmp_path) == [Recorded(JOB, 1, END)]


def test_a_journal_whose_attempts_are_reported_is_removed_and_another_stays(tmp_path: Path) -> None:
    reported, broken = journal_in(tmp_path), journal_in(tmp_path)
    with reported.entry(JOB, 1) as entry:
        write(entry)
    failing = broken.entry(JOB, 2)
    write(failing)
    with pytest.raises(RuntimeError), failing:
        raise RuntimeError
    reported.close()
    broken.close()
    assert [one.attempt for one in taken(tmp_path)] == [2]
    assert list(tmp_path.iterdir()) == [], "what was taken over is removed"


def test_a_journal_in_use_is_not_taken_over(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    write(journal.entry(JOB, 1))
    assert taken(tmp_path) == []
    journal.close()
    assert len(taken(tmp_path)) == 1


def test_a_journal_is_in_use_until_the_last_launcher_that_may_write_it_has_ended(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    launchers_own = os.dup(journal.entry(JOB, 1).fileno())  # as it comes through a socket
    journal.close()
    assert taken(tmp_path) == []
    os.close(launchers_own)
    (path,) = abandoned(tmp_path)
    with taking_over(path):
        pass
    assert not path.exists()


def test_a_journal_is_kept_when_what_it_holds_could_not_be_reported(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    write(journal.entry(JOB, 1))
    journal.close()
    (path,) = abandoned(tmp_path)
    with pytest.raises(RuntimeError), taking_over(path):
        raise RuntimeError
    assert taken(tmp_path) == [Recorded(JOB, 1, END)]


def test_of_two_adopters_one_takes_a_journal(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    write(journal.entry(JOB, 1))
    journal.close()
    (path,) = abandoned(tmp_path)
    with taking_over(path) as records, taking_over(path) as others:
        assert (len(records), others) == (1, [])
    with taking_over(path) as records:
        assert records == [], "it is gone"


def test_a_long_lived_worker_begins_new_files_and_removes_those_that_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "ATTEMPTS_PER_FILE", 3)
    journal = journal_in(tmp_path)
    slow = journal.entry(JOB, 1)
    for number in range(2, 12):
        with journal.entry(JOB, number) as entry:
            write(entry)
    assert len(list(abandoned(tmp_path))) == 2, "the one of the slow attempt, and the newest"
    write(slow)
    assert slow.read() == END
    with slow:
        pass
    assert len(list(abandoned(tmp_path))) == 1
    journal.close()
    assert list(tmp_path.iterdir()) == []


KILLED = """
import sys, uuid
from pathlib import Path
from runner.worker.outcomes import Journal
journal = Journal(Path(sys.argv[1]), instance=uuid.uuid4())
print("open", flush=True)
sys.stdin.read() or __import__("signal").pause()
"""


def test_the_lock_of_a_killed_worker_is_free(tmp_path: Path, start: Start) -> None:
    worker = start(sys.executable, "-c", KILLED, tmp_path / "outcomes", name="worker")
    worker.wait_for("open")
    assert len(list(abandoned(tmp_path / "outcomes"))) == 1
    assert worker.stop(signal.SIGKILL) == -signal.SIGKILL
    assert taken(tmp_path / "outcomes") == []
    assert list((tmp_path / "outcomes").iterdir()) == []
