"""What an attempt leaves in the worker's memory when it has ended: next to nothing, without waiting for the collector.

The forms of 100 values take a megabyte in a masker; in a cycle, those of dozens of ended attempts waited for a
collector that seldom comes to a process whose start was frozen (`memory.settle`), and with them the values.
"""

import gc
import uuid
import weakref
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from sqlalchemy import create_engine

from runner.jobs import Claim
from runner.worker.desk import Desk
from runner.worker.held import Held
from runner.worker.masker import Masker
from runner.worker.refusals import Refusals
from runner.worker.tokens import REMEMBERED, Tokens
from tests.unit.runner.worker.test_tokens import grant

#: No connection is made to it.
ENGINE = create_engine("sqlite://")


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    """Whatever is in a cycle stays."""
    gc.disable()
    yield
    gc.enable()


class Parameters(dict[str, object]):
    """Parameters that a weak reference can watch."""


def new_claim(parameters: Parameters) -> Claim:
    ids = [uuid.uuid4() for _ in range(4)]
    return Claim(ids[0], 1, ids[1], ids[2], ids[3], "dev", parameters)


class Bot:
    """As a process does, it tells the hold of its stands, and the hold tells it of wishes."""

    on_pause: Callable[..., None]

    def end(self) -> None: ...


def test_a_hold_knows_its_bot_no_more_when_the_attempt_has_ended() -> None:
    held = Held(
        ENGINE,
        "here",
        instance=uuid.uuid4(),
        lease=timedelta(seconds=20),
        heartbeat=timedelta(seconds=5),
        drain=lambda: None,
        each_beat=lambda: None,
    )
    bot = Bot()
    gone = weakref.ref(bot)
    with held.holding(uuid.uuid4(), 1, since=0.0) as hold:
        bot.on_pause = hold.stands
        hold.on_end(bot.end, kill=bot.end)
        del bot
        assert gone() is not None
    assert gone() is None


def test_a_desk_and_the_masker_behind_it_go_when_it_is_closed() -> None:
    masker = Masker()
    gone = weakref.ref(masker)
    desk = Desk(ENGINE, new_claim(Parameters()), masker=masker)
    desk.close()
    del desk, masker
    assert gone() is None


def test_what_is_remembered_of_an_attempt_that_ended_holds_neither_its_parameters_nor_its_masker() -> None:
    masker, parameters = Masker(), Parameters(much="x" * 100_000)
    masker_left, parameters_left = weakref.ref(masker), weakref.ref(parameters)
    refusals = Refusals(ENGINE, new_claim(parameters), bot="reports", mask=masker.mask_text)
    del masker, parameters
    assert masker_left() is not None
    refusals.forget()
    assert (masker_left(), parameters_left()) == (None, None)


def test_of_many_ended_tokens_the_last_are_remembered() -> None:
    heard: list[str] = []
    tokens = Tokens()
    first = tokens.admit(grant(heard))
    tokens.revoke(first)
    for _ in range(REMEMBERED):
        last = tokens.admit(grant(heard))
        tokens.revoke(last)
    assert tokens.find(first) is None
    assert heard == []
    assert tokens.find(last) is None
    assert heard == ["anything after its end"]
