"""Expressions in definitions: what a run puts in the place of `{{STEP.…}}`, `{{RUN.…}}` and `{{ITEM}}`; pure.

| written as | means |
|---|---|
| `{{STEP.fetch.rows}}` | the result `rows` of the step `fetch`; of a fan-out the list of its items' results |
| `{{RUN.month}}` | the parameter `month` of the run |
| `{{ITEM}}`, `{{ITEM.name}}` | within a fan-out: the element of the list, or one field of it |

Where it is the whole text, the value itself is put there, be it a number or a list; else its text. One pass: what was
put in is never looked at again. A result is data: text of it that would read as a reference to an asset, by itself or
together with what stands around it, is refused, so that whoever can write an invoice cannot ask for a password.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from runner.errors import Invalid
from vault import tokens
from vault.errors import VaultError

JSON: TypeAlias = dict[str, "JSON"] | list["JSON"] | str | int | float | bool | None

_NAME = r"[A-Za-z_][A-Za-z0-9_-]{0,63}"

# The last alternative begins an expression and is none.
_EXPRESSION = re.compile(
    rf"\{{\{{STEP\.(?P<step>{_NAME})\.(?P<key>{_NAME})\}}\}}"
    rf"|\{{\{{RUN\.(?P<parameter>[A-Za-z_][A-Za-z0-9_-]{{0,127}})\}}\}}"
    rf"|\{{\{{(?P<item>ITEM)(?:\.(?P<field>{_NAME}))?\}}\}}"
    r"|\{\{[ \t]*(?:STEP|RUN|ITEM)\b[^{}\s]{0,60}\}{0,2}",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Name:
    """What an expression names: a step's result, a run's parameter, or the item (where both are empty)."""

    text: str
    step: str | None = None
    key: str | None = None
    parameter: str | None = None
    field: str | None = None

    @property
    def is_data(self) -> bool:
        """Whether its value may come from a bot; a run's parameters come from whoever may start bots anyway."""
        return self.parameter is None


class Refused(Invalid):
    """What an expression stands for cannot be used; the sentence says why."""


Lookup = Callable[[Name], JSON]


def names(value: JSON) -> Iterator[Name]:
    """The expressions in a definition's value.

    Raises:
        Invalid: for text that begins an expression and is none.
    """
    if isinstance(value, str):
        for match in _EXPRESSION.finditer(value):
            yield _name(match)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from names(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from names(item)


def render(value: JSON, lookup: Lookup) -> JSON:
    """A copy in which each expression is replaced by what `lookup` answers.

    Raises:
        Refused: where data would become a reference to an asset, and whatever `lookup` raises.
    """
    if isinstance(value, str):
        return _render_text(value, lookup)
    if isinstance(value, list | tuple):
        return [render(item, lookup) for item in value]
    if isinstance(value, dict):
        return {key: render(item, lookup) for key, item in value.items()}
    return value


def _render_text(text: str, lookup: Lookup) -> JSON:
    found = [(match, _name(match)) for match in _EXPRESSION.finditer(text)]
    if not found:
        return text
    answers = [lookup(name) for _, name in found]
    data = any(name.is_data for _, name in found)
    if len(found) == 1 and found[0][0].span() == (0, len(text)):
        if data and _references(answers[0]):
            raise _a_reference(found[0][1])
        return answers[0]
    written = _joined(text, found, [_as_text(answer) for answer in answers])
    if data:
        without = ["" if name.is_data else _as_text(answer) for (_, name), answer in zip(found, answers, strict=True)]
        if _references(written) != _references(_joined(text, found, without)):
            raise _a_reference(next(name for _, name in found if name.is_data))
    return written


def _joined(text: str, found: list[tuple[re.Match[str], Name]], answers: list[str]) -> str:
    parts, end = [], 0
    for (match, _), answer in zip(found, answers, strict=True):
        parts += [text[end : match.start()], answer]
        end = match.end()
    return "".join([*parts, text[end:]])


def _as_text(value: JSON) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _references(value: JSON) -> tuple[str, ...]:
    """The references in a value as they are written; text that only begins one counts as well."""
    try:
        return tuple(reference.text for reference in tokens.find(value))
    except VaultError:
        return ("?",)


def _a_reference(name: Name) -> Refused:
    return Refused(
        f"{name.text} holds text that reads as a reference to an asset. Results are data and are never resolved; let "
        "the bot that gave it write it in another way."
    )


def _name(match: re.Match[str]) -> Name:
    if match["step"]:
        return Name(match[0], step=match["step"], key=match["key"])
    if match["parameter"]:
        return Name(match[0], parameter=match["parameter"])
    if match["item"]:
        return Name(match[0], field=match["field"])
    raise Invalid(
        f"{match[0][:60]!r} is no expression: write {{{{STEP.name.result}}}}, {{{{RUN.parameter}}}} or {{{{ITEM}}}}, "
        "without blanks."
    )
