"""Who a bot is, known to worker, spawner and launchers without a word."""

import os

import pytest

from runner.worker.board import PLACES, Board, Places


def test_what_one_process_notes_another_reads_and_the_next_attempt_does_not() -> None:
    places = Places()
    place = places.take()
    if (pid := os.fork()) == 0:
        Board(places.file).note(place.number, os.getpid(), 77, executed=True)
        os._exit(0)
    os.waitpid(pid, 0)
    assert place.note == (pid, 77, 1)
    place.release()
    again = next(one for one in iter(places.take, None) if one.number == place.number)
    assert again.note == (0, 0, 0)


def test_the_descriptor_goes_with_the_board_and_the_memory_with_its_last_place() -> None:
    places = Places()
    file, place = places.file, places.take()
    del places
    assert os.fstat(file)
    assert place.note == (0, 0, 0)
    del place
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(file)


def test_a_place_is_given_to_one_attempt_only_and_again_as_late_as_can_be() -> None:
    places = Places()
    kept = places.take()
    let_go = places.take()
    let_go.release()
    numbers = [places.take().number for _ in range(PLACES - 1)]
    assert sorted([kept.number, *numbers]) == list(range(PLACES))
    assert numbers[-1] == let_go.number
    with pytest.raises(OSError, match="No space"):
        places.take()
    kept.release()
    kept.release()
    assert places.take().number == kept.number
