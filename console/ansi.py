"""From a line that a bot printed to pieces of text that a page can show; pure.

Promises that colours and emphasis (ECMA-48 SGR) become words of a fixed list, `STYLES`, and that nothing else of a
terminal survives: cursor movements, titles, links, clipboards and device strings are dropped, other control characters,
also those that reorder or hide text (Unicode TR 9), are written out. What is no complete sequence is shown, so
that nothing printable is lost. Takes time in proportion to the text, whatever the text. Refuses to make markup: whoever
shows a piece escapes it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

#: Colours of a terminal by number, as xterm has them; other colours become the nearest of these.
PALETTE = (
    *((0, 0, 0), (205, 0, 0), (0, 205, 0), (205, 205, 0), (0, 0, 238), (205, 0, 205), (0, 205, 205), (229, 229, 229)),
    *((127, 127, 127), (255, 0, 0), (0, 255, 0), (255, 255, 0), (92, 92, 255), (255, 0, 255), (0, 255, 255)),
    (255, 255, 255),
)

#: A character that was written out.
CONTROL = "control"

#: Every word that a piece's style can hold.
STYLES = frozenset(
    {
        *("bold", "faint", "italic", "underline", "strike", "inverse", CONTROL),
        *(f"{ground}-{number}" for ground in ("fg", "bg") for number in range(len(PALETTE))),
    }
)

#: Pieces of one line at most; what follows comes as one without a style.
MOST_PIECES = 100

# Control characters but the tab (C0, DEL, C1), format characters but the two that join letters and those that are
# seen, both separators of lines, halves of characters.
_HIDDEN = (
    "\x00-\x08\x0a-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\ufeff"
    "\ufff9-\ufffb\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"
    "\ud800-\udfff"
)
_CONTROLS = re.compile(f"[{_HIDDEN}]")

# ECMA-48: control sequences (5.4), strings up to their terminator (5.6), other escapes (ECMA-35, 13). A string ends at
# a further introducer, so that no text is looked at twice.
_SPECIAL = re.compile(
    r"(?:\x1b\[|\x9b)(?P<parameters>[0-?]*)(?P<between>[ -/]*)(?P<final>[@-~])"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d\x9e\x9f])[^\x07\x1b\x90\x98\x9c-\x9f]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"
    f"|(?P<hidden>[{_HIDDEN}])"
)


@dataclass(frozen=True, slots=True)
class Piece:
    """Text of one style; the style is some of `STYLES`, with spaces between them."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Pen:
    """How the next character is written; colours are numbers of `PALETTE`, or none."""

    fore: int | None = None
    back: int | None = None
    bold: bool = False
    faint: bool = False
    italic: bool = False
    underline: bool = False
    strike: bool = False
    inverse: bool = False

    @property
    def style(self) -> str:
        """The words of it. Text is never written in the colour of its ground."""
        fore, back = (self.back, self.fore) if self.inverse else (self.fore, self.back)
        words = [name for name in ("bold", "faint", "italic", "underline", "strike") if getattr(self, name)]
        if self.inverse and fore is None and back is None:
            words.append("inverse")
        if fore is not None:
            words.append(f"fg-{fore}")
        if back is not None and back != fore:
            words.append(f"bg-{back}")
        return " ".join(words)


#: The pen at the beginning.
PLAIN = Pen()


def pieces(text: str, pen: Pen = PLAIN) -> tuple[list[Piece], Pen]:
    """The pieces of a line, and the pen as it is after it. A carriage return is written out and breaks the line."""
    found: list[Piece] = []
    place = 0
    for special in _SPECIAL.finditer(text):
        if len(found) >= MOST_PIECES:
            break
        _add(found, text[place : special.start()], pen.style)
        place = special.end()
        if special["hidden"]:
            _add(found, _written_out(special["hidden"]), CONTROL)
            if special["hidden"] == "\r":
                _add(found, "\n", "")
        elif special["final"] == "m" and not special["between"]:
            pen = _after(pen, special["parameters"])
    else:
        _add(found, text[place:], pen.style)
        return found, pen
    _add(found, _SPECIAL.sub(lambda rest: _written_out(rest["hidden"] or ""), text[place:]), "")
    return found, PLAIN


