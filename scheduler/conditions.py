"""Conditions: declared comparisons of results, for edges of workflows; pure, and nothing is ever evaluated as code.

    when = { value = "{{STEP.check.total}}", above = 1000 }

Several comparisons in one table, and several tables in a list, must all hold. A result that there is not makes every
comparison false but `exists = false`, and so does a comparison of things that have no order (text with a number).
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, JsonValue, StrictBool, StringConstraints, model_validator

from scheduler import expressions
from scheduler.expressions import JSON, Lookup, Refused
from scheduler.flow_files import Table


class Condition(Table):
    """Comparisons of one value."""

    value: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=500)]
    is_: JsonValue = Field(default=None, alias="is")
    is_not: JsonValue = None
    above: int | float | str | None = None
    at_least: int | float | str | None = None
    below: int | float | str | None = None
    at_most: int | float | str | None = None
    contains: JsonValue = None
    one_of: tuple[JsonValue, ...] | None = None
    exists: StrictBool | None = None

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.asked:
            raise ValueError(f"compares with nothing; write one of {', '.join(WORDS)}")
        if not any(True for _ in expressions.names(self.value)):
            raise ValueError('names no result; write for example value = "{{STEP.check.total}}"')
        return self

    @property
    def asked(self) -> tuple[str, ...]:
        """The comparisons that are made, by the words of the file."""
        return tuple(word for word in WORDS if getattr(self, "is_" if word == "is" else word) is not None)

    def holds(self, lookup: Lookup) -> bool:
        """Whether every comparison holds."""
        try:
            found = expressions.render(self.value, lookup)
        except Refused:
            return self.asked == ("exists",) and self.exists is False
        return all(_compared(word, found, getattr(self, "is_" if word == "is" else word)) for word in self.asked)

    def sentence(self) -> str:
        """The condition as people read it."""
        words = [f"{word} {getattr(self, 'is_' if word == 'is' else word)!r}" for word in self.asked]
        return f"{self.value} {' and '.join(words)}"


#: The comparisons there are, in the words of the file.
WORDS = ("is", "is_not", "above", "at_least", "below", "at_most", "contains", "one_of", "exists")


def _compared(word: str, found: JSON, wanted: object) -> bool:
    match word:
        case "exists":
            return wanted is True
        case "is":
            return _same(found, wanted)
        case "is_not":
            return not _same(found, wanted)
        case "one_of":
            assert isinstance(wanted, tuple)  # noqa: S101 - by its type
            return any(_same(found, each) for each in wanted)
        case "contains":
            return _contains(found, wanted)
        case _:
            return _ordered(word, found, wanted)


def _same(found: object, wanted: object) -> bool:
    """As JSON has it: true is not 1, and 1 is 1.0."""
    if isinstance(found, bool) != isinstance(wanted, bool):
        return False
    if isinstance(wanted, list | tuple) and isinstance(found, list | tuple):
        return len(found) == len(wanted) and all(map(_same, found, wanted))
    return found == wanted


def _contains(found: JSON, wanted: object) -> bool:
    if isinstance(found, str):
        return isinstance(wanted, str) and wanted in found
    if isinstance(found, dict):
        return isinstance(wanted, str) and wanted in found
    return isinstance(found, list) and any(_same(each, wanted) for each in found)


def _ordered(word: str, found: JSON, wanted: object) -> bool:
    if isinstance(found, bool):
        return False
    if isinstance(found, int | float) and isinstance(wanted, int | float):
        return _holds(word, (found > wanted) - (found < wanted))
    if isinstance(found, str) and isinstance(wanted, str):
        return _holds(word, (found > wanted) - (found < wanted))
    return False


def _holds(word: str, sign: int) -> bool:
    return {"above": sign > 0, "at_least": sign >= 0, "below": sign < 0, "at_most": sign <= 0}[word]
