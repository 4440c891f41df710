"""What a bot knows of its own run, in one object: the words of Roboto's `InvocationContext`, without its package.

context = InvocationContext.from_env()
region = context.get_parameter("region")
key = context.get_secret_parameter("api_key").get_secret_value()
"""

from __future__ import annotations

import os

from botkeep.errors import UnknownParameter
from botkeep.run import output_dir, parameters
from botkeep.secret import SecretValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any


class InvocationContext:
    """One run, as it was when it was asked for."""

    __slots__ = ("_parameters", "attempt", "bot", "environment", "invocation_id")

    def __init__(self, given: dict[str, Any]) -> None:
        """Made by `from_env`."""
        self._parameters = given
        self.invocation_id = os.environ.get("BOTKEEP_JOB_ID", "")
        self.attempt = int(os.environ.get("BOTKEEP_ATTEMPT", "1"))
        self.environment = os.environ.get("BOTKEEP_ENVIRONMENT", "dev")
        self.bot = os.environ.get("BOTKEEP_BOT", "")

    @classmethod
    def from_env(cls) -> InvocationContext:
        """This run.

        Raises:
            OutsideBotkeep: when this program was not started by Botkeep, and has no file of local values.
        """
        return cls(parameters())

    def get_parameter(self, name: str) -> str:
        """A parameter as text, references resolved; what is not text is written as Python writes it.

        Raises:
            UnknownParameter: when the job has none of this name; the message names near ones.
        """
        if name not in self._parameters:
            raise UnknownParameter(_unknown(name, self._parameters))
        return str(self._parameters[name])

    def get_optional_parameter(self, name: str, default: str | None = None) -> str | None:
        """A parameter as text, or `default` where the job has none of this name."""
        return self.get_parameter(name) if name in self._parameters else default

    def get_secret_parameter(self, name: str) -> SecretValue:
        """A parameter that does not print.

        Raises:
            UnknownParameter: as `get_parameter`.
        """
        return SecretValue(self.get_parameter(name))

    @property
    def output_dir(self) -> Path:
        """The folder for this attempt's results."""
        return output_dir()

    def __repr__(self) -> str:
        """Which run, and the names of its parameters."""
        return f"<run {self.invocation_id} of {self.bot} in {self.environment}, parameters {sorted(self._parameters)}>"


def _unknown(name: str, given: dict[str, Any]) -> str:
    import difflib  # noqa: PLC0415 - only for the error

    near = difflib.get_close_matches(name, given, 3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(sorted(given)) or 'none'}."
    return f"This job has no parameter {name[:60]!r}; {hint}"
