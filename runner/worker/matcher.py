"""Finds the forms of values in bytes, and where a form may have begun that goes on later. Pure and immutable.

How: an Aho-Corasick automaton finds the *heads* of forms, their first bytes, and only at a head the whole
form is compared. That keeps the automaton small: with 1,000 values it is ready in a third of the time that
one of whole forms takes, and a DFA, which is fast and large, stays small enough to use with 100. The few heads of a
value or two need none: they are looked for one by one in what is short. Nor do the first lines that a bot prints: an
automaton is built when there is more to search, or when the beginning of a form was in them.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from functools import cached_property
from typing import NamedTuple

from ahocorasick_rs import BytesAhoCorasick, Implementation

#: Bytes of a form that the automaton looks for. Each more costs time to build, memory, and with many values speed.
HEAD = 8

#: Forms compared one by one at a head; where more share it, longer heads tell them apart.
CROWD = 16

#: Heads that ordinary text has: they are lengthened even for a single form.
COMMON = (b"https://", b"http://w", b"password", b"postgres", b"jdbc:pos", b"Bearer e", b"-----BEG", b"        ")

#: At most this many heads are worth a DFA, which takes about 5 kB a head.
LARGEST_DFA = 2_000

#: Bytes searched before a faster automaton is built: a DFA for 100 values costs 6 ms and then saves 4 ms a megabyte, a
#: contiguous NFA for 1,000 costs 9 ms and then saves 2.
FASTER_AFTER = 1 << 20

#: Heads, and bytes searched, that are looked for one by one: up to here that takes 2.5 µs, and an automaton, which then
#: takes 1, 15 µs to build (a quiet machine, 2026-11-26; three to ten times as much between two bots).
FEW, SHORT = 24, 1024

#: Bytes that are looked through by hand before an automaton is built: a kilobyte costs 65 µs, that of 100 values 300.
BY_HAND = 2048

_ANY = bytes(range(256))
_NONE: AbstractSet[bytes] = frozenset()

Span = tuple[int, int]


class Matcher:
    """Some forms, ready to be found. Threads may share it."""

    def __init__(self, forms: AbstractSet[bytes]) -> None:
        #: What is found. As secret as the values.
        self.forms = forms
        self._beginnings = {form[:HEAD] for form in forms}
        self._lengths = {*map(len, self._beginnings)}
        self._openings = _bytes_of(self._beginnings)
        self._few = len(self._beginnings) <= FEW
        self._automaton: BytesAhoCorasick | None = None
        self._until_automaton, self._until_faster = BY_HAND, FASTER_AFTER

    @cached_property
    def _table(self) -> "_Heads":
        """The heads, which are first needed when the beginning of a form is found, or an automaton."""
        return _heads(self.forms)

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self.forms), default=0)

    @cached_property
    def sorted(self) -> list[bytes]:
        """The forms in order, which is needed first when a write ends like a beginning of one."""
        return sorted(self.forms)

    def finds(self, buffer: bytes) -> bool:
        """Whether any form is in `buffer`."""
        for index, start, _ in self._heads_in(buffer) if self._may_be_in(buffer) else ():
            for form in self._table.groups[index]:
                if buffer.startswith(form, start):
                    return True
        return False

    def scan(self, buffer: bytes) -> tuple[list[Span], int]:
        """Where forms are in `buffer`, in order, and where a form may begin that is not complete yet."""
        end = partial = len(buffer)
        spans: list[Span] = []
        openings, crowds = self._openings, _NONE  # no crowd has begun where no beginning is
        if self._may_be_in(buffer):
            groups, openings, crowds = self._table.groups, self._table.openings, self._table.crowds
            for index, start, _ in self._heads_in(buffer):
                for form in groups[index]:
                    if buffer.startswith(form, start):
                        spans.append((start, start + len(form)))  # noqa: PERF401 - faster for so few
                if start < partial and end - start < self._longest and self._begins_a_form(buffer[start:]):
                    partial = start
            spans.sort()
        if buffer and buffer[-1] in openings:
            partial = next(self._begun(buffer, partial, crowds), partial)
        return spans, partial

    def _may_be_in(self, buffer: bytes) -> bool:
        """False where no beginning of a form is in `buffer`; true where one is, or where an automaton is to say it."""
        if self._few and len(buffer) <= SHORT:
            return any(map(buffer.__contains__, self._beginnings))
        if self._automaton is not None or len(buffer) * len(self._lengths) > self._until_automaton:
            return True
        self._until_automaton -= len(buffer) * len(self._lengths)
        return not all(
            self._beginnings.isdisjoint([buffer[start : start + size] for start in range(len(buffer) - size + 1)])
            for size in self._lengths
        )

    def _begun(self, buffer: bytes, until: int, crowds: AbstractSet[bytes]) -> Iterator[int]:
        """Where the beginning of a form is that has no whole head yet."""
        end = len(buffer)
        if crowds:
            for start in range(max(0, end - self._table.longest + 1), min(until, end - HEAD + 1)):
                if buffer[start : start + HEAD] in crowds and self._begins_a_form(buffer[start:]):
                    yield start
        for start in range(max(0, end - HEAD + 1), until):
            if self._begins_a_form(buffer[start:]):
                yield start

    def _heads_in(self, buffer: bytes) -> list[tuple[int, int, int]]:
        if len(self._table.heads) <= FEW and len(buffer) <= SHORT:
            return self._one_by_one(buffer)
        automaton = self._automaton
        if self._until_faster > 0:
            self._until_faster -= len(buffer)
            if self._until_faster <= 0:
                few = len(self._table.heads) <= LARGEST_DFA
                automaton = self._build(Implementation.DFA if few else Implementation.ContiguousNFA)
        if automaton is None:
            # The quickest to build, until it is known that there is much to search.
            automaton = self._build(Implementation.NoncontiguousNFA)
        return automaton.find_matches_as_indexes(buffer, overlapping=True)

    def _build(self, kind: Implementation) -> BytesAhoCorasick:
        self._automaton = BytesAhoCorasick(self._table.heads, implementation=kind)
        return self._automaton

    def _one_by_one(self, buffer: bytes) -> list[tuple[int, int, int]]:
        """As the automaton finds them, in another order."""
        found: list[tuple[int, int, int]] = []
        for index, head in enumerate(self._table.heads):
            start = buffer.find(head)
            while start >= 0:
                found.append((index, start, start + len(head)))
                start = buffer.find(head, start + 1)
        return found

    def _begins_a_form(self, tail: bytes) -> bool:
        # Forms that begin with `tail` and go on come right after it in their order.
        following = bisect_right(self.sorted, tail)
        return following < len(self.sorted) and self.sorted[following].startswith(tail)


class _Heads(NamedTuple):
    """The heads of forms, and of each those that it begins."""

    heads: list[bytes]
    groups: list[list[bytes]]
    crowds: set[bytes]  # beginnings whose forms have longer heads
    longest: int  # no head has more bytes
    openings: bytes  # a form that is incomplete after less than a head ends in one of these


def _heads(forms: Iterable[bytes]) -> _Heads:
    groups = _grouped(forms, HEAD)
    crowds = {head for head, these in groups.items() if len(these) > CROWD}
    crowds.update(head for head in COMMON if head in groups)
    pending, length = list(crowds), HEAD
    while pending:
        length *= 2
        longer = [_grouped(groups.pop(head), length) for head in pending]
        pending = [head for each in longer for head, these in each.items() if len(these) > CROWD]
        for each in longer:
            groups.update(each)
    return _Heads(list(groups), list(groups.values()), crowds, length, _bytes_of(groups))


def _bytes_of(heads: Iterable[bytes]) -> bytes:
    """Each byte that is in any of these, once."""
    return _ANY.translate(None, _ANY.translate(None, b"".join(heads)))


def _grouped(forms: Iterable[bytes], length: int) -> dict[bytes, list[bytes]]:
    groups: dict[bytes, list[bytes]] = {}
    for form in forms:
        head = form[:length]
        if head in groups:
            groups[head].append(form)
        else:
            groups[head] = [form]
    return groups
