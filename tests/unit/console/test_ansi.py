"""What a bot prints becomes pieces of a few styles, and nothing that steers whoever looks at it."""

import pytest

from console.ansi import MOST_PIECES, PLAIN, Pen, pieces, shown


@pytest.mark.parametrize(
    ("printed", "styled"),
    [
        ("plain", [("plain", "")]),
        ("\x1b[31mred\x1b[0m.", [("red", "fg-1"), (".", "")]),
        ("\x1b[1;4;92;44mall\x1b[m", [("all", "bold underline fg-10 bg-4")]),
        ("\x1b[3;9;2ma\x1b[22;23mb\x1b[29mc", [("a", "faint italic strike"), ("b", "strike"), ("c", "")]),
        ("\x1b[7mx\x1b[31my\x1b[27mz", [("x", "inverse"), ("y", "bg-1"), ("z", "fg-1")]),
        ("\x1b[38;5;9ma\x1b[38;5;196mb\x1b[48;5;232mc", [("ab", "fg-9"), ("c", "fg-9 bg-0")]),
        ("\x1b[38;2;250;5;5ma\x1b[38:2::0:0:238mb\x1b[38:5:2mc", [("a", "fg-9"), ("b", "fg-4"), ("c", "fg-2")]),
        # What is out of range, or no number, changes nothing.
        ("\x1b[38;5;256ma\x1b[38;2;1;2mb\x1b[38;2;999;0;0mc\x1b[999999999mx\x1b[38m\x1b[38:9my", [("abcxy", "")]),
        # Underlines in a colour of their own are just underlines; blinking and hiding are not taken.
        ("\x1b[4;58;5;9ma\x1b[4:0mb\x1b[5;6;8mc", [("a", "underline"), ("bc", "")]),
        # Nobody writes in the colour of the ground.
        ("\x1b[30;40mhidden", [("hidden", "fg-0")]),
        # Cursor movements, erasing, modes and other settings.
        ("a\x1b[2J\x1b[1;1H\x1b[?25l\x1b[>4;2m\x1b[1 qb\x1b(Bc\x1b7d\x1bce", [("abcde", "")]),
        # Titles, links, the clipboard, device strings; with either end, in 7 or 8 bits.
        ("a\x1b]0;title\x07b\x1b]52;c;aGk=\x1b\\c\x1bPq\x1b\\d\x9d0;x\x9ce\x9b31mf", [("abcde", ""), ("f", "fg-1")]),
        ("\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\", [("click", "")]),
        # What has no end hides nothing.
        ("a\x1b]0;never ends", [("a0;never ends", "")]),
        ("a\x1b[31", [("a31", "")]),
        ("a\x1b", [("a", ""), ("\\x1b", "control")]),
        # Marks that reorder and characters that nobody sees.
        ("a\u202eb\x00\u200bc", [("a", ""), ("\\u202e", "control"), ("b", ""), ("\\x00\\u200b", "control"), ("c", "")]),
        ("50 %\r100 %", [("50 %", ""), ("\\r", "control"), ("\n100 %", "")]),
        ("tab\tand 👩‍👩‍👧 مرحبا", [("tab\tand 👩‍👩‍👧 مرحبا", "")]),
        ("<script>alert(1)</script>", [("<script>alert(1)</script>", "")]),
    ],
)
def test_a_line_becomes_pieces(printed: str, styled: list[tuple[str, str]]) -> None:
    found, _pen = pieces(printed)
    assert [(piece.text, piece.style) for piece in found] == styled


def test_a_style_goes_on_in_the_next_line() -> None:
    _begun, pen = pieces("\x1b[1;31mTraceback")
    following, pen = pieces("  File\x1b[0m", pen)
    assert (following[0].style, pen) == ("bold fg-1", PLAIN)


def test_a_line_of_endless_changes_is_a_bounded_number_of_pieces() -> None:
    found, pen = pieces("".join(f"\x1b[{31 + number % 2}m{number},\x1b]0;t\x07" for number in range(5000)))
    assert len(found) == MOST_PIECES + 1
    assert "".join(piece.text for piece in found) == "".join(f"{number}," for number in range(5000))
    assert pen == Pen()


def test_a_line_of_endless_beginnings_takes_no_longer_than_any_other() -> None:
    for begin in ("\x1b]", "\x9d", "\x1b[", "\x1b[3;", "\x1bP\x1b", "\x9b0"):
        assert len(pieces(begin * 200_000)[0]) <= MOST_PIECES + 3


def test_names_and_messages_show_what_hides_in_them() -> None:
    assert shown("a\x1b[31m\nb\u2067c\u00ad\ud800") == "a\\x1b[31m\\nb\\u2067c\\xad\\ud800"
