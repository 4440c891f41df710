"""Maskers of attempts: made when something is to be masked, shared by the same values, gone with the last."""

import subprocess
import sys
import threading
import weakref

import pytest

from runner.worker import masker as masker_module
from runner.worker import matcher as module
from runner.worker.encodings import forms_of
from runner.worker.masker import MASK, Masker


def masker(*values: bytes) -> Masker:
    return Masker((f"G.V{number}", value) for number, value in enumerate(values))


def many(*, of: int = 40, since: int = 0) -> list[bytes]:
    return [f"value-{number:03}-of-many".encode() for number in range(since, since + of)]


def test_maskers_of_the_same_values_share_what_finds_them_for_as_long_as_one_of_them_lives() -> None:
    one, other, third = masker(*many()), masker(*reversed(many())), masker(*many(since=1))
    other.add([("TOKEN", b"a-token-of-its-own")])
    assert one.matchers[0] is other.matchers[0]
    assert third.matchers[0] is not one.matchers[0]
    assert one.mask(b"a-token-of-its-own value-007-of-many") == b"a-token-of-its-own ***"
    assert other.mask(b"a-token-of-its-own value-007-of-many") == b"*** ***"
    gone = weakref.ref(one.matchers[0])
    before = len(masker_module._in_use)
    del one
    assert other.mask(b"value-039-of-many") == MASK
    del other
    assert gone() is None
    assert len(masker_module._in_use) == before - 1, "the values are its key"


def test_nothing_is_made_before_something_is_to_be_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def counted(values: list[bytes]) -> set[bytes]:
        made.append(len(values))
        return forms_of(values)

    monkeypatch.setattr(masker_module, "forms_of", counted)
    mask = Masker()
    mask.add([("A.OK", b"hunter2!"), ("A.PIN", b"123")])
    stream = mask.stream()
    assert (mask.weak, made) == (("A.PIN",), [])
    assert stream.feed(b"a hunter2! b") == b"a *** b"
    assert made == [1]
    mask.add([("B.NEW", b"s3cr3t-2"), ("B.PIN", b"1")])
    assert stream.feed(b"a s3cr3t-2 b") == b"a *** b"
    assert (mask.weak, made) == (("A.PIN", "B.PIN"), [1, 1])


def test_two_matchers_become_one_where_there_is_much_to_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masker_module, "FASTER_AFTER", 5_000)
    mask = masker(*many())
    mask.add([("TOKEN", b"a-token-of-its-own")])
    stream, data = mask.stream(), b"<value-007-of-many> <a-token-of-its-own>\n"
    counts: list[int] = []
    for _ in range(3):
        assert stream.feed(data * 100) == b"<***> <***>\n" * 100
        counts.append(len(mask.matchers))
    assert counts == [2, 1, 1]


def test_text_passes_the_maskers_of_all_and_each_matcher_once(monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[module.Matcher] = []
    real = module.Matcher.finds

    def finds(self: module.Matcher, buffer: bytes) -> bool:
        searched.append(self)
        return real(self, buffer)

    monkeypatch.setattr(module.Matcher, "finds", finds)
    maskers = [masker(*many()) for _ in range(3)]
    maskers[2].add([("TOKEN", b"a-token-of-its-own")])
    assert masker_module.mask_text("nothing to hide", maskers) == "nothing to hide"
    assert len(searched) == 2
    assert masker_module.mask_text("value-007-of-many a-token-of-its-own", maskers) == "*** ***"


def test_what_another_thread_makes_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slowly(values: list[bytes]) -> set[bytes]:
        begun.set()
        assert go_on.wait(30)
        return forms_of(values)

    monkeypatch.setattr(masker_module, "forms_of", slowly)
    mask, masked = masker(b"hunter2!"), []
    threads = [threading.Thread(target=lambda: masked.append(mask.mask(b"a hunter2! b"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert begun.wait(30)
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert masked == [b"a *** b"] * 3


#: Masks for the first time in its life, in a process that may open nothing.
WITHOUT_DESCRIPTORS = """
import os, resource
from runner.worker.masker import Masker
values = [f"{name}-{number:03}".encode() for name in ("value", "wert-\\u20ac", "line\\nof") for number in range(40)]
values += [b"-----BEGIN X-----\\n" + b"QUJD" * 4096, b'{"key": "of-a-json-value"}', b"\\xff\\xfe-no-text-at-all"]
mask = Masker((f"G.V{number}", value) for number, value in enumerate(values))
resource.setrlimit(resource.RLIMIT_NOFILE, (os.dup(0), 20000))
assert mask.mask(b"<value-007> " * 1000) == b"<***> " * 1000
masked = mask.mask("<wert-\\u20ac-001>".encode("utf-16-be"))
assert b"***" in masked and b"1" not in masked, masked
"""


def test_it_is_made_in_a_process_that_may_open_nothing() -> None:
    """Else the first complaint about a lack of descriptors, which is masked, ends the thread that complains."""
    done = subprocess.run([sys.executable, "-c", WITHOUT_DESCRIPTORS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
