"""Replaces values by `***` in what is about to be written, whole or as a stream.

Promises: no byte of any form of a value (`runner.worker.encodings`) passes; everything else passes as it
came. Forms that overlap or touch become one `***`. The output depends on the bytes alone, never on how they
were cut into writes. A stream holds back only what may still turn out to be the beginning of a form, never
more than the longest form, so a finished line usually passes at once. `***` next to other text never spells a
form. Memory does not grow with the length of a stream. Values may be added at any time, by any thread: they are
masked in all that a stream has not written yet. Pure: no input or output.
Refuses: values too weak to hide anything; their labels are listed in `Masker.weak`, for a warning.
"""

import sys
import threading
from collections.abc import Iterable
from weakref import WeakValueDictionary

from runner.worker.encodings import forms_of
from runner.worker.matcher import FASTER_AFTER, Matcher, Span
from vault.grading import too_weak

MASK = b"***"

#: A stream searches its input in parts of this size, so that what it holds at once is bounded.
WINDOW = 1 << 16

_NOTHING = Matcher(frozenset())

#: Forms that were added one by one and are looked for apart; with more of them all are put together again. So adding
#: one value of 13 forms to 1,000 takes 1 ms on average, and not the 20 ms that a matcher of all takes.
APART = 600


#: Matchers of many values by these, each for as long as a masker has it: attempts that run at the same time with the
#: same values share one. Of fewer values it is quicker to make, and to search, one with the attempt's token in it.
_in_use: "WeakValueDictionary[frozenset[bytes], Matcher]" = WeakValueDictionary()
MANY = 12


class Masker:
    """The forms of a set of values, which are made when something is to be masked first. Threads may share it."""

    def __init__(self, values: Iterable[tuple[str, bytes]] = (), *, beside: "Masker | None" = None) -> None:
        """`values` are (label, value); a label names the value in `weak`, for example `SAP.PIN`.

        What `beside` masks is masked too.
        """
        self._adding = threading.Lock()
        self._weak: tuple[str, ...] = beside.weak if beside else ()
        self._matchers: tuple[Matcher, ...] = beside.matchers if beside else (_NOTHING,)
        self._until_together = FASTER_AFTER
        #: What was given and not looked at yet, and values whose forms are not in the matchers yet, as they were given
        #: at once. Nothing leaves one before it is in the next, since other threads look without the lock.
        self._given: list[list[tuple[str, bytes]]] = []
        self._waiting: list[list[bytes]] = []
        self.add(values)

    @property
    def weak(self) -> tuple[str, ...]:
        """Labels of the values that are not masked, in the order given."""
        with self._adding:
            self._sort_out()
            return self._weak

    @property
    def forms(self) -> list[bytes]:
        """What is replaced, sorted. As secret as the values."""
        return sorted(form for matcher in self.matchers for form in matcher.forms)

    @property
    def size(self) -> int:
        """How many forms are looked for."""
        return sum(len(matcher.forms) for matcher in self.matchers)

    @property
    def matchers(self) -> tuple[Matcher, ...]:
        """What finds the forms of all values that were added."""
        if self._given or self._waiting:
            with self._adding:
                self._sort_out()
                while self._waiting:
                    self._learn(self._waiting[0])
                    del self._waiting[0]
        return self._matchers

    def add(self, values: Iterable[tuple[str, bytes]]) -> None:
        """Mask these (label, value) too, from now on; streams look at what they hold back anew."""
        if given := list(values):
            with self._adding:
                self._given.append(given)

    def mask(self, data: bytes) -> bytes:
        """`data` without any value."""
        for matcher in self.matchers:
            if matcher.finds(data):
                return self.stream().flush(data)
        return data

    def mask_text(self, text: str) -> str:
        """`text` without any value; characters that no encoding can hold pass too."""
        return mask_text(text, (self,))

    def stream(self) -> "Stream":
        """A new stream that is masked with whatever is known when its bytes are written."""
        return Stream(self)

    def scan(self, buffer: bytes) -> tuple[list[Span], int]:
        """Where forms are in `buffer`, in order, and where a form may begin that is not complete yet."""
        first, *others = self.matchers
        spans, partial = first.scan(buffer)
        for matcher in others:
            more, begun = matcher.scan(buffer)
            spans += more
            partial = min(partial, begun)
        if others:
            spans.sort()
            self._until_together -= len(buffer)
            if self._until_together <= 0:
                self._put_together()
        return spans, partial

    def _sort_out(self) -> None:
        while self._given:
            strong: list[bytes] = []
            for label, given in self._given[0]:
                if too_weak(value := given.strip()):
                    self._weak += (label,)
                else:
                    strong.append(value)
            if strong:
                self._waiting.append(strong)
            del self._given[0]

    def _learn(self, strong: list[bytes]) -> None:
        first, *others = self._matchers
        if first is _NOTHING and len(strong) > MANY:
            self._matchers = (_shared(frozenset(strong)),)
        else:
            fresh = forms_of(strong)
            for matcher in self._matchers:
                fresh -= matcher.forms
            if fresh:
                self._matchers = _beside(first, fresh.union(*(matcher.forms for matcher in others)))

    def _put_together(self) -> None:
        """Once, since there is much to mask: two matchers take twice the time of one."""
        with self._adding:
            self._matchers = (Matcher(frozenset().union(*(matcher.forms for matcher in self._matchers))),)
            self._until_together = sys.maxsize


def _shared(values: frozenset[bytes]) -> Matcher:
    found = _in_use.get(values)
    return _in_use.setdefault(values, Matcher(forms_of(values))) if found is None else found


def _beside(first: Matcher, apart: set[bytes]) -> tuple[Matcher, ...]:
    """What finds the forms of a matcher and others."""
    together = len(first.forms)
    if len(apart) > together or len(apart) > max(APART, together // 16):
        return (Matcher(apart | first.forms),)
    return (first, Matcher(apart))


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

    def flush(self, data: bytes = b"") -> bytes:
        """The rest, when nothing more than `data` will arrive. The stream can be used again afterwards."""
        if len(data) > WINDOW:
            return self.feed(data) + self.flush()
        rest = self._pass_on(data, last=True)
        self._joined = False
        return rest

    def _pass_on(self, data: bytes, *, last: bool) -> bytes:
        buffer = self._held + data
        if not buffer:
            return b""
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


def mask_text(text: str, maskers: Iterable[Masker]) -> str:
    """`text` without any value of any of these maskers."""
    data = _encoded(text)
    maskers = list(maskers)
    matchers = {matcher for masker in maskers for matcher in masker.matchers}  # some may share one
    if not any(matcher.finds(data) for matcher in matchers):
        return text
    for masker in maskers:
        data = masker.mask(data)
    return data.decode(errors="replace")


def _encoded(text: str) -> bytes:
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")
