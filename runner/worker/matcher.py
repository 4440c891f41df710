"""Finds the forms of values in bytes, and where a form may have begun that goes on later. Pure and immutable.

How: an Aho-Corasick automaton finds the *heads* of forms, their first bytes, and only at a head the whole
form is compared. That keeps the automaton small: with 1,000 values it is ready in a third of the time that
one of whole forms takes, and a DFA, which is fast and large, stays small enough to use with 100. The few heads of a
value or two need none: they are looked for one by one in what is short.
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

_ANY = bytes(range(256))

Span = tuple[int, int]


class Matcher:
    """Some forms, ready to be found. Threads may share it."""

    def __init__(self, forms: AbstractSet[bytes]) -> None:
        #: What is found. As secret as the values.
        self.forms = forms
        self._heads, self._groups, self._crowds, self._longest_head = _heads(forms)
        # A form that is incomplete after less than a head ends in one of these bytes.
        self._openings = _ANY.translate(None, _ANY.translate(None, b"".join(self._heads)))
        self._few = len(self._heads) <= FEW
        # The quickest to build, until it is known that there is much to search.
        self._automaton = None if self._few else self._build(Implementation.NoncontiguousNFA)
        self._until_faster = FASTER_AFTER

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self.forms), default=0)

    @cached_property
    def sorted(self) -> list[bytes]:
        """The forms in order, which is needed first when a write ends like a beginning of one."""
        return sorted(self.forms)

    def finds(self, buffer: bytes) -> bool:
        """Whether any form is in `buffer`."""
        for index, start, _ in self._heads_in(buffer) if self.forms else ():
            for form in self._groups[index]:
                if buffer.startswith(form, start):
                    return True
        return False

    def scan(self, buffer: bytes) -> tuple[list[Span], int]:
        """Where forms are in `buffer`, in order, and where a form may begin that is not complete yet."""
        end = partial = len(buffer)
        spans: list[Span] = []
        for index, start, _ in self._heads_in(buffer):
            for form in self._groups[index]:
                if buffer.startswith(form, start):
                    spans.append((start, start + len(form)))  # noqa: PERF401 - faster for so few
            if start < partial and end - start < self._longest and self._begins_a_form(buffer[start:]):
                partial = start
        if buffer and buffer[-1] in self._openings:
            partial = next(self._begun(buffer, partial), partial)
        spans.sort()
        return spans, partial

    def _begun(self, buffer: bytes, until: int) -> Iterator[int]:
        """Where the beginning of a form is that has no whole head yet."""
        end = len(buffer)
        if self._crowds:
            for start in range(max(0, end - self._longest_head + 1), min(until, end - HEAD + 1)):
                if buffer[start : start + HEAD] in self._crowds and self._begins_a_form(buffer[start:]):
                    yield start
        for start in range(max(0, end - HEAD + 1), until):
            if self._begins_a_form(buffer[start:]):
                yield start

    def _heads_in(self, buffer: bytes) -> list[tuple[int, int, int]]:
        if self._few and len(buffer) <= SHORT:
            return self._one_by_one(buffer)
        automaton = self._automaton
        if self._until_faster > 0:
            self._until_faster -= len(buffer)
            if self._until_faster <= 0:
                few = len(self._heads) <= LARGEST_DFA
                automaton = self._build(Implementation.DFA if few else Implementation.ContiguousNFA)
        if automaton is None:
            automaton = self._build(Implementation.NoncontiguousNFA)
        return automaton.find_matches_as_indexes(buffer, overlapping=True)

    def _build(self, kind: Implementation) -> BytesAhoCorasick:
        self._automaton = BytesAhoCorasick(self._heads, implementation=kind)
        return self._automaton

    def _one_by_one(self, buffer: bytes) -> list[tuple[int, int, int]]:
        """As the automaton finds them, in another order."""
        found: list[tuple[int, int, int]] = []
        if not any(map(buffer.__contains__, self._heads)):
            return found
        for index, head in enumerate(self._heads):
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
    return _Heads(list(groups), list(groups.values()), crowds, length)


def _grouped(forms: Iterable[bytes], length: int) -> dict[bytes, list[bytes]]:
    groups: dict[bytes, list[bytes]] = {}
    for form in forms:
        head = form[:length]
        if head in groups:
            groups[head].append(form)
        else:
            groups[head] = [form]
    return groups
