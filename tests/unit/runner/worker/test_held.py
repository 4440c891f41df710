"""What a worker holds: one living attempt of a job at a time, whatever the database says meanwhile."""

import threading
import uuid
from datetime import timedelta

from sqlalchemy import create_engine

from runner.states import Reason
from runner.worker.held import Held, Hold

JOB = uuid.UUID(int=1)


def held() -> Held:
    return Held(
        create_engine("sqlite://"),
        "r1",
        instance=uuid.UUID(int=2),
        lease=timedelta(seconds=4),
        heartbeat=timedelta(seconds=1),
        drain=lambda: None,
        each_beat=lambda: None,
    )


def test_a_further_attempt_of_a_job_waits_until_the_one_before_it_was_killed_and_is_gone() -> None:
    ours = held()
    holds, killed, begun = threading.Event(), threading.Event(), threading.Event()

    def first() -> None:
        with ours.holding(JOB, 1, since=0.0) as hold:
            hold.on_end(lambda: None, kill=killed.set)
            holds.set()
            assert killed.wait(10)
            assert not begun.is_set()
            assert hold.reason is Reason.RUNNER_LOST

    def second() -> None:
        with ours.holding(JOB, 2, since=0.0):
            begun.set()

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert holds.wait(10)
    threads[1].start()
    for thread in threads:
        thread.join(10)
    assert killed.is_set()
    assert begun.is_set()


def test_the_launcher_is_told_of_an_extension_that_came_before_it_was_there() -> None:
    told: list[float] = []
    hold = Hold(JOB, 1, since=1.0)
    hold.extended(5.0)
    hold.on_end(lambda: None, keep=told.append)
    hold.extended(9.0)
    assert told == [5.0, 9.0]
