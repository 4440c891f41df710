"""Sentences of refused requests, each beside the field that it is about; pure.

The packages below say `field: what is wrong.` or `` `field` must be …``; here that word becomes a place in a form.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

#: The place of what is about no field of the form.
WHOLE = ""

_BEGIN = re.compile(r"`?([A-Za-z_][\w.\[\]-]*)`?(?:: | (?=must |is |has |holds |needs ))")
_PARTS = re.compile(r"(?<=[.?]) (?=`?[A-Za-z_][\w.\[\]-]*`?: )")
_REFERENCE = re.compile(r"\{\{ASSET\.[^{}]+\}\}|(?:roboto-)?secret://\S+")


def by_field(message: str, fields: Collection[str], given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Each sentence of a message by the field of the form that it names, the nearest one where it names a part of it.

    What names a reference stands beside the field of `given` that holds it; the rest is about the whole form.
    """
    found: dict[str, list[str]] = {}
    for sentence in _PARTS.split(message):
        found.setdefault(_place(sentence, fields, given or {}), []).append(sentence)
    return {place: " ".join(sentences) for place, sentences in found.items()}


def _place(sentence: str, fields: Collection[str], given: Mapping[str, str]) -> str:
    path: list[str] = []
    rest = sentence
    while begin := _BEGIN.match(rest):
        path += begin[1].split(".")
        rest = rest[begin.end() :]
    while path:
        if ".".join(path) in fields:
            return ".".join(path)
        path.pop()
    for reference in _REFERENCE.findall(sentence):
        holder = next((name for name, text in given.items() if name in fields and reference in text), None)
        if holder is not None:
            return holder
    named = re.search(r"\bfield `([\w.]+)`|`([\w.]+)`", sentence)
    if named and (named[1] or named[2]) in fields:
        return named[1] or named[2]
    return WHOLE
