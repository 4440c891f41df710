"""Replaces values by `***` in what is about to be written, whole or as a stream.

Promises: no byte of any form of a value (`runner.worker.encodings`) passes; everything else passes as it
came. Forms that overlap or touch become one `***`. The output depends on the bytes alone, never on how they
were cut into writes. A stream holds back only what may still turn out to be the beginning of a form, never
more than the longest form, so a finished line usually passes at once. `***` next to other text never spells a
form. Memory does not grow with the length of a stream. Values may be added at any time, by any thread: they are
masked in all that a stream has not written yet. Pure: no input or output.
Refuses: values too weak to hide anything; their labels are listed in `Masker.weak`, for a warning.
"""

import threading
from collections.abc import Iterable

from runner.worker.encodings import forms
from runner.worker.matcher import Matcher, Span
from vault.grading import too_weak

MASK = b"***"

#: A stream searches its input in parts of this size, so that what it holds at once is bounded.
WINDOW = 1 << 16

_NOTHING = Matcher(frozenset())

#: Forms that were added one by one and are looked for apart; with more of them all are put together again. So adding
#: one value of 13 forms to 1,000 takes 1 ms on average, and not the 20 ms that a matcher of all takes.
APART = 600


class Masker:
    """The forms of a set of values, ready to be found. Threads may share it."""

    def __init__(self, values: Iterable[tuple[str, bytes]] = (), *, beside: "Masker | None" = None) -> None:
        """`values` are (label, value); a label names the value in `weak`, for example `SAP.PIN`.

        What `beside` masks is masked too.
        """
        self._adding = threading.Lock()
        #: Labels of the values that are not masked, in the order given.
        self.weak: tuple[str, ...] = beside.weak if beside else ()
        self._known: set[bytes] = set(beside.forms if beside else ())
        self._matchers: tuple[Matcher, ...] = (Matcher(self._known),) if self._known else (_NOTHING,)
        self._add(values)

    @property
    def forms(self) -> list[bytes]:
        """What is replaced, sorted. As secret as the values."""
        return sorted(form for matcher in self._matchers for form in matcher.forms)

    @property
    def size(self) -> int:
        """How many forms are looked for."""
        return len(self._known)

    def add(self, values: Iterable[tuple[str, bytes]]) -> None:
        """Mask these (label, value) too, from now on; streams look at what they hold back anew."""
        with self._adding:
            self._add(values)

    def mask(self, data: bytes) -> bytes:
        """`data` without any value."""
        for matcher in self._matchers:
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
        first, *others = self._matchers
        spans, partial = first.scan(buffer)
        for matcher in others:
            more, begun = matcher.scan(buffer)
            spans += more
            partial = min(partial, begun)
        if others:
            spans.sort()
        return spans, partial

    def _add(self, values: Iterable[tuple[str, bytes]]) -> None:
        given = [(label, value.strip()) for label, value in values]
        if not given:
            return
        self.weak += tuple(label for label, value in given if too_weak(value))
        fresh = forms(*(value for _, value in given))
        if self._known:
            fresh -= self._known
        if not fresh:
            return
        self._known = self._known | fresh if self._known else fresh
        apart = fresh.union(*(matcher.forms for matcher in self._matchers[1:]))
        together = len(self._matchers[0].forms)
        if len(apart) > together or len(apart) > max(APART, together // 16):
            self._matchers = (Matcher(self._known),)
        else:
            self._matchers = (self._matchers[0], Matcher(apart))


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
    data = masked = _encoded(text)
    for masker in maskers:
        masked = masker.mask(masked)
    return text if masked is data else masked.decode(errors="replace")


def _encoded(text: str) -> bytes:
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")
