"""From what an event says to parameters of what it starts, by JSON pointers (RFC 6901). Pure.

    [parameters_from]
    BRANCH = "/ref"
    AUTHOR = "/commits/0/author/name"

Promises that an event cannot make a bot read an asset: text that begins a reference is refused, since whoever sends a
webhook, a message or a file chooses that text. Refuses an event that lacks what a pointer names, and says which.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from runner.errors import Invalid
from vault import tokens
from vault.errors import InvalidToken

#: The deepest nesting of an event's JSON; what people send is below 20.
MAX_DEPTH = 32

_MISSING = object()


def check_pointer(pointer: str) -> str:
    """The pointer, when it is one; ValueError otherwise."""
    if pointer and not pointer.startswith("/"):
        raise ValueError(f"{pointer[:60]!r} is no JSON pointer; begin it with a slash, such as /commits/0/id")
    return pointer


def parameters(pointers: Mapping[str, str], event: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    """The parameters that the pointers find in the event.

    Raises:
        Invalid: where a pointer finds nothing, or text that would be taken for a reference to an asset.
    """
    found = {}
    for name, pointer in pointers.items():
        value = look_up(event, pointer)
        if value is _MISSING:
            raise Invalid(f"parameters_from.{name}: the event has nothing at {pointer}.")
        try:
            refers = bool(tokens.find(value))
        except InvalidToken:
            refers = True
        if refers:
            raise Invalid(
                f"parameters_from.{name}: the event's text at {pointer} looks like a reference to an asset, which an "
                "event may not name; write the reference into the trigger's own parameters."
            )
        found[name] = value
    return found


def look_up(document: Any, pointer: str) -> Any:  # noqa: ANN401 - any JSON
    """What the pointer finds; `_MISSING` where there is nothing."""
    here = document
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(here, dict):
            here = here.get(key, _MISSING)
        elif isinstance(here, list):
            here = here[int(key)] if key.isascii() and key.isdigit() and int(key) < len(here) else _MISSING
        else:
            here = _MISSING
        if here is _MISSING:
            break
    return here


def holds_nul(document: Any) -> bool:  # noqa: ANN401 - any JSON
    """Whether some text in it has a NUL character, which no database stores."""
    # What is left of an escaped backslash is no escape.
    return "\\u0000" in json.dumps(document).replace("\\\\", "")


def depth(document: Any) -> int:  # noqa: ANN401 - any JSON
    """How deeply lists and objects are nested in each other, up to just above `MAX_DEPTH`; text alone is 0."""
    level, layer = 0, [document]
    while level <= MAX_DEPTH:
        inner = [one for one in layer if isinstance(one, dict | list)]
        if not inner:
            break
        level += 1
        layer = [part for one in inner for part in (one.values() if isinstance(one, dict) else one)]
    return level
