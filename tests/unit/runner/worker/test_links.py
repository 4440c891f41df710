"""Which links are kept, and that none is asked for anything while the spawner looks into it."""

import pytest

from runner.worker import links
from runner.worker.links import Links
from runner.worker.spawner import Left


def test_the_link_that_was_released_last_is_asked_next_and_no_more_are_kept_than_needed() -> None:
    some = Links()
    made = [some.new() for _ in range(links.IDLE + 1)]
    for link, _ in made:
        link.release()
    *kept, (_, spare) = made
    with spare:
        assert spare.recv(16) == b"", "its launcher hears that it is not needed"
    last = kept[-1][0]
    assert some.ask(b"{}", (0,)) is last
    last.close()
    some.close()
    for _, end in kept[:-1]:
        with end:
            assert end.recv(16) == b""
    kept[-1][1].close()


def test_what_is_released_after_the_spawner_was_replaced_is_not_asked_again() -> None:
    some = Links()
    link, end = some.new()
    some.close()
    link.release()
    with end:
        assert end.recv(16) == b""
    assert some.ask(b"{}", (0,)) is None


def test_a_link_takes_nothing_while_the_spawner_looks_what_is_left_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    link, end = Links().new()
    asked = []

    def receive(*_: object) -> None:
        asked.append(link.ask(b"{}", (0,)))
        raise BlockingIOError

    monkeypatch.setattr("runner.worker.launcher.receive", receive)
    assert Left(end).message == b""
    assert asked == [False], "what nobody would ever read"
    link.close()
