"""Names of files and texts in commands, whatever strangers write."""

import unicodedata
from collections.abc import Callable
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st

from runner.mail_definition import Attachments
from runner.worker.failures import SourceFailed
from runner.worker.file_names import LONGEST, distinct, safe_name
from runner.worker.imap_client import login_words, plain, xoauth2
from runner.worker.mail_message import parse

T = TypeVar("T")

#: Any text that UTF-8 can say.
UTF8 = st.text(st.characters(exclude_categories=["Cs"]))

#: Texts with what is dangerous in them more often than chance would have it.
TEXTS = st.one_of(
    st.text(max_size=300),
    st.text(st.sampled_from('./\\ \t\r\n\0:*?"<>|a.\u202e\u200bCONnulé'), max_size=40),
    st.sampled_from(["CON", "nul.txt", "com1", "..", ".", "a" * 400 + ".pdf", "~", "-rf", "LPT1 .x"]),
)


@given(TEXTS)
def test_a_safe_name_is_one_visible_component_and_stays_as_it_is(text: str) -> None:
    name = safe_name(text)
    assert name
    assert len(name.encode()) <= LONGEST
    assert name not in {".", ".."}
    assert not name.startswith((".", "-", "~", " "))
    assert not name.endswith((".", " "))
    assert not set(name) & set('/\\<>:"|?*')
    assert all(unicodedata.category(one) not in {"Cc", "Cf", "Cs"} for one in name)
    assert name.split(".")[0].strip().upper() not in {"CON", "PRN", "AUX", "NUL", "COM1", "LPT1"}
    assert safe_name(name) == name


@given(st.lists(TEXTS, max_size=30))
def test_distinct_names_differ_whatever_their_case_and_stay_short(texts: list[str]) -> None:
    names = distinct(safe_name(text) for text in texts)
    assert len({unicodedata.normalize("NFKC", name).casefold() for name in names}) == len(texts)
    assert all(len(name.encode()) <= LONGEST for name in names)


def unquoted(text: str) -> str:
    """What a server reads of a quoted string (RFC 3501, 4.3); fails where it would end early or go on."""
    assert text[0] == text[-1] == '"'
    read, rest = [], iter(text[1:-1])
    for one in rest:
        assert one != '"', "the string would end here"
        assert one not in "\r\n\0"
        read.append(next(rest) if one == "\\" else one)
    return "".join(read)


def controls(text: str) -> bool:
    return any(ord(one) < 32 or one == "\x7f" for one in text)


def said(make: Callable[[str, str], T], user: str, other: str) -> tuple[T | None, str]:
    """What is made of both texts, or the field that is refused."""
    try:
        return make(user, other), ""
    except SourceFailed as failure:
        return None, failure.field


@given(TEXTS, TEXTS)
def test_a_login_is_read_back_as_it_was_or_refused_by_field(user: str, password: str) -> None:
    words, refused = said(login_words, user, password)
    first = next(
        (field for field, text in (("user", user), ("password", password)) if not text.isascii() or controls(text)),
        "",
    )
    assert refused == first
    assert words is None or tuple(map(unquoted, words)) == (user, password)


@given(UTF8, UTF8)
def test_sasl_answers_are_read_back_as_they_were_or_refused_by_field(user: str, other: str) -> None:
    answer, refused = said(plain, user, other)
    assert refused == ("user" if "\0" in user else "password" if "\0" in other else "")
    assert answer is None or answer.decode().split("\0") == ["", user, other]
    answer, refused = said(xoauth2, user, other)
    assert refused == ("user" if controls(user) else "oauth2_token" if controls(other) else "")
    assert answer is None or answer.decode().split("\1") == [f"user={user}", f"auth=Bearer {other}", "", ""]


@given(st.binary(max_size=2000))
def test_any_bytes_become_a_message(content: bytes) -> None:
    found = parse(content, wanted=Attachments())
    assert found.head["size"] == len(content)
    names = [one.name for one in found.attachments]
    assert len(set(names)) == len(names)
