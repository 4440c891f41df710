"""Work goes to the thread that fell asleep last, waits while none is free, and is waited for at the end."""

import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from runner.worker.pool import Pool
from tests.support import wait_until


class Step:
    """Work that says which thread does it, and lasts until it is let go."""

    def __init__(self) -> None:
        self.thread = ""
        self.ended = False
        self._begun, self._go_on = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.thread = threading.current_thread().name
        self._begun.set()
        assert self._go_on.wait(30)
        self.ended = True

    @property
    def begun(self) -> bool:
        return self._begun.is_set()

    def let_go(self) -> None:
        self._go_on.set()


@pytest.fixture
def pool() -> Iterator[Pool]:
    made = Pool(2)
    yield made
    made.stop()


def begun(pool: Pool, count: int) -> list[Step]:
    steps = [Step() for _ in range(count)]
    for step in steps:
        pool.begin(step)
    return steps


def all_begun(steps: list[Step]) -> None:
    wait_until(lambda: all(step.begun for step in steps), 30, "the threads")


def ends(pool: Pool, step: Step) -> None:
    """Let a step end, and wait until its thread sleeps again."""
    before = pool.idle
    step.let_go()
    wait_until(lambda: step.ended and pool.idle > before, 30, "the thread to fall asleep")


def test_the_thread_that_fell_asleep_last_gets_the_next_work(pool: Pool) -> None:
    for last in (0, 1):
        both = begun(pool, 2)
        all_begun(both)
        ends(pool, both[1 - last])
        ends(pool, both[last])
        (following,) = begun(pool, 1)
        all_begun([following])
        assert following.thread == both[last].thread
        ends(pool, following)


def test_work_waits_for_a_thread_and_is_done_in_its_order(pool: Pool) -> None:
    done: list[int] = []
    busy = begun(pool, 2)
    for number in range(5):
        pool.begin(partial(done.append, number))
    assert pool.crowded
    assert len(done) == 0
    busy[0].let_go()
    wait_until(lambda: len(done) == 5 and not pool.crowded, 30, "what waited")
    assert done == sorted(done)
    busy[1].let_go()


def test_work_that_fails_costs_no_thread(pool: Pool) -> None:
    def fail() -> None:
        raise ValueError("broken")

    for _ in range(5):
        pool.begin(fail)
    steps = begun(pool, 2)
    all_begun(steps)
    assert len({step.thread for step in steps}) == 2
    for step in steps:
        step.let_go()


def refuse(_thread: threading.Thread) -> None:
    """As Python does where the host's limit of processes is reached."""
    raise RuntimeError("can't start new thread")


def test_work_waits_where_the_host_gives_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, done = Pool(2), list[int]()
    (busy,) = begun(pool, 1)
    all_begun([busy])
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        pool.begin(partial(done.append, 1))
    assert pool.crowded
    busy.let_go()
    wait_until(lambda: done == [1], 30, "the thread that there is")
    both = begun(pool, 2)
    all_begun(both)
    for step in both:
        step.let_go()
    pool.stop()


@pytest.mark.parametrize("how", [Pool.stop, Pool.terminate])
def test_a_stop_waits_for_what_is_done_and_drops_what_waits(how: Callable[[Pool], None]) -> None:
    pool = Pool(1)
    dropped: list[str] = []
    (running,) = begun(pool, 1)
    pool.begin(lambda: dropped.append("waiting"))
    wait_until(lambda: running.begun, 30, "the work")
    stopping = threading.Thread(target=how, args=[pool])
    stopping.start()
    wait_until(lambda: not pool.crowded, 30, "the stop")
    assert stopping.is_alive()
    running.let_go()
    stopping.join(30)
    assert running.ended
    pool.begin(lambda: dropped.append("late"))
    assert len(dropped) == 0


def test_celery_itself_may_give_work(pool: Pool) -> None:
    done: list[object] = []
    work: Callable[..., None] = lambda *arguments, **named: done.extend([arguments, named])  # noqa: E731
    pool.apply_async(work, (1, 2), {"name": 3})
    wait_until(lambda: len(done) == 2, 30, "Celery's work")
    assert done == [(1, 2), {"name": 3}]
