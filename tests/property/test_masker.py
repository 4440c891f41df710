"""Whatever the values, their encoding and the cuts: nothing of a value passes, and everything else does."""

import base64
import json
from itertools import pairwise
from typing import Any

import pytest
from ahocorasick_rs import Implementation
from hypothesis import assume, example, given
from hypothesis import strategies as st

from runner.worker.encodings import forms
from runner.worker.masker import MASK, Masker, Stream
from runner.worker.matcher import Matcher
from tests import fuzz_masker
from tests.writers import WRITERS
from vault.grading import too_weak

texts = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from("abAB09 \n\t'\"\\%&<>/+=*$`{}[]~é€😀"),
    ),
    min_size=4,
    max_size=80,
)
values = texts.map(str.strip).filter(lambda text: not too_weak(text.encode()))
#: Two letters make values that overlap, repeat and begin alike; no form but the raw one fits the alphabet.
tangled = st.lists(st.text("xy", min_size=4, max_size=30).map(str.encode), min_size=1, max_size=6)
tangles = st.text("xyz", max_size=120).map(str.encode)
cuts = st.lists(st.integers(0, 2_000), max_size=8)


def masker(*plain: bytes) -> Masker:
    return Masker((str(number), value) for number, value in enumerate(plain))


def in_writes(mask: Masker, data: bytes, cut_at: list[int]) -> bytes:
    stream = Stream(mask)
    edges = [0, *sorted(min(cut, len(data)) for cut in cut_at), len(data)]
    writes = [data[start:end] for start, end in pairwise(edges)]
    return b"".join(map(stream.feed, writes)) + stream.flush()


def byte_by_byte(mask: Masker, data: bytes) -> bytes:
    return in_writes(mask, data, list(range(len(data))))


def by_definition(shapes: list[bytes], data: bytes) -> bytes:
    """The slow masker that needs no proof: hide every byte of every occurrence, write each run as one mask."""
    hidden = bytearray(len(data))
    for shape in shapes:
        at = data.find(shape)
        while at >= 0:
            hidden[at : at + len(shape)] = b"\1" * len(shape)
            at = data.find(shape, at + 1)
    written = bytearray()
    for at, byte in enumerate(data):
        if not hidden[at]:
            written.append(byte)
        elif at == 0 or not hidden[at - 1]:
            written += MASK
    return bytes(written)


@given(value=values, writer=st.sampled_from(sorted(WRITERS)), cut_at=cuts)
@example(value="p'a\"s\\s%w&rd", writer="repr in a container", cut_at=[])
@example(value="line one 1\nline two 2", writer="json in json", cut_at=[20])
def test_no_run_of_six_bytes_of_a_written_value_survives(value: str, writer: str, cut_at: list[int]) -> None:
    left, right = fuzz_masker.frame(writer)
    written = WRITERS[writer](value)
    around = fuzz_masker.FRAME.encode() + left + right

    masked = in_writes(
        masker(value.encode()), fuzz_masker.FRAME.encode() + written + fuzz_masker.FRAME.encode(), cut_at
    )

    body = written[len(left) : len(written) - len(right)]
    runs = {body[at : at + 6] for at in range(len(body) - 5)}
    assert {run for run in runs if run in masked and run not in around and b"*" not in run} == set()


@given(drawn=st.integers(0, 1 << 32).map(fuzz_masker.draw))
def test_nothing_of_several_values_survives_whatever_writes_them(drawn: tuple[fuzz_masker.Case, list[bytes]]) -> None:
    assert fuzz_masker.broken(*drawn) is None


@pytest.mark.parametrize("case", json.loads(fuzz_masker.CORPUS.read_text()), ids=lambda case: str(case["name"]))
def test_the_corpus_is_masked_as_it_was(case: dict[str, Any]) -> None:
    plain, writes, (expected,) = (
        [base64.b64decode(each) for each in case[key]] for key in ("values", "writes", "written")
    )

    assert b"".join(fuzz_masker.masked(plain, writes)) == expected
    assert b"".join(fuzz_masker.masked(plain, [b"".join(writes)])) == expected
    assert byte_by_byte(masker(*plain), b"".join(writes)) == expected
    assert b"".join(fuzz_masker.masked(plain, writes, added=True)) == expected


