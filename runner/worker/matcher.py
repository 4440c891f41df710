"""Finds the forms of values in bytes, and where a form may have begun that goes on later. Pure and immutable.

How: an Aho-Corasick automaton finds the *heads* of forms, their first bytes, and only at a head the whole
form is compared. That keeps the automaton small: with 1,000 values it is ready in a third of the time that
one of whole forms takes, and a DFA, which is fast and large, stays small enough to use with 100.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import accumulate
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

#: Bytes searched before the DFA is built: one for 100 values costs 6 ms and then saves 2 to 3 ms a megabyte.
DFA_AFTER = 1 << 20

_ANY = bytes(range(256))

Span = tuple[int, int]


class Matcher:
    """Some forms, ready to be found. Threads may share it."""

    def __init__(self, forms: Iterable[bytes]) -> None:
        #: What is found, sorted. As secret as the values.
        self.forms: list[bytes] = sorted(forms)
        self._longest = max(map(len, self.forms), default=0)
        self._heads, self._firsts, self._lasts, self._crowds, self._longest_head = _heads(self.forms)
        # A form that is incomplete after less than a head ends in one of these bytes.
        self._openings = _ANY.translate(None, _ANY.translate(None, b"".join(self._heads)))
        self._automaton = BytesAhoCorasick(self._heads, implementation=Implementation.ContiguousNFA)
        self._until_dfa = DFA_AFTER

    def scan(self, buffer: bytes) -> tuple[list[Span], int]:
        """Where forms are in `buffer`, in order, and where a form may begin that is not complete yet."""
        end = partial = len(buffer)
        spans: list[Span] = []
        for index, start, _ in self._heads_in(buffer):
            these = self.forms[self._firsts[index] : self._lasts[index]]
            spans += [(start, start + len(form)) for form in these if buffer.startswith(form, start)]
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
        if self._until_dfa > 0:
            self._until_dfa -= len(buffer)
            if self._until_dfa <= 0 and len(self._heads) <= LARGEST_DFA:
                self._automaton = BytesAhoCorasick(self._heads, implementation=Implementation.DFA)
        return self._automaton.find_matches_as_indexes(buffer, overlapping=True)

    def _begins_a_form(self, tail: bytes) -> bool:
        # Forms that begin with `tail` and go on come right after it in their order.
        following = bisect_right(self.forms, tail)
        return following < len(self.forms) and self.forms[following].startswith(tail)


class _Heads(NamedTuple):
    """The heads of sorted forms; the form at `firsts[i]` and those before `lasts[i]` begin with `heads[i]`."""

    heads: list[bytes]
    firsts: list[int]
    lasts: list[int]
    crowds: set[bytes]  # beginnings whose forms have longer heads
    longest: int  # none has more bytes


def _heads(forms: list[bytes]) -> _Heads:
    found = _Heads([], [], [], set(), HEAD)
    longest = HEAD
    pending = [(0, len(forms), HEAD)]
    while pending:
        first, last, length = pending.pop()
        longest = max(longest, length)
        counts = Counter([form[:length] for form in forms[first:last]])
        heads, ends = list(counts), list(accumulate(counts.values(), initial=first))
        firsts, lasts = ends[:-1], ends[1:]
        crowded = {at for at, count in enumerate(counts.values()) if count > CROWD}
        if length == HEAD:
            crowded.update(heads.index(head) for head in COMMON if head in counts)
            found.crowds.update(heads[at] for at in crowded)
        for at in sorted(crowded, reverse=True):
            pending.append((firsts[at], lasts[at], 2 * length))
            del heads[at], firsts[at], lasts[at]
        found.heads.extend(heads)
        found.firsts.extend(firsts)
        found.lasts.extend(lasts)
    return found._replace(longest=longest)
