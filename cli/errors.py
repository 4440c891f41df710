"""What the command reports instead of a traceback; each class carries its exit status.

    CliError                1  what was asked for failed
    ├── Misused             2  the command line does not make sense
    ├── NotFound            3  the named thing does not exist
    ├── Denied              4  the token may not do it
    ├── Refused             5  conflict, or invalid input
    └── Unreachable         6  the server, or one of its stores, cannot be reached

A message is a full sentence, the hint says what to do next; neither ever holds a value or a token.
"""

from __future__ import annotations

import errno


class CliError(Exception):
    """What was asked for failed.

    `code` is the machine's word for it, the same as in the HTTP API's errors.
    """

    status = 1

    def __init__(self, message: str, *, hint: str = "", code: str = "failed") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code

    @property
    def sentence(self) -> str:
        """Message and hint, as a person reads them."""
        return f"{self.message} {self.hint}".strip()


class Misused(CliError):
    """The command line does not make sense."""

    status = 2

    def __init__(self, message: str, *, hint: str = "", code: str = "usage") -> None:
        super().__init__(message, hint=hint, code=code)


class NotFound(CliError):
    """The named thing does not exist, or the token may not know that it does."""

    status = 3

    def __init__(self, message: str, *, hint: str = "", code: str = "not_found") -> None:
        super().__init__(message, hint=hint, code=code)


class Denied(CliError):
    """No token, an unknown one, or one whose role does not suffice."""

    status = 4

    def __init__(self, message: str, *, hint: str = "", code: str = "denied") -> None:
        super().__init__(message, hint=hint, code=code)


class Refused(CliError):
    """The input is invalid or conflicts with what is there."""

    status = 5

    def __init__(self, message: str, *, hint: str = "", code: str = "invalid") -> None:
        super().__init__(message, hint=hint, code=code)


class Unreachable(CliError):
    """The server does not answer, or answers that its stores do not."""

    status = 6

    def __init__(self, message: str, *, hint: str = "", code: str = "unavailable") -> None:
        super().__init__(message, hint=hint, code=code)


#: The class of each exit status, for errors that another process reported.
BY_STATUS: dict[int, type[CliError]] = {
    kind.status: kind for kind in (CliError, Misused, NotFound, Denied, Refused, Unreachable)
}


def unusable(error: OSError) -> CliError:
    """What a file, a folder or the machine refused; every command knows its own refusals better."""
    about = f"{error.filename}: " if error.filename else ""
    hints = {
        errno.EACCES: "Run Botkeep as the user whose it is, or give it to yours.",
        errno.ENOSPC: "Make room there, and try again.",
    }
    return CliError(
        f"{about}{error.strerror or error}.", hint=hints.get(error.errno or 0, "Correct that, and try again.")
    )
