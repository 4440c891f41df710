"""Labels are read from `NAME=VALUE`, and those that make no sense are named."""

import pytest

from runner import labels
from runner.errors import Invalid


def test_labels_are_read_and_ordered_by_name() -> None:
    assert labels.parse(["team=x", "os=linux", "note=a=b c", "empty="]) == {
        "empty": "",
        "note": "a=b c",
        "os": "linux",
        "team": "x",
    }
    assert list(labels.parse(["b=1", "a=2"])) == ["a", "b"]


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("linux", "NAME=VALUE"),
        ("", "NAME=VALUE"),
        ("=linux", "has no name"),
        ("o s=linux", "has no name"),
        ("-os=linux", "has no name"),
        ("\u043es=linux", "has no name"),
        ("o" * 64 + "=x", "has no name"),
        ("os=a\nb", "printable"),
        ("os=\x1b[31m", "printable"),
        ("os=" + "x" * 129, "printable"),
    ],
)
def test_a_label_that_makes_no_sense_is_named(pair: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        labels.parse([pair])


def test_a_label_that_is_given_twice_is_refused() -> None:
    with pytest.raises(Invalid, match="given twice"):
        labels.parse(["os=linux", "os=plan9"])


def test_there_is_an_end_to_labels() -> None:
    assert len(labels.parse([f"n{number}=x" for number in range(labels.MOST)])) == labels.MOST
    with pytest.raises(Invalid, match="at most 32"):
        labels.parse([f"n{number}=x" for number in range(labels.MOST + 1)])
