"""`docs/STATES.md` says what the code does, and the code can do nothing else."""

import re

import pytest

from runner.states import FINAL, TRANSITIONS, Reason, State
from tests.support import ROOT

PAGE = (ROOT / "docs/STATES.md").read_text()


def rows(title: str) -> list[list[str]]:
    """The cells of the table whose first column has this title."""
    lines = iter(PAGE.splitlines())
    next(line for line in lines if line.startswith(f"| {title} |"))
    next(lines)
    found = []
    for line in lines:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def test_the_graph_has_every_transition_and_no_other() -> None:
    drawn = {(start, end, verb) for start, end, verb in re.findall(r"(\w+) --> (\w+): (\w+)", PAGE)}
    assert drawn == {(str(start), str(end), verb) for start, end, verb in TRANSITIONS}
    assert re.findall(r"\[\*\] --> (\w+)", PAGE) == [State.QUEUED]


def test_the_page_explains_every_state() -> None:
    assert [row[0].strip("`") for row in rows("state")] == list(State)


def test_the_page_says_never_where_a_state_is_final() -> None:
    assert {row[0].strip("`") for row in rows("state") if row[2] == "never"} == FINAL


def test_the_page_gives_every_reason_its_sentence() -> None:
    assert {row[0].strip("`"): row[1] for row in rows("reason")} == {str(reason): reason.sentence for reason in Reason}


def test_no_transition_leaves_a_final_state() -> None:
    assert not {start for start, _, _ in TRANSITIONS} & FINAL
    assert {state for state in State if state not in FINAL} == {start for start, _, _ in TRANSITIONS}


def test_every_state_can_be_reached() -> None:
    assert {end for _, end, _ in TRANSITIONS} | {State.QUEUED} == set(State)


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_is_explained_in_whole_sentences(reason: Reason) -> None:
    assert reason.sentence[0].isupper()
    assert reason.sentence.endswith(".")


def test_docstrings_of_states_say_how_to_leave_them() -> None:
    source = (ROOT / "runner/states.py").read_text()
    for state in State:
        text = re.search(rf'{state.name} = "{state}"\n    """(.*?)"""', source, re.DOTALL)
        assert text is not None, f"{state} has no docstring"
        assert ("Final" in text[1]) == (state in FINAL)
