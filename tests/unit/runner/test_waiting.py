"""The first thing that keeps a queued job from starting, in the order in which a person would remove them."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runner import waiting
from runner.models import Runner
from runner.runners import Seen
from runner.waiting import Obstacle, Situation

NOW = datetime(2026, 8, 1, 12, tzinfo=UTC)


def seen(
    name: str = "host-a", status: str = "online", *, environment: str = "prod", group: str = "default", running: int = 0
) -> Seen:
    row = Runner(
        name=name, instance=uuid.uuid4(), environments=[environment], groups=[group], concurrency=2, heartbeat_at=NOW
    )
    return Seen(row, status, running)


READY = Situation(environment="prod", group="default", now=NOW, runners=[seen()])


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({}, Obstacle.TURN, ["prod.default", "0 of 2"]),
        ({"runners": []}, Obstacle.NO_RUNNER, ["no runner is online at all", "botkeep runner --environment prod"]),
        (
            {"runners": [seen(environment="dev"), seen("host-b", group="windows")]},
            Obstacle.NO_RUNNER,
            ["No runner serves prod.default", "host-a for dev.default", "host-b for prod.windows"],
        ),
        (
            {"runners": [seen(status="lost"), seen("b", "stopped"), seen("c", "draining"), seen(environment="dev")]},
            Obstacle.NO_RUNNER,
            ["No runner of prod.default is online", "host-a is lost", "b is stopped", "c is draining"],
        ),
        (
            {"group": "windows"},
            Obstacle.NO_RUNNER,
            ["serves prod.windows", "botkeep runner --environment prod --group windows"],
        ),
        ({"runners": [seen(f"host-{n}", "lost") for n in range(9)]}, Obstacle.NO_RUNNER, ["host-4 is", "4 more"]),
        (
            {"runners": [seen(running=2), seen("b", running=3), seen("c", "lost")]},
            Obstacle.BUSY,
            ["Every runner of prod.default is busy (5 of 4 bots)"],
        ),
        ({"runners": [seen(running=2)]}, Obstacle.BUSY, ["2 of 2"]),
        ({"runners": [seen(running=2), seen("b", running=1)]}, Obstacle.TURN, ["3 of 4"]),
        ({"paused": True, "paused_by": "ann"}, Obstacle.PAUSED, ["by ann", "botkeep job resume"]),
        ({"concurrency": 1, "bot_running": 1}, Obstacle.CONCURRENCY, ["runs once now", "allows 1 at once"]),
        ({"concurrency": 3, "bot_running": 3}, Obstacle.CONCURRENCY, ["runs 3 times now", "allows 3 at once"]),
        ({"concurrency": 3, "bot_running": 2}, Obstacle.TURN, []),
        ({"not_before": NOW + timedelta(minutes=5)}, Obstacle.NOT_BEFORE, ["2026-08-01 12:05:00 UTC"]),
        ({"not_before": NOW}, Obstacle.TURN, []),
    ],
)
def test_a_job_waits_for(change: dict[str, Any], code: Obstacle, words: list[str]) -> None:
    found = waiting.why(replace(READY, **change), broker=lambda: True)
    assert found.code is code
    for word in words:
        assert word in found.sentence


def test_a_broker_that_is_away_is_named_only_where_it_matters() -> None:
    away = waiting.why(READY, broker=lambda: False)
    assert (away.code, "when Redis is back" in away.sentence) == (Obstacle.BROKER, True)

    def never() -> bool:
        raise AssertionError("nobody had to ask")

    assert waiting.why(replace(READY, runners=[]), broker=never).code is Obstacle.NO_RUNNER
    assert waiting.why(replace(READY, paused=True), broker=never).code is Obstacle.PAUSED
