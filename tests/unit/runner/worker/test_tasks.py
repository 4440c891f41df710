"""A full worker goes on by itself from hint to hint, and wakes Celery's loop where it sleeps because of the limit."""

import threading
import uuid
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from celery import Celery

from runner import lanes
from runner.jobs import Claim
from runner.lanes import TASK, transport
from runner.worker import inbox, tasks
from runner.worker.hints import Hint, Hints
from runner.worker.turn import Claimed, Turn

FIRST, SECOND, THIRD = (Hint("dev", group, lambda: None) for group in ("first", "second", "third"))


def claim_of(hint: Hint) -> Claim:
    """A claim that tells in whose lane it was made."""
    some = uuid.UUID(int=1)
    return Claim(some, 1, some, some, some, environment=f"won in {hint.group}", parameters={})


class Waiting:
    """Hints that wait; as `Hints`, of one thread."""

    def __init__(self, *hints: Hint) -> None:
        self.hints = list(hints)
        self.asked: list[Hint] = []
        self._asks = False
        #: How often one asked who may wait for a connection.
        self.waits = 0
        #: Whether Redis takes its time.
        self.slow = False

    def ask(self, before: Hint, *, connect: bool = True) -> None:
        self.waits += connect
        if not self._asks:
            self.asked.append(before)
            self._asks = True

    def answered(self, *, patience: float) -> bool:
        assert patience < 1
        return self._asks and not self.slow

    def answer(self) -> Hint | None:
        asked, self._asks = self._asks, False
        return self.hints.pop(0) if asked and self.hints else None


class Worker:
    """What Celery gives to the strategy of a task, and what is seen of it."""

    def __init__(
        self,
        waiting: Waiting,
        *,
        full: bool,
        crowded: bool = False,
        no_job: bool = False,
        stops: bool = False,
        joins: bool = False,
        limited: int = 0,
    ) -> None:
        """In the lane `first` wait as many jobs with a limit as `limited` says."""
        self.looks: list[str] = []
        #: What was claimed before its turn came.
        self.claimed: list[str] = []
        self.acknowledged = self.woken = 0
        self.stopping = threading.Event()
        self._no_job, self._stops, self._joins, self._limited = no_job, stops, joins, limited
        app: Celery = transport("redis://127.0.0.1:1/0")
        hints = cast("Hints", waiting)
        tasks.register(app, self._execute, limited=list, hints=hints, stopping=self.stopping)
        pool = SimpleNamespace(begin=lambda work: work(), crowded=crowded)
        hub = SimpleNamespace(call_soon=self._wake)
        consumer = SimpleNamespace(pool=pool, hub=hub, connection_errors=())
        self._begin = tasks.strategy(app.tasks[TASK], app, consumer)
        self._counted = SimpleNamespace(full=full)

    def receive(self, hint: Hint) -> None:
        channel = SimpleNamespace(qos=self._counted, when_read=lambda call: call())
        headers = {tasks.LANE: [hint.environment, hint.group], tasks.JOB: str(uuid.UUID(int=1))}
        self._begin(SimpleNamespace(headers=headers, channel=channel, ack_log_error=self._acknowledge), None)
        assert headers[tasks.BEGUN]

    def _execute(self, turn: Turn) -> Claim | None:
        self.looks.append(turn.hint.group)
        if (claimed := turn.take()) is not None:
            self.claimed.append(claimed.claim.environment)
        if not self._no_job:
            turn.ask()
        if self._joins and (following := turn.offer()) is not None:
            turn.win(Claimed(claim_of(following), since=1.0))
        if self._stops:  # while the end is written down
            self.stopping.set()
        if turn.hint.group == "first" and self._limited:
            self._limited -= 1
            return replace(claim_of(turn.hint), limited=True)
        return None

    def _acknowledge(self, *_errors: object) -> None:
        self.acknowledged += 1

    def _wake(self, *_callback: object) -> None:
        self.woken += 1


@pytest.mark.parametrize("full", [False, True])
def test_jobs_with_a_limit_in_one_lane_let_another_lane_have_its_turn(
    monkeypatch: pytest.MonkeyPatch, *, full: bool
) -> None:
    reminded: list[tuple[str, str]] = []
    monkeypatch.setattr(
        lanes, "remind", lambda _app, _job, *, environment, group: reminded.append((environment, group))
    )
    worker = Worker(Waiting(SECOND), full=full, limited=3)
    worker.receive(FIRST)
    assert worker.looks == ["first", "second"]
    assert reminded == [("dev", "first")], "its own lane is looked at again, in its turn"


