"""Reads a value that is to be set: from a file, from stdin, or twice from a prompt without echo; never
from argv.
"""

from __future__ import annotations

import getpass
import warnings
from pathlib import Path
from typing import BinaryIO, TextIO

from cli.errors import NotFound, Refused

#: Bytes that a value may have, `vault.assets.MAX_VALUE_BYTES`; what is read here ends there, an endless stream too.
LIMIT = 1024 * 1024


def from_file(path: Path) -> bytes:
    """The bytes of a file, exactly.

    Raises:
        NotFound: when there is no such file.
        Refused: when it cannot be read or is too large.
    """
    try:
        with path.open("rb") as file:
            return _limited(file)
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}.", hint="Check the path after --file.") from None
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}.", hint="Check the path after --file.") from None


def from_pipe(stream: BinaryIO) -> tuple[bytes, bool]:
    """The bytes of a pipe without one trailing newline, and whether there was one."""
    content = _limited(stream)
    if content.endswith(b"\n"):
        return content[:-1], True
    return content, False


def from_prompt(what: str, *, err: TextIO) -> bytes:
    """What a person types twice, without echo.

    Raises:
        Refused: when the entries differ, or the terminal cannot hide them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            first = getpass.getpass(f"Value of {what}: ", stream=err)
            second = getpass.getpass("The same again: ", stream=err)
        except getpass.GetPassWarning:
            raise Refused("This terminal cannot hide what you type.", hint="Use --file, or a pipe.") from None
        except EOFError:
            raise Refused("Nothing was entered, nothing was saved.", hint="Use --file, or a pipe.") from None
    if first != second:
        raise Refused("The two entries differ; nothing was saved.", hint="Try again.")
    return first.encode("utf-8", "surrogateescape")


def _limited(stream: BinaryIO) -> bytes:
    content = stream.read(LIMIT + 1)
    if len(content) > LIMIT:
        raise Refused(
            f"A value has at most {LIMIT:,} bytes, and this one has more.",
            hint="Store the file elsewhere, and its password here.",
        )
    return content
