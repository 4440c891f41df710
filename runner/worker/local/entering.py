"""How values and passphrases get in: from a file, a pipe, or a prompt without echo; never from argv."""

from __future__ import annotations

import getpass
import sys
import warnings
from pathlib import Path

from vault.assets import MAX_VALUE_BYTES
from vault.errors import Invalid, NotFound
from vault.identities import file_passphrase
from vault.passphrases import check_new


def value(what: str, *, file: Path | None) -> tuple[bytes, bool]:
    """The bytes of a value, and whether a newline at the end of a pipe was dropped.

    Raises:
        NotFound: for a file that is not there.
        Invalid: for one that cannot be read, or entries that differ.
    """
    if file is not None:
        try:
            with file.open("rb") as source:
                return source.read(MAX_VALUE_BYTES + 1), False
        except FileNotFoundError:
            raise NotFound(f"There is no file {file}: check the path after --file.") from None
        except OSError as error:
            raise Invalid(f"{file} cannot be read ({error.strerror}): check the path after --file.") from None
    if sys.stdin.isatty():
        return _hidden(f"Value of {what}: ", twice=True).encode("utf-8", "surrogateescape"), False
    content = sys.stdin.buffer.read(MAX_VALUE_BYTES + 2)
    return (content[:-1], True) if content.endswith(b"\n") else (content, False)


def passphrase(what: str, *, file: Path | None, new: bool = False) -> str:
    """A passphrase: the first line of a file or of a pipe, or what a person types; twice where it is `new`.

    Raises:
        Invalid: when the entries differ or the terminal cannot hide them.
        IdentityFileError: for a file that others may read, or a new passphrase that is too short.
    """
    if file is not None:
        given = file_passphrase(file)("local")
    elif sys.stdin.isatty():
        given = _hidden(f"{'New passphrase' if new else 'Passphrase'} {what}: ", twice=new)
    else:
        given = sys.stdin.readline().rstrip("\r\n")
    return check_new(given) if new else given


def _hidden(prompt: str, *, twice: bool) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            first = getpass.getpass(prompt, stream=sys.stderr)
            second = getpass.getpass("The same again: ", stream=sys.stderr) if twice else first
        except getpass.GetPassWarning:
            raise Invalid("This terminal cannot hide what you type: use a file or a pipe.") from None
        except EOFError:
            raise Invalid("Nothing was entered, nothing was saved: use a file or a pipe.") from None
    if first != second:
        raise Invalid("The two entries differ and nothing was saved: try again.")
    return first
