"""Whatever two texts are, what is said to have changed turns one into the other."""

from hypothesis import given
from hypothesis import strategies as st

from runner.line_diff import MOST_PAIRS, compare

#: Few different lines, so that many are alike; with characters that other programs take for ends of lines.
TEXTS = st.lists(st.sampled_from(["a\n", "b\n", "\n", "a\rb\n", "\x0c\x85\u2028\n", "é" * 3, "c\n"]), max_size=30).map(
    "".join
)


@given(TEXTS, TEXTS, st.sampled_from([0, MOST_PAIRS]))
def test_the_lines_of_a_comparison_turn_one_text_into_the_other(before: str, after: str, pairs: int) -> None:
    found = compare(before, after, most=10_000, pairs=pairs)
    old = [f"{line}\n" for line in before.split("\n")]
    old = [*old[:-1], *([old[-1].removesuffix("\n")] if old[-1] != "\n" else [])]
    made: list[str] = []
    place = added = removed = 0
    for hunk in found.hunks:
        for line in hunk.lines:
            while line.sign != "+" and line.before is not None and place < line.before - 1:
                made.append(old[place])
                place += 1
            while line.sign == "+" and line.after is not None and len(made) < line.after - 1:
                made.append(old[place])
                place += 1
            text = line.text + ("\n" if line.ended else "")
            if line.sign != "+":
                assert old[place] == text
                place += 1
            if line.sign != "-":
                made.append(text)
            added, removed = added + (line.sign == "+"), removed + (line.sign == "-")
    assert "".join([*made, *old[place:]]) == after
    assert (added, removed, found.left_out) == (found.added, found.removed, 0)


@given(TEXTS, TEXTS, st.integers(0, 20))
def test_no_more_lines_are_shown_than_there_is_room_for(before: str, after: str, most: int) -> None:
    found, whole = compare(before, after, most=most), compare(before, after, most=10_000)
    shown = sum(len(hunk.lines) for hunk in found.hunks)
    assert shown <= most
    assert shown + found.left_out == sum(len(hunk.lines) for hunk in whole.hunks)
