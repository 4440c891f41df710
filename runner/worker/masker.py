"""Replaces values by `***` in what is about to be written, whole or as a stream.

Promises: no byte of any form of a value (`runner.worker.encodings`) passes; everything else passes as it
came. Forms that overlap or touch become one `***`. The output depends on the bytes alone, never on how they
were cut into writes. A stream holds back only what may still turn out to be the beginning of a form, never
more than the longest form, so a finished line usually passes at once. `***` next to other text never spells a
form. Memory does not grow with the length of a stream. Pure: no input or output.
Refuses: values too weak to hide anything; their labels are listed in `Masker.weak`, for a warning.

How: an Aho-Corasick automaton finds the *heads* of forms, their first bytes, and only at a head the whole
form is compared. That keeps the automaton small: with 1,000 values it is ready in a third of the time that
one of whole forms takes, and a DFA, which is fast and large, stays small enough to use with 100.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from ahocorasick_rs import BytesAhoCorasick, Implementation

from runner.worker.encodings import forms

MASK = b"***"

#: Bytes of a form that the automaton looks for. Shorter heads meet more ordinary text, which then has to be
#: compared (`https://` has 8: a log with a URL a line becomes several times slower); longer ones cost time and
#: memory: with 1,000 values 8, 10, 12 and 16 bytes build in 9, 10, 12 and 16 ms.
HEAD = 10

#: Forms compared one by one at a head; where more share it, longer heads tell them apart.
CROWD = 4

#: At most this many heads are worth a DFA, which takes about 5 kB a head.
LARGEST_DFA = 2_000

#: Bytes searched before the DFA is built: one for 100 values costs 6 ms and then saves 2 to 3 ms a megabyte.
DFA_AFTER = 1 << 20

#: A stream searches its input in parts of this size, so that what it holds at once is bounded.
WINDOW = 1 << 16

Span = tuple[int, int]


class Masker:
    """The forms of a set of values, ready to be found. Threads may share it."""

    def __init__(self, values: Iterable[tuple[str, bytes]], *, beside: "Masker | None" = None) -> None:
        """`values` are (label, value); a label names the value in `weak`, for example `SAP.PIN`.

        What `beside` masks is masked too: so a value that turns up later joins a running stream, as
        `stream.masker = Masker(new, beside=stream.masker)`.
        """
        known: Iterable[bytes] = beside.forms if beside else ()
        found, weak = set(known), list(beside.weak if beside else ())
        for label, value in values:
            shapes = forms(value)
            found |= shapes
            if not shapes:
                weak.append(label)
        #: Labels of the values that are not masked, in the order given.
        self.weak: tuple[str, ...] = tuple(weak)
        #: What is replaced, sorted. As secret as the values.
        self.forms: list[bytes] = sorted(found)
        self._longest = max(map(len, found), default=0)
        self._heads, self._forms_at = _heads(self.forms)
        # A form that is incomplete after less than a head ends in one of these bytes.
        beginnings = b"".join(self._heads)
        self._openings = bytes(code for code in range(256) if code in beginnings)
        self._automaton = BytesAhoCorasick(self._heads, implementation=Implementation.ContiguousNFA)
        self._until_dfa = DFA_AFTER

    def mask(self, data: bytes) -> bytes:
        """`data` without any value."""
        stream = Stream(self)
        return stream.feed(data) + stream.flush()

    def mask_text(self, text: str) -> str:
        """`text` without any value; characters that no encoding can hold pass too."""
        data = _encoded(text)
        masked = self.mask(data)
        return text if masked == data else masked.decode(errors="replace")

    def scan(self, buffer: bytes) -> tuple[list[Span], int]:
        """Where forms are in `buffer`, in order, and where a form may begin that is not complete yet."""
        end = partial = len(buffer)
        spans: list[Span] = []
        for index, start, _ in self._heads_in(buffer):
            form = self._forms_at[index]
            if form and buffer.startswith(form, start):
                spans.append((start, start + len(form)))
            if start < partial and end - start < self._longest and self._begins_a_form(buffer[start:]):
                partial = start
        if buffer and buffer[-1] in self._openings:
            shorter = range(max(0, end - HEAD + 1), partial)
            partial = next((start for start in shorter if self._begins_a_form(buffer[start:])), partial)
        spans.sort()
        return spans, partial

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


class Stream:
    """One stream of bytes being masked: what is held back between two writes."""

    def __init__(self, masker: Masker) -> None:
        """`masker` may be exchanged while the stream runs; it holds from the next byte on."""
        self.masker = masker
        self._held = b""
        # Of the held bytes the first `_hidden` are inside a form whose `***` is already written. `_joined`
        # says that the last thing written was a `***`, so that a form right here adds no other.
        self._hidden = 0
        self._joined = False

    def feed(self, data: bytes) -> bytes:
        """What can be written now that `data` has arrived: all but a possible beginning of a form."""
        if len(data) <= WINDOW:
            return self._pass_on(data, last=False)
        parts = (data[start : start + WINDOW] for start in range(0, len(data), WINDOW))
        return b"".join(self._pass_on(part, last=False) for part in parts)

    def flush(self) -> bytes:
        """The rest, when nothing more will arrive. The stream can be used again afterwards."""
        rest = self._pass_on(b"", last=True)
        self._joined = False
        return rest

    def _pass_on(self, data: bytes, *, last: bool) -> bytes:
        buffer = self._held + data
        spans, partial = self.masker.scan(buffer)
        settled = len(buffer) if last else partial
        position = self._hidden
        written: list[bytes] = []
        for start, end in spans:
            if start > position:
                if start > settled:
                    break
                written.append(buffer[position:start])
                self._joined = False
            if not self._joined:
                written.append(MASK)
                self._joined = True
            position = max(position, end)
        if position < settled:
            written.append(buffer[position:settled])
            self._joined = False
            position = settled
        self._held, self._hidden = buffer[settled:], position - settled
        return b"".join(written)


def _heads(forms: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """A head for each of the sorted `forms`, and the forms in the same order.

    Forms of a crowd get longer heads, which tell them apart; the head they share stays, with no form.
    """
    length = HEAD
    heads = [form[:length] for form in forms]
    shared = crowds = _crowds(heads)
    while crowds:
        length *= 2
        crowds = {longer for head in crowds for longer in _lengthened(heads, forms, head=head, length=length)}
    return [*heads, *shared], [*forms, *(b"" for _ in shared)]


def _lengthened(heads: list[bytes], forms: list[bytes], *, head: bytes, length: int) -> set[bytes]:
    """Gives the forms that share `head` heads of `length`; returns the new ones that are crowded still."""
    first, last = bisect_left(heads, head), bisect_right(heads, head)
    longer = [form[:length] for form in forms[first:last]]
    heads[first:last] = longer
    return _crowds(longer)


def _crowds(heads: list[bytes]) -> set[bytes]:
    return {head for head, later in zip(heads, heads[CROWD:], strict=False) if head == later}


def _encoded(text: str) -> bytes:
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")
