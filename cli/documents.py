"""Files that describe something: TOML, or JSON where the name ends in .json; a key given twice is an error."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from cli.errors import Refused

#: Bytes that are read at most; a description has a few hundred.
MAX_SIZE = 1 << 20


def read_document(path: Path) -> dict[str, Any]:
    """The object in a file.

    Raises:
        Refused: for a file that cannot be read, is too large, or holds anything else; says the line where it can.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SIZE + 1)
    except OSError as error:
        raise Refused(f"{path} cannot be read ({error.strerror}).") from None
    if len(content) > MAX_SIZE:
        raise Refused(f"{path} is larger than {MAX_SIZE:,} bytes.")
    try:
        text = content.decode("utf-8-sig")
        document = json.loads(text, object_pairs_hook=_once) if path.suffix == ".json" else tomllib.loads(text)
    except UnicodeDecodeError:
        raise Refused(f"{path} is not UTF-8.", hint="Save the file as UTF-8.") from None
    except (ValueError, RecursionError) as error:
        raise Refused(f"{path}: {error}.") from None
    if not isinstance(document, dict):
        raise Refused(f"{path} holds no object.")
    return document


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise ValueError(f"the key {twice[:60]!a} is given twice")
    return dict(pairs)
