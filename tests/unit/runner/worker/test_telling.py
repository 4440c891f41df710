"""What is told of a log: only while somebody follows, never more than fits, and never at a bot's expense."""

import threading
import uuid
from collections.abc import Iterator

import pytest
from celery import Celery

from runner import chunks, live, signals
from runner.chunks import Run
from runner.live import News
from runner.worker import telling
from runner.worker.telling import Telling
from tests.support import wait_until

JOB = uuid.UUID(int=7)


def run(position: int, data: bytes = b"line\n") -> Run:
    return Run(0, 5, data, position, position // 5)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, News]]:
    """What was published; the answer is that one listens."""
    found: list[tuple[str, News]] = []

    def publish(_app: Celery, channel: str, word: bytes) -> int:
        news = live.parsed(word)
        assert news is not None
        found.append((channel, news))
        return 1

    monkeypatch.setattr(signals, "publish", publish)
    return found


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[Telling]:
    """What tells; its thread has ended before `publish` is what it was, or it would tell another test's list."""
    one = Telling(Celery())
    yield one
    one.close()
    if one._thread.is_alive():
        one._thread.join(30)
    assert not one._thread.is_alive()


def test_nothing_is_told_unless_somebody_follows(made: Telling, said: list[tuple[str, News]]) -> None:
    tell = made.of(JOB, 1)
    assert tell(run(0)) is False
    made.ended(JOB, 1)
    assert not made._said
    made.follow(JOB)
    assert tell(run(5)) is True
    assert made.of(uuid.UUID(int=8), 1)(run(0)) is False
    made.start()
    wait_until(lambda: said, 10, "the news")
    (channel, news) = said[0]
    assert channel == live.channel(JOB)
    assert [(one.position, one.data) for one in news.runs] == [(5, b"line\n")]


def test_runs_that_follow_each_other_are_one_message_and_the_end_is_said(
    made: Telling, said: list[tuple[str, News]]
) -> None:
    made.follow(JOB)
    tell = made.of(JOB, 2)
    for position in (0, 5, 10, 50):
        tell(run(position))
    made.ended(JOB, 2)
    made.start()
    wait_until(lambda: len(said) == 2, 10, "the news")
    assert [[one.position for one in news.runs] for _, news in said] == [[0, 5, 10], [50]]
    assert [(news.attempt, news.ended) for _, news in said] == [(2, False), (2, True)]


def test_a_follower_that_says_nothing_more_is_forgotten(made: Telling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "HOLDS", -1.0)
    made.follow(JOB)
    assert made.of(JOB, 1)(run(0)) is False


def test_where_nobody_listens_nothing_more_is_told(made: Telling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "publish", lambda *_: 0)
    made.follow(JOB)
    made.of(JOB, 1)(run(0))
    made.start()
    wait_until(lambda: not made._until, 10, "the follower to be forgotten")


def test_a_redis_that_hangs_costs_a_bounded_buffer_and_no_time(made: Telling, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = threading.Event()
    monkeypatch.setattr(signals, "publish", lambda *_: hanging.wait(30) and 1)
    monkeypatch.setattr(telling, "WAITING", 1000)
    made.follow(JOB)
    made.start()
    tell = made.of(JOB, 1)
    for position in range(0, 50_000, 100):
        assert tell(run(position, b"x" * 100)) is True
    assert made._size <= 1000
    hanging.set()


@pytest.mark.parametrize("data", [b"", b"x", b"\0" * 5 + b"nonsense", b"\0" * 5 + chunks.MAGIC + bytes(80)])
def test_a_message_that_makes_no_sense_is_nothing(data: bytes) -> None:
    assert live.parsed(data) is None


def test_a_channel_of_no_job_is_nothing() -> None:
    assert live.job_of(b"botkeep:log.zz") is None
    assert live.job_of(b"\xff") is None
    assert live.job_of(live.channel(JOB).encode()) == JOB
