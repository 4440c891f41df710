"""The scheduler's loop: who has a turn when, and what a failure holds up."""

import threading
from collections.abc import Callable, Collection, Mapping

from sqlalchemy import ColumnElement, true

from scheduler.service import MAX_PAUSE, Duty, pause, serve, turns
from vault.errors import Unavailable

#: What a duty waits for; the question is answered by the test.
THING = true()


class Rounds:
    """Counts what is asked and what is run, until `last` says that it has been enough."""

    def __init__(self, there: Callable[[int], Collection[str]], *, last: Callable[["Rounds"], bool]) -> None:
        self.asked: list[list[str]] = []
        self.ran: list[str] = []
        self._there, self._last = there, last
        self._stop = threading.Event()

    def duty(self, name: str, every: float = 0.01, *, waits: bool = True, fails: bool = False) -> Duty:
        def run() -> None:
            self.ran.append(name)
            self._check()
            if fails:
                raise Unavailable("It is away.")

        return Duty(name, run, every, THING if waits else None)

    def ask(self, waiting: Mapping[str, ColumnElement[bool]]) -> Collection[str]:
        self.asked.append(list(waiting))
        self._check()
        return self._there(len(self.asked))

    def serve(self, *duties: Duty) -> None:
        serve(duties, self._stop, ask=self.ask)

    def _check(self) -> None:
        if self._last(self):
            self._stop.set()


def test_a_duty_runs_only_where_the_answer_names_it() -> None:
    rounds = Rounds(lambda number: ["b"] if number == 3 else [], last=lambda seen: "b" in seen.ran)
    rounds.serve(rounds.duty("a"), rounds.duty("b"))
    assert rounds.ran == ["b"]
    assert rounds.asked == [["a", "b"]] * 3


def test_a_duty_that_waits_for_nothing_runs_at_every_turn_and_is_not_asked_for() -> None:
    rounds = Rounds(lambda _: [], last=lambda seen: len(seen.ran) == 3)
    rounds.serve(rounds.duty("free", waits=False), rounds.duty("a"))
    assert rounds.ran == ["free"] * 3
    assert rounds.asked == [["a"]] * 3


def test_who_has_a_turn_soon_has_it_together_with_those_whose_time_has_come() -> None:
    quick, slow, rare = (Duty(name, list, every) for name, every in (("quick", 1.0), ("slow", 2.0), ("rare", 10.0)))
    assert turns({quick: 7.0, slow: 7.2, rare: 7.3}, now=7.0) == [quick, slow]
    assert turns({quick: 7.2, slow: 7.0, rare: 7.3}, now=7.0) == [quick, slow]
    assert turns({quick: 7.1, slow: 7.2, rare: 7.3}, now=7.0) == []


def test_a_question_that_cannot_be_asked_holds_up_only_those_who_wait_and_is_asked_again() -> None:
    def there(number: int) -> Collection[str]:
        if number == 1:
            raise Unavailable("The database is away.")
        return ["a"]

    rounds = Rounds(there, last=lambda seen: "a" in seen.ran)
    rounds.serve(rounds.duty("a"), rounds.duty("free", waits=False))
    assert rounds.ran[0] == "free"
    assert rounds.ran[-1] == "a"
    assert len(rounds.asked) == 2


def test_a_duty_that_fails_holds_up_nobody() -> None:
    rounds = Rounds(lambda _: ["bad", "good"], last=lambda seen: seen.ran.count("bad") == 3)
    rounds.serve(rounds.duty("good"), rounds.duty("bad", fails=True))
    assert rounds.ran.count("good") >= 3


def test_the_pause_of_a_duty_that_fails_grows_up_to_a_limit_and_is_its_own_again_afterwards() -> None:
    duty = Duty("bad", list, 1.0)
    pauses = [1.0]
    for _ in range(5):
        pauses.append(pause(duty, before=pauses[-1], failed=True))
    assert pauses == [1.0, 2.0, 4.0, 8.0, MAX_PAUSE, MAX_PAUSE]
    assert pause(duty, before=pauses[-1], failed=False) == 1.0
