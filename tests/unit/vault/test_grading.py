"""What a person is told about a value when it is set."""

import pytest

from vault.grading import LARGEST_VARIABLE, dictionary_like, grade, too_weak
from vault.names import AssetName

STRONG = b"7Gd#kq2!vX9w"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"", "is empty"),
        (b"   \n", "only white space"),
        (b"abc", "shorter than 4 characters"),
        ("äöü".encode(), "shorter than 4 characters"),
        (b"ab**", "shorter than 4 characters"),
        (b"4711", "is a number"),
        (b"-1.234,50\n", "is a number"),
        (b"sunshine", "common word"),
        (b"P@ssw0rd", "common word"),
        (b'{"user": "bot", "n": [1]}', "is JSON"),
        (b"[1, 2, 3]", "is JSON"),
        (b"7Gd#kq\x002!vX9w", "NUL byte"),
        (b"7Gd#kq2!\xff\xfe", "not UTF-8"),
    ],
)
def test_each_weakness_is_said_in_a_sentence(value: bytes, words: str) -> None:
    (sentence,) = grade(value)

    assert words in sentence
    assert sentence.endswith(".")


@pytest.mark.parametrize("value", [STRONG, b"correct horse battery staple", b"{not json", b"AKIAIOSFODNN7EXAMPLE"])
def test_a_strong_value_needs_no_advice(value: bytes) -> None:
    assert grade(value) == ()


def test_no_sentence_repeats_the_value() -> None:
    for value in (b"zq\x00", b"sunshine", b"987654", b'{"key": "zanzibar77"}', b"zanzibar\xff"):
        assert not any(value.decode("latin-1").strip("\0\xff") in sentence for sentence in grade(value))


def test_the_size_that_fits_counts_the_variable_the_equals_sign_and_the_final_nul() -> None:
    name = AssetName("SAP", "PASSWORD")
    fits = LARGEST_VARIABLE - len("KLANGO_ASSET_SAP_PASSWORD") - 2

    assert grade(b"x7" * (fits // 2) + b"x" * (fits % 2), name) == ()
    (sentence,) = grade(b"x7" * (fits // 2) + b"x" * (fits % 2 + 1), name)
    assert "128 KiB" in sentence


def test_without_a_name_the_size_alone_counts() -> None:
    assert grade(b"a1" * 65_535) == ()
    assert len(grade(b"a1" * 65_536)) == 1


def test_json_that_is_nested_too_deep_is_taken_as_text() -> None:
    assert grade(b"[" * 100_000) == ()


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" ",
        b"\t\r\n",
        b"a",
        b"abc",
        b"  abc  ",
        b"***abc",
        b"ab***cd",
        b"\xff\xfe\xfd",
        b"abc" + b" *" * 20,
        b"ab***" * 6,
        "äöü".encode() + b" " * 20,
    ],
)
def test_what_is_too_weak_is_not_masked(value: bytes) -> None:
    assert too_weak(value)


@pytest.mark.parametrize("value", [b"abcd", b"abcd***", b"a***bcde", b"\xff\xfe\xfd\xfc", "äöüß".encode()])
def test_four_characters_are_enough(value: bytes) -> None:
    assert not too_weak(value)


@pytest.mark.parametrize("text", ["{", "service_account", "Content-Type", "HTTP", "the quick brown fox", "", "-----"])
def test_plain_words_are_dictionary_like(text: str) -> None:
    assert dictionary_like(text)


@pytest.mark.parametrize("text", ["hunter2", "dGhpcyBpcw", "abcdefghijklmno", "123456", "camelCase", "x-9f"])
def test_digits_odd_case_and_length_are_not_dictionary_like(text: str) -> None:
    assert not dictionary_like(text)