def shown(text: str) -> str:
    """Text of one line with every hidden or reordering character written out: names, messages, parameters."""
    return _CONTROLS.sub(lambda found: _written_out(found[0]), text)


def _add(found: list[Piece], text: str, style: str) -> None:
    if not text:
        return
    if found and found[-1].style == style:
        found[-1] = Piece(found[-1].text + text, style)
    else:
        found.append(Piece(text, style))


def _written_out(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode()


def _after(pen: Pen, parameters: str) -> Pen:
    """The pen after SGR (ECMA-48, 8.3.117; colours by ITU T.416, with colons, and as xterm has them)."""
    if parameters[:1] in {"<", "=", ">", "?"}:
        return pen
    words = parameters.split(";")
    while words:
        word = words.pop(0)
        code = _number(word.partition(":")[0])
        if code in {38, 48, 58}:
            colour = _with_colons(word) if ":" in word else _with_semicolons(words)
            if code != 58 and colour is not None:
                pen = replace(pen, fore=colour) if code == 38 else replace(pen, back=colour)
        elif word == "4:0":
            pen = replace(pen, underline=False)
        else:
            pen = _switched(pen, code)
    return pen


def _switched(pen: Pen, code: int) -> Pen:
    if code == 0:
        return PLAIN
    if code in _SWITCHES:
        return replace(pen, **_SWITCHES[code])
    return pen


# Blinking (5, 6) and hiding (8) are left out: a log shows what it holds.
_SWITCHES: dict[int, dict[str, Any]] = {
    **{30 + number: {"fore": number} for number in range(8)},
    **{40 + number: {"back": number} for number in range(8)},
    **{90 + number: {"fore": 8 + number} for number in range(8)},
    **{100 + number: {"back": 8 + number} for number in range(8)},
    1: {"bold": True},
    2: {"faint": True},
    3: {"italic": True},
    4: {"underline": True},
    7: {"inverse": True},
    9: {"strike": True},
    21: {"underline": True},
    22: {"bold": False, "faint": False},
    23: {"italic": False},
    24: {"underline": False},
    27: {"inverse": False},
    29: {"strike": False},
    39: {"fore": None},
    49: {"back": None},
}


def _with_semicolons(words: list[str]) -> int | None:
    """`5;N` or `2;R;G;B` from the front of the words, which are taken."""
    kind = _number(words.pop(0)) if words else 0
    if kind == 5 and words:
        return _of_number(_number(words.pop(0)))
    if kind == 2 and len(words) >= 3:
        red, green, blue = (_number(words.pop(0)) for _ in range(3))
        return _nearest(red, green, blue)
    words.clear()
    return None


def _with_colons(word: str) -> int | None:
    """`38:5:N`, `38:2:R:G:B`, or `38:2:SPACE:R:G:B`."""
    parts = word.split(":")[1:]
    if parts[0] == "5" and len(parts) > 1:
        return _of_number(_number(parts[1]))
    if parts[0] == "2" and len(parts) >= 4:
        red, green, blue = (_number(part) for part in (parts[2:5] if len(parts) >= 5 else parts[1:4]))
        return _nearest(red, green, blue)
    return None


def _of_number(number: int) -> int | None:
    """A colour of the 256: 16 by name, a cube of 6 levels each, 24 greys."""
    if number < len(PALETTE):
        return number if number >= 0 else None
    if number < 232:
        levels = (0, 95, 135, 175, 215, 255)
        cube = number - 16
        return _nearest(levels[cube // 36], levels[cube // 6 % 6], levels[cube % 6])
    if number < 256:
        grey = 8 + 10 * (number - 232)
        return _nearest(grey, grey, grey)
    return None


@lru_cache(maxsize=1024)
def _nearest(red: int, green: int, blue: int) -> int | None:
    wanted = (red, green, blue)
    if min(wanted) < 0 or max(wanted) > 255:
        return None
    return min(
        range(len(PALETTE)),
        key=lambda number: sum((a - b) ** 2 for a, b in zip(PALETTE[number], wanted, strict=True)),
    )


def _number(word: str) -> int:
    """A parameter; an empty one is 0, and one that is none means nothing (-1)."""
    if not word:
        return 0
    return int(word) if word.isdigit() and len(word) < 6 else -1
