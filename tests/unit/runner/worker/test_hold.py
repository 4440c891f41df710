"""A hold tells its bot what is wanted, in order, whenever that becomes possible."""

import threading
import uuid

import pytest

from runner.states import Reason
from runner.worker.held import Hold
from tests.support import wait_until


class Bot:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def attach(self, hold: Hold) -> None:
        hold.on_end(
            lambda: self.told.append("end"),
            kill=lambda: self.told.append("kill"),
            pause=lambda: self.told.append("pause"),
            resume=lambda: self.told.append("resume"),
        )


def new_hold() -> Hold:
    return Hold(uuid.uuid4(), 1, since=0.0)


def test_a_bot_is_told_once_however_often_the_wish_is_read() -> None:
    hold, bot = new_hold(), Bot()
    bot.attach(hold)
    for _ in range(3):
        hold.pause()
    for _ in range(3):
        hold.resume()
    assert bot.told == ["pause", "resume"]


def test_a_pause_that_came_before_the_bot_reaches_it_at_its_start() -> None:
    hold, bot = new_hold(), Bot()
    hold.pause()
    bot.attach(hold)
    assert bot.told == ["pause"]


def test_a_bot_that_must_end_is_not_paused_any_more() -> None:
    hold, bot = new_hold(), Bot()
    bot.attach(hold)
    hold.end(Reason.CANCELLED)
    hold.pause()
    assert bot.told == ["end"]


@pytest.mark.parametrize("reason", [None, Reason.CANCELLED])
def test_an_attempt_without_a_bot_stands_until_it_is_resumed_or_must_end(reason: Reason | None) -> None:
    hold = new_hold()
    hold.stand()  # nothing to wait for
    hold.pause()
    waiting = threading.Thread(target=hold.stand)
    waiting.start()
    wait_until(lambda: hold.standing, 5, "the attempt to stand")
    if reason is None:
        hold.resume()
    else:
        hold.end(reason)
    waiting.join(5)
    assert not waiting.is_alive()
    assert not hold.standing
    assert hold.stood > 0
