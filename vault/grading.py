"""How much protection a value can get in logs and in the environment, as advice for the person who sets it.

Promises: `grade` says in sentences what a value's content means for masking and for delivery, and
`too_weak` is the one rule by which the masker leaves a value alone, so that the advice and the masker
never disagree. No sentence repeats the value or a part of it. Pure: no input or output.
Refuses: nothing. A weak value is stored; the person is told.
"""

import json
import re
from collections.abc import Iterator

from vault.names import AssetName, variables

#: Fewer characters than this turn up in ordinary text so often that masking them would eat the log.
MINIMUM = 4

#: Linux takes no single `NAME=value` of more than 32 pages, its final NUL included
#: (MAX_ARG_STRLEN in include/uapi/linux/binfmts.h).
LARGEST_VARIABLE = 131_072

#: No ordinary word is longer; what is longer is a value made of letters.
LONGEST_WORD = 14

#: Bytes of a character of UTF-8, at most.
_LONGEST_CHARACTER = 4

_MASK_RUN = re.compile(r"\*{3,}")
_EDGES = "* \t\r\n\v\f"
_EDGE_BYTES = _EDGES.encode()
_GAP = re.compile(r"[\W_]+")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)*", re.ASCII)

#: What people type when a form insists on something, beside ordinary words.
_COMMON = frozenset(
    {
        "1q2w3e4r", "abc123", "admin1", "admin123", "changeme1", "letmein1", "p@ssw0rd", "p@ssword",
        "passw0rd", "password!", "password1", "password12", "password123", "qwerty1", "qwerty123", "root123", "test123",
        "test1234", "welcome1", "welcome123",
    }
)  # fmt: skip


def grade(value: bytes, name: AssetName | None = None) -> tuple[str, ...]:
    """Sentences to show when `value` is set, most important first; none when there is nothing to say.

    With the asset's `name`, the environment variable it becomes counts towards the size that fits.
    """
    if not value:
        return ("The value is empty: a bot reads an empty text, and nothing is masked.",)
    return (*_masking_advice(value), *_delivery_advice(value, name))


def too_weak(value: bytes) -> bool:
    """Whether masking leaves `value` alone: empty, white space, or under four characters.

    ASCII white space and asterisks at the ends do not count, and a value with three asterisks in a row counts by
    its longest part: the mask is written `***`, so such a value would be rebuilt by masking its neighbour.
    Bytes that are not UTF-8 count one by one.
    """
    if value.isalnum():
        return len(value) < MINIMUM
    if b"***" not in value and len(value.strip(_EDGE_BYTES)) >= MINIMUM * _LONGEST_CHARACTER:
        return False
    if b"*" not in value:
        return len(_text(value).strip(_EDGES)) < MINIMUM
    return all(len(part.strip(_EDGES)) < MINIMUM for part in _MASK_RUN.split(_text(value)))


def dictionary_like(text: str) -> bool:
    """Whether `text` is nothing but plain words: letters only, each up to 14, in one of the usual cases.

    `service_account`, `Content-Type` and `{` are; `hunter2`, `dGhpcyBpcw` and 15 letters on end are not.
    """
    words = [word for word in _GAP.split(text) if word]
    return all(word.isalpha() and len(word) <= LONGEST_WORD and _usual_case(word) for word in words)


def _usual_case(word: str) -> bool:
    return word in {word.lower(), word.upper(), word.capitalize()}


def _masking_advice(value: bytes) -> Iterator[str]:
    text = _text(value).strip()
    if too_weak(value):
        yield _weakness(text)
    elif _NUMBER.fullmatch(text):
        yield (
            "The value is a number: the same digits are masked wherever a log has them, in times and amounts "
            "too, and a bot that formats the number differently shows it."
        )
    elif text.lower() in _COMMON or (_GAP.search(text) is None and dictionary_like(text)):
        yield (
            "The value is a common word or password: it is easy to guess, and the word is masked wherever a "
            "log uses it, which gives it away. Choose a longer, random value."
        )
    elif _is_json(text):
        yield (
            "The value is JSON: it is masked as a whole and by its parts; keys, plain words and parts of less "
            "than 6 characters stay readable when a bot prints them alone."
        )


def _weakness(text: str) -> str:
    if not text:
        return "The value is only white space: it is not masked in logs."
    return (
        "The value is shorter than 4 characters (asterisks at its ends do not count): it is not masked in "
        "logs. Choose a longer value if it must stay hidden."
    )


def _delivery_advice(value: bytes, name: AssetName | None) -> Iterator[str]:
    longest = len(variables(name)[0]) if name else 0
    if b"\0" in value:
        yield (
            "The value has a NUL byte: it cannot be an environment variable. "
            "A bot reads it through the SDK or as a file."
        )
    elif longest + 1 + len(value) + 1 > LARGEST_VARIABLE:
        yield (
            "The value is larger than 128 KiB with its name: it cannot be an environment variable. "
            "A bot reads it through the SDK or as a file."
        )
    if not _is_utf8(value):
        yield ("The value is not UTF-8 text: a bot reads its bytes through the SDK, as a file or with os.environb.")


def _text(value: bytes) -> str:
    return value.decode() if _is_utf8(value) else value.decode("latin-1")


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_json(text: str) -> bool:
    if text[:1] not in {"{", "["}:
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
