"""What people type into fields of a form, as the values that a definition has; pure.

An empty field says nothing, so that the default holds. What cannot be read is refused by the name of its field.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Any

from runner.errors import Invalid


def table(text: str, *, field: str) -> dict[str, Any]:
    """Lines such as `region = "eu"`, as TOML reads them; a word without quotes counts as text.

    Raises:
        Invalid: naming the field and the line.
    """
    lines = []
    for line in text.replace("\r\n", "\n").split("\n"):
        name, sign, value = line.partition("=")
        lines.append(f"{name.rstrip()} = {_quoted(value.strip())}" if sign else line)
    for tried in (text.replace("\r\n", "\n"), "\n".join(lines)):
        try:
            found = tomllib.loads(tried)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            problem = str(error)[:200]
        else:
            plain: dict[str, Any] = json.loads(json.dumps(found, default=_time))
            return plain
    raise Invalid(f'{field}: write a line such as region = "eu" for each; {problem}.')


def parameters(form: Mapping[str, str], *, prefix: str) -> dict[str, Any]:
    """The fields of a form whose names begin with `prefix`, without it; empty ones are left to their defaults."""
    return {name.removeprefix(prefix): text for name, text in form.items() if name.startswith(prefix) and text}


def entries(text: str) -> list[str]:
    """What commas, semicolons or line ends part, without white space around it."""
    return [part.strip() for part in text.replace(";", ",").replace("\n", ",").split(",") if part.strip()]


def lines(text: str) -> list[str]:
    """Each line that holds something."""
    return [line.strip() for line in text.split("\n") if line.strip()]


def number(text: str, *, field: str) -> int:
    """A whole number.

    Raises:
        Invalid: naming the field.
    """
    plain = text.strip().replace(",", "").replace("_", "")
    if not (plain.removeprefix("-").isdigit() and plain.isascii() and len(plain) < 16):
        raise Invalid(f"{field}: it must be a whole number.")
    return int(plain)


def _quoted(value: str) -> str:
    try:
        tomllib.loads(f"x = {value}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return json.dumps(value)
    return value


def _time(value: object) -> str:
    """TOML has times, JSON has not."""
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    raise TypeError(type(value).__name__)