@given(value=values, text=st.binary(max_size=300), cut_at=cuts)
def test_text_without_values_passes_byte_for_byte(value: str, text: bytes, cut_at: list[int]) -> None:
    mask = masker(value.encode())
    assume(not any(form in text for form in mask.forms))

    assert in_writes(mask, text, cut_at) == text
    assert byte_by_byte(mask, text) == text


@given(plain=tangled, data=tangles, cut_at=cuts)
@example(plain=[b"xyxyx", b"yxyy"], data=b"xyxyxyy", cut_at=[3])
def test_overlapping_values_are_hidden_as_by_definition(plain: list[bytes], data: bytes, cut_at: list[int]) -> None:
    mask = masker(*plain)
    expected = by_definition(mask.forms, data)
    matcher = Matcher(set(plain))
    found = matcher._build(Implementation.NoncontiguousNFA).find_matches_as_indexes(data, overlapping=True)

    assert sorted(matcher._one_by_one(data)) == sorted(found), "an automaton finds the same"
    assert mask.mask(data) == expected
    assert in_writes(mask, data, cut_at) == expected
    assert byte_by_byte(mask, data) == expected


@given(plain=st.lists(values.map(str.encode), min_size=1, max_size=5), data=st.data(), cut_at=cuts)
def test_any_mixture_of_forms_and_text_is_hidden_as_by_definition(
    plain: list[bytes], data: st.DataObject, cut_at: list[int]
) -> None:
    mask = masker(*plain)
    form = st.sampled_from(mask.forms)
    piece = st.one_of(form, st.binary(max_size=8), form.map(lambda whole: whole[:-1]))
    text = b"".join(data.draw(st.lists(piece, max_size=10)))
    expected = by_definition(mask.forms, text)

    assert mask.mask(text) == expected
    assert in_writes(mask, text, cut_at) == expected
    assert byte_by_byte(mask, text) == expected


@given(plain=st.lists(st.text("ab*", min_size=4, max_size=9).map(str.encode), min_size=1, max_size=4), data=st.data())
def test_what_is_written_holds_no_form_not_even_by_a_mask(plain: list[bytes], data: st.DataObject) -> None:
    mask = masker(*plain)
    text = b"".join(data.draw(st.lists(st.sampled_from([b"a", b"b", b"*", *plain]), max_size=12)))

    masked = mask.mask(text)

    assert [value for value in plain if not too_weak(value) and value in masked] == []


@given(plain=st.lists(values.map(str.encode), max_size=4), later=values.map(str.encode), text=st.binary(max_size=60))
def test_a_masker_extended_equals_one_made_at_once(plain: list[bytes], later: bytes, text: bytes) -> None:
    extended = Masker([("later", later)], beside=masker(*plain))

    assert extended.forms == masker(*plain, later).forms
    assert extended.mask(text + later) == masker(*plain, later).mask(text + later)


@given(value=st.binary(max_size=60))
def test_any_bytes_are_weak_or_hidden(value: bytes) -> None:
    mask = masker(value)

    assert bool(mask.weak) == too_weak(value)
    if not mask.weak:
        assert mask.mask(b"\n" + value + b"\n").strip() == MASK
        assert all(form and len(form) >= 3 for form in forms(value))


documents = st.recursive(texts, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))


@given(document=documents)
def test_a_json_value_is_hidden_as_it_is_written(document: object) -> None:
    value = json.dumps(document).encode()
    mask = masker(value)

    assert mask.weak == () or too_weak(value)
    assert mask.weak or mask.mask(b"\n" + value + b"\n") == b"\n" + MASK + b"\n"
