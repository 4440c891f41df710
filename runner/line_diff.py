"""What changed from one text to another, line by line, with the lines around it; pure.

Promises to take time in proportion to the texts, whatever they hold: what differs too much to be told line from line
is shown as taken out and put in. Lines end at a line feed alone, and one that lacks it at the end of a text says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import takewhile

#: Unchanged lines around what changed.
CONTEXT = 3

#: Characters of a line that are shown.
LONGEST = 500

#: Lines of one side times lines of the other that are told apart: difflib's worst case for 2,000 with 2,000 unlike
#: lines takes 0.13 s here, usual texts a hundredth of it.
MOST_PAIRS = 4_000_000


@dataclass(frozen=True, slots=True)
class Line:
    """One line: a blank, `+` or `-`, its numbers on both sides, from 1, its text, and how much of that is left out."""

    sign: str
    before: int | None
    after: int | None
    text: str
    more: int = 0
    ended: bool = True


@dataclass(frozen=True, slots=True)
class Hunk:
    """Lines that stand together; `head` says where they begin and how many there are, as unified diffs say it."""

    head: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed; `left_out` counts lines that are not in `hunks`, `exact` is false where lines were not told apart.

    `pairs` is how many pairs of lines were told apart, which is what comparing costs at worst.
    """

    hunks: tuple[Hunk, ...]
    added: int
    removed: int
    left_out: int = 0
    exact: bool = True
    pairs: int = 0


def compare(before: str, after: str, *, most: int, pairs: int = MOST_PAIRS) -> Changes:
    """What changed, in at most `most` lines."""
    old, new = _with_ends(before.split("\n")), _with_ends(after.split("\n"))
    first = sum(1 for _ in takewhile(lambda both: both[0] == both[1], zip(old, new, strict=False)))
    shortest = min(len(old), len(new)) - first
    behind = zip(reversed(old), reversed(new), strict=False)
    last = min(shortest, sum(1 for _ in takewhile(lambda both: both[0] == both[1], behind)))
    unlike = (len(old) - first - last) * (len(new) - first - last)
    exact = unlike <= pairs
    groups = list(_groups(old, new, first=first, last=last, exact=exact))
    hunks, left = [], most
    for group in groups:
        lines = list(_lines(old, new, group))[: max(0, left)]
        left -= sum(max(i2 - i1, j2 - j1) if tag == "equal" else i2 - i1 + j2 - j1 for tag, i1, i2, j1, j2 in group)
        if lines:
            hunks.append(Hunk(_head(group), tuple(lines)))
    changed = [code for group in groups for code in group if code[0] != "equal"]
    return Changes(
        tuple(hunks),
        added=sum(j2 - j1 for _, _, _, j1, j2 in changed),
        removed=sum(i2 - i1 for _, i1, i2, _, _ in changed),
        left_out=max(0, -left),
        exact=exact,
        pairs=unlike if exact else 0,
    )


_Code = tuple[str, int, int, int, int]


def _with_ends(lines: list[str]) -> list[str]:
    """Each line with its line feed; the last has none, and is no line where it is empty."""
    whole = [f"{line}\n" for line in lines[:-1]]
    return [*whole, lines[-1]] if lines[-1] else whole


def _groups(old: Sequence[str], new: Sequence[str], *, first: int, last: int, exact: bool) -> Iterator[Sequence[_Code]]:
    """What difflib calls grouped opcodes, of the part that is not alike at the beginning and the end of both."""
    lead, tail = min(first, CONTEXT), min(last, CONTEXT)
    start, old_end, new_end = first - lead, len(old) - last + tail, len(new) - last + tail
    if exact:
        matcher = SequenceMatcher(None, old[start:old_end], new[start:new_end])
        for group in matcher.get_grouped_opcodes(CONTEXT):
            yield [(tag, i1 + start, i2 + start, j1 + start, j2 + start) for tag, i1, i2, j1, j2 in group]
        return
    yield [
        ("equal", start, first, start, first),
        ("replace", first, len(old) - last, first, len(new) - last),
        ("equal", len(old) - last, old_end, len(new) - last, new_end),
    ]


def _lines(old: Sequence[str], new: Sequence[str], group: Sequence[_Code]) -> Iterator[Line]:
    for tag, i1, i2, j1, j2 in group:
        if tag == "equal":
            for offset, text in enumerate(old[i1:i2]):
                yield _line(" ", i1 + offset + 1, j1 + offset + 1, text)
            continue
        for number, text in enumerate(old[i1:i2], i1 + 1):
            yield _line("-", number, None, text)
        for number, text in enumerate(new[j1:j2], j1 + 1):
            yield _line("+", None, number, text)


def _line(sign: str, before: int | None, after: int | None, text: str) -> Line:
    plain = text.removesuffix("\n")
    return Line(sign, before, after, plain[:LONGEST], max(0, len(plain) - LONGEST), ended=text.endswith("\n"))


def _head(group: Sequence[_Code]) -> str:
    (_, i1, _, j1, _), (_, _, i2, _, j2) = group[0], group[-1]
    return f"@@ -{_range(i1, i2)} +{_range(j1, j2)} @@"


def _range(start: int, end: int) -> str:
    """As unified diffs say it: an empty range is named by the line before it."""
    size = end - start
    return f"{start + 1 if size else start}" if size == 1 else f"{start + 1 if size else start},{size}"
