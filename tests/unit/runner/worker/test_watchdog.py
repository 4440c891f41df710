"""A runner has stalled when messages wait, slots are free and nothing arrives, for long enough and at every look."""

import threading

from redis.exceptions import ConnectionError as RedisAway

from runner.worker.watchdog import Watchdog


class Lane:
    """What the broker says when it is asked."""

    def __init__(self, *, waiting: bool = True, away: bool = False) -> None:
        self.waiting, self.away = waiting, away

    def __call__(self) -> bool:
        if self.away:
            raise RedisAway
        return self.waiting


def watchdog(lane: Lane, *, slots: int = 1, after: float = 30) -> Watchdog:
    return Watchdog(lane, slots=slots, after=after, drain=lambda: None, stop=threading.Event())


def test_a_lane_that_waits_before_free_slots_for_long_enough_is_a_stall() -> None:
    dog = watchdog(Lane())
    assert [dog.look(float(now)) for now in range(100, 135, 5)] == [False] * 6 + [True]


def test_an_empty_lane_is_no_stall_and_time_counts_from_where_it_filled() -> None:
    lane = Lane(waiting=False)
    dog = watchdog(lane)
    assert not dog.look(100)
    assert not dog.look(200)
    lane.waiting = True
    assert not dog.look(201)
    assert not dog.look(230)
    assert dog.look(231)


def test_a_message_begins_the_time_anew() -> None:
    dog = watchdog(Lane(), slots=2)
    assert not dog.look(100)
    with dog.receiving():
        pass
    assert not dog.look(131)
    assert not dog.look(132), "the look that saw a message does not count"
    assert dog.look(162)


def test_a_runner_without_a_free_slot_has_not_stalled() -> None:
    dog = watchdog(Lane(), slots=1)
    with dog.receiving():
        assert not any(dog.look(float(now)) for now in (100, 200, 300))
    assert not dog.look(400)
    assert dog.look(430)


def test_a_runner_with_a_free_slot_beside_a_long_bot_has_stalled() -> None:
    dog = watchdog(Lane(), slots=2)
    with dog.receiving():
        dog.look(100)
        dog.look(101)
        assert dog.look(131)


def test_a_broker_that_is_away_is_no_stall_and_gets_the_whole_time_when_it_is_back() -> None:
    lane = Lane()
    dog = watchdog(lane)
    assert not dog.look(100)
    lane.away = True
    assert not dog.look(131)
    lane.away = False
    assert not dog.look(132)
    assert not dog.look(161)
    assert dog.look(162)
