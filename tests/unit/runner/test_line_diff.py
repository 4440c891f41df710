"""What changed from one text to another, as people read it."""

from runner.line_diff import LONGEST, compare


def test_lines_stand_with_those_around_them_under_the_head_of_a_unified_diff() -> None:
    before = "".join(f"line {number}\n" for number in range(1, 31))
    after = before.replace("line 5\n", "line five\n").replace("line 25\n", "line 25\nanother\n")
    found = compare(before, after, most=1000)
    assert [hunk.head for hunk in found.hunks] == ["@@ -2,7 +2,7 @@", "@@ -23,6 +23,7 @@"]
    changed = [(line.sign, line.before, line.after, line.text) for line in found.hunks[0].lines if line.sign != " "]
    assert changed == [("-", 5, None, "line 5"), ("+", None, 5, "line five")]
    assert (found.added, found.removed) == (2, 1)


def test_an_empty_side_is_named_by_the_line_before_it() -> None:
    assert [hunk.head for hunk in compare("", "a\nb\n", most=9).hunks] == ["@@ -0,0 +1,2 @@"]
    assert [hunk.head for hunk in compare("a\n", "", most=9).hunks] == ["@@ -1 +0,0 @@"]
    assert compare("same\n", "same\n", most=9).hunks == ()


def test_a_line_without_an_end_is_another_one_and_a_long_line_is_cut() -> None:
    (hunk,) = compare("a", "a\n", most=9).hunks
    assert [(line.sign, line.ended) for line in hunk.lines] == [("-", False), ("+", True)]
    (hunk,) = compare("", "x" * (LONGEST + 7), most=9).hunks
    assert (len(hunk.lines[0].text), hunk.lines[0].more) == (LONGEST, 7)


def test_what_differs_too_much_is_taken_out_and_put_in() -> None:
    before, after = ("".join(f"{side}{number}\nsame\n" for number in range(50)) for side in "xy")
    found = compare(f"top\n{before}", f"top\n{after}", most=1000, pairs=5000)
    assert not found.exact
    signs = "".join(line.sign for hunk in found.hunks for line in hunk.lines)
    assert signs == " " + "-" * 99 + "+" * 99 + " "
    assert found.pairs == 0
    assert compare(before, after, most=1000).exact
