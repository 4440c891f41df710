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


def looks(dog: Watchdog, first: int, last: int) -> list[int]:
    """When the watchdog says that the runner has stalled, of a look every 5 seconds."""
    return [now for now in range(first, last + 1, 5) if dog.look(float(now))]


def test_a_lane_that_waits_before_free_slots_for_long_enough_is_a_stall() -> None:
    assert looks(watchdog(Lane()), 100, 135) == [130, 135]


def test_an_empty_lane_is_no_stall_and_time_counts_from_where_it_filled() -> None:
    lane = Lane(waiting=False)
    dog = watchdog(lane)
    assert looks(dog, 100, 200) == []
    lane.waiting = True
    assert looks(dog, 205, 240) == [235, 240]


def test_a_message_begins_the_time_anew() -> None:
    dog = watchdog(Lane(), slots=2)
    assert looks(dog, 100, 125) == []
    with dog.receiving():
        pass
    assert looks(dog, 130, 170) == [165, 170], "the look that saw a message does not count"


def test_a_runner_without_a_free_slot_has_not_stalled() -> None:
    dog = watchdog(Lane(), slots=1)
    with dog.receiving():
        assert looks(dog, 100, 300) == []
    assert looks(dog, 305, 335) == [335]


def test_a_runner_with_a_free_slot_beside_a_long_bot_has_stalled() -> None:
    dog = watchdog(Lane(), slots=2)
    with dog.receiving():
        assert looks(dog, 100, 135) == [135]


def test_a_broker_that_is_away_is_no_stall_and_gets_the_whole_time_when_it_is_back() -> None:
    lane = Lane()
    dog = watchdog(lane)
    assert looks(dog, 100, 125) == []
    lane.away = True
    assert looks(dog, 130, 150) == []
    lane.away = False
    assert looks(dog, 155, 185) == [185]


def test_a_time_in_which_the_runner_was_frozen_does_not_count() -> None:
    dog = watchdog(Lane())
    assert looks(dog, 100, 125) == []
    assert looks(dog, 500, 530) == [530]
