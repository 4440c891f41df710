"""Text of requests: whatever passes here can be stored by every database and shown in every answer."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import AfterValidator, JsonValue


def storable(text: str) -> str:
    """The text, unchanged, unless it holds NUL or half of a character (JSON can write both, nothing stores them)."""
    if "\0" in text:
        raise ValueError("it holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("it holds half of a character") from None
    return text


def _whole(value: dict[str, Any]) -> dict[str, Any]:
    storable(json.dumps(value, ensure_ascii=False))
    return value


Text = Annotated[str, AfterValidator(storable)]

#: An object of JSON; what NaN and NUL inside it mean is said by whoever stores it.
JsonObject = Annotated[dict[str, JsonValue], AfterValidator(_whole)]
