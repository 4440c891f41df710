"""What a bot prints as pieces for a page, against text that Hypothesis invents."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from console.ansi import MOST_PIECES, STYLES, Pen, pieces, shown

#: What terminals act on, with what begins, parts and ends it, and characters that hide or reorder.
STEERING = (
    *("\x1b", "\x1b[", "\x1b]", "\x1bP", "\x1b\\", "\x07", "\x9b", "\x9d", "\x9c", "m", ";", ":", "38", "5", "2", "0"),
    *("\u202e", "\u2066", "\u200f", "\u200b", "\r", "\t", "\ud800", "\U000e0041"),
)

printed = st.lists(st.one_of(st.sampled_from(STEERING), st.text(max_size=5)), max_size=60).map("".join)
letters = st.text(st.characters(whitelist_categories=("L", "N")), max_size=4)


@given(printed)
def test_nothing_that_steers_or_hides_is_left(text: str) -> None:
    found, pen = pieces(text)
    assert [piece.text for piece in found if not piece.text or any(map(hides, piece.text.replace("\n", "")))] == []
    assert {word for piece in found for word in piece.style.split()} <= STYLES
    assert set(pen.style.split()) <= STYLES
    assert len(found) <= MOST_PIECES + 4
    assert not any(map(hides, shown(text)))
    "".join(piece.text for piece in found).encode()


@given(st.text(st.characters(blacklist_categories=("Cc", "Cf", "Cs", "Zl", "Zp"))))
def test_printable_text_stays_as_it_is(text: str) -> None:
    found, pen = pieces(text)
    assert "".join(piece.text for piece in found) == text == shown(text)
    assert pen == Pen()


@given(st.lists(st.tuples(st.integers(0, 120), letters)))
def test_colours_take_nothing_of_the_text(parts: list[tuple[int, str]]) -> None:
    found, _pen = pieces("".join(f"\x1b[{code}m{words}" for code, words in parts))
    assert "".join(piece.text for piece in found) == "".join(words for _code, words in parts)


def hides(character: str) -> bool:
    """By Unicode's own tables; letters that these call formats, and what joins letters, are seen."""
    if character in "\t\u200c\u200d" or unicodedata.bidirectional(character) in {"AN", "AL"}:
        return False
    seen = character in "\U000110bd\U000110cd"
    return not seen and unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_every_character_that_unicode_hides_is_written_out() -> None:
    every = map(chr, range(0x110000))
    assert [hex(ord(each)) for each in every if hides(each) and shown(each) == each] == []