@pytest.mark.parametrize("full", [False, True])
def test_jobs_with_a_limit_follow_each_other_where_no_hint_waits(*, full: bool) -> None:
    worker = Worker(Waiting(), full=full, limited=3)
    worker.receive(FIRST)
    assert worker.looks == ["first"] * 4
    worker = Worker(Waiting(FIRST, FIRST), full=full, limited=3)
    worker.receive(FIRST)
    assert worker.looks == ["first"] * 4


@pytest.mark.parametrize("no_job", [False, True])
def test_a_full_worker_takes_hint_after_hint_and_wakes_the_loop_once(*, no_job: bool) -> None:
    waiting = Waiting(SECOND, THIRD)
    worker = Worker(waiting, full=True, no_job=no_job)
    worker.receive(FIRST)
    assert worker.looks == ["first", "second", "third"]
    assert [hint.group for hint in waiting.asked] == worker.looks
    assert (worker.acknowledged, worker.woken) == (1, 1)


def test_a_worker_with_room_leaves_hints_to_the_loop_which_listens_anyway() -> None:
    waiting = Waiting(SECOND)
    worker = Worker(waiting, full=False)
    worker.receive(FIRST)
    assert worker.looks == ["first"]
    assert not waiting.asked
    assert (worker.acknowledged, worker.woken) == (1, 0)


def test_messages_that_wait_for_a_thread_go_before_hints_that_wait_in_lanes() -> None:
    waiting = Waiting(SECOND)
    worker = Worker(waiting, full=True, crowded=True)
    worker.receive(FIRST)
    assert not waiting.asked
    assert (worker.acknowledged, worker.woken) == (1, 1)


def test_a_worker_that_stops_asks_for_nothing_and_gives_back_what_was_answered() -> None:
    returned: list[str] = []
    waiting = Waiting(Hint("dev", "second", lambda: returned.append("second")))
    worker = Worker(waiting, full=True, stops=True)
    worker.receive(FIRST)
    assert worker.looks == ["first"]
    assert returned == ["second"]
    assert len(waiting.asked) == 1


def test_what_was_claimed_with_an_end_is_run_next_and_no_hint_is_asked_for_before_it_has_ended() -> None:
    waiting = Waiting(SECOND, THIRD)
    worker = Worker(waiting, full=True, joins=True)
    worker.receive(FIRST)
    assert worker.looks == ["first", "second", "third"]
    assert worker.claimed == ["won in second", "won in third"]
    assert [hint.group for hint in waiting.asked] == ["first", "second", "third", "third"], "and again, as none waited"


def test_what_was_claimed_is_run_though_the_worker_stops_then() -> None:
    returned: list[str] = []
    waiting = Waiting(Hint("dev", "second", lambda: returned.append("second")), THIRD)
    worker = Worker(waiting, full=True, joins=True, stops=True)
    worker.receive(FIRST)
    assert (worker.looks, worker.claimed) == (["first", "second"], ["won in second"])
    assert not returned, "its job runs here"
    assert waiting.hints == [THIRD]


def test_a_hint_that_was_offered_and_won_nothing_is_looked_at_as_any_other() -> None:
    waiting = Waiting(SECOND)
    turn = Turn(FIRST, cast("Hints", waiting), full=lambda: True)
    turn.ask()
    assert turn.offer() is SECOND
    assert turn.offer() is None, "once"
    following = turn.following()
    assert following is not None
    assert (following.hint, following.bound, following.take()) == (SECOND, False, None)
    assert waiting.asked == [FIRST]


def test_an_end_does_not_wait_for_a_hint_that_comes_late() -> None:
    waiting = Waiting(SECOND)
    waiting.slow = True
    turn = Turn(FIRST, cast("Hints", waiting), full=lambda: True)
    turn.ask()
    assert turn.offer() is None
    assert waiting.waits == 0
    following = turn.following()
    assert following is not None
    assert (following.hint, following.bound, waiting.waits) == (SECOND, False, 1)


def test_an_acknowledgement_is_seen_though_it_comes_while_the_limit_is_looked_at() -> None:
    class Late(set[str]):
        """The acknowledged: a thread adds to them as soon as they were counted, and wakes nobody if nobody sleeps."""

        def __len__(self) -> int:
            counted_before = super().__len__()
            if not counted.full:
                self.add("tag")
            return counted_before

    make: Any = inbox.Transport.Channel.QoS
    counted = make(SimpleNamespace(do_restore=False), prefetch_count=1)
    assert counted.can_consume()
    assert not counted.full
    counted.append(SimpleNamespace(), "tag")
    assert not counted.can_consume()
    assert counted.full
    counted._dirty = Late()
    assert counted.can_consume()
