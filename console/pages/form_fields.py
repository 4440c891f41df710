"""Forms of definitions, described as data: which fields there are, and what of a definition each stands for; pure.

A field's name is its path in the definition, parts parted by dots. An empty field is left out of the definition, so
that the default holds; a box that is not ticked says false.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from console.pages import definition_text, typed


@dataclass(frozen=True, slots=True)
class FormField:
    """One field. `kind` is how it is shown and read: text, area, number, tick, choice, table, entries or lines.

    `options` are what a choice offers, as words or pairs of value and label; `reference` says that references to assets
    may stand in it, `plain` is what it begins with in an empty form.
    """

    name: str
    label: str
    kind: str = "text"
    hint: str = ""
    options: tuple[str | tuple[str, str], ...] = ()
    plain: str = ""
    reference: bool = False
    required: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """Fields that belong together, under a heading; a `closed` one opens on demand."""

    title: str
    fields: tuple[FormField, ...]
    closed: bool = False


def empty(sections: Sequence[Section]) -> dict[str, str]:
    """What the fields of a new form hold."""
    return {field.name: field.plain for section in sections for field in section.fields if field.plain}


def offering(sections: Sequence[Section], name: str, words: Collection[str]) -> tuple[Section, ...]:
    """The form in which the choice `name` offers these words only."""

    def narrowed(field: FormField) -> FormField:
        kept = tuple(each for each in field.options if (each if isinstance(each, str) else each[0]) in words)
        return replace(field, options=kept) if field.name == name else field

    return tuple(replace(section, fields=tuple(map(narrowed, section.fields))) for section in sections)


def read(sections: Sequence[Section], form: Mapping[str, str]) -> dict[str, Any]:
    """The definition that a form says.

    Raises:
        Invalid: naming the field that cannot be read.
    """
    found: dict[str, Any] = {}
    for section in sections:
        for field in section.fields:
            text = form.get(field.name, "").strip()
            if text or field.kind == "tick":
                _put(found, field.name.split("."), _READ[field.kind](field, text))
    return found


def written(sections: Sequence[Section], definition: Mapping[str, Any]) -> dict[str, str]:
    """What the fields hold for a definition that there is."""
    return {
        field.name: text
        for section in sections
        for field in section.fields
        if (text := _shown(field, _found(definition, field.name.split("."))))
    }


def names(sections: Sequence[Section]) -> list[str]:
    """The fields of a form."""
    return [field.name for section in sections for field in section.fields]


def _put(table: dict[str, Any], path: Sequence[str], value: object) -> None:
    for part in path[:-1]:
        table = table.setdefault(part, {})
    table[path[-1]] = value


def _found(table: object, path: Sequence[str]) -> object:
    for part in path:
        table = table.get(part) if isinstance(table, Mapping) else None
    return table


def _shown(field: FormField, value: object) -> str:
    if value is None or value in ({}, []):
        return ""
    if isinstance(value, bool):
        return "on" if value and field.kind == "tick" else "" if field.kind == "tick" else str(value).lower()
    if field.kind == "table" and isinstance(value, Mapping):
        return definition_text.written(value).rstrip("\n")
    if isinstance(value, list | tuple):
        return ("\n" if field.kind == "lines" else ", ").join(map(str, value))
    if isinstance(value, int | float) and field.name.rpartition(".")[2] in definition_text.DURATIONS:
        return definition_text.words(value)
    return value if isinstance(value, str) else json.dumps(value)


_READ: Mapping[str, Callable[[FormField, str], Any]] = {
    "text": lambda _field, text: text,
    "area": lambda _field, text: text,
    "choice": lambda _field, text: text,
    "tick": lambda _field, text: bool(text),
    "number": lambda field, text: typed.number(text, field=field.name),
    "table": lambda field, text: typed.table(text, field=field.name),
    "entries": lambda _field, text: typed.entries(text),
    "lines": lambda _field, text: typed.lines(text),
}
