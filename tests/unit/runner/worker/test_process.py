"""What a worker hears of a launcher whose last word crossed its own."""

import os
import socket
import uuid
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import pytest

from runner.worker import board
from runner.worker.board import Places
from runner.worker.bounds import Bounds
from runner.worker.endlines import line_of
from runner.worker.launch import Launch, SpawnerFailed
from runner.worker.outcomes import Entry, Journal, Outcome
from runner.worker.process import Process, Spawner

ENDED = Outcome(7, None, "exit", "", 0, 1000, 0.1, 0.2, 1.0, 2.0)


def test_an_outcome_is_heard_although_our_last_word_was_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, launchers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    entry = Journal(tmp_path, instance=uuid.uuid4()).entry(uuid.uuid4(), 1)
    launch = Launch(("true",), tmp_path, Bounds(), None, timedelta(0), entry, "exec", {})
    outputs = os.open("/dev/null", os.O_RDONLY), os.open("/dev/null", os.O_RDONLY)
    with Process(ours, *outputs, launch=launch, group=None, place=Places().take()) as process:
        process.keep(1.0)
        launchers.send(line_of(asdict(ENDED), job=str(entry.job_id), attempt=1))
        launchers.close()
        monkeypatch.setattr(Entry, "read", lambda _: pytest.fail("the whole journal was read"))
        assert process.wait(1) == ENDED


def test_a_runner_with_more_bots_than_its_board_has_places_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = Journal(tmp_path, instance=uuid.uuid4()).entry(uuid.uuid4(), 1)
    launch = Launch(("true",), tmp_path, Bounds(), None, timedelta(0), entry, "exec", {})
    spawner = Spawner()
    monkeypatch.setattr(board, "PLACES", 0)
    with pytest.raises(SpawnerFailed, match="lower its concurrency"):
        spawner.launch(launch, b"")
