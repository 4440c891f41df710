"""The errors that a bot may meet here; the tree is drawn in the package's docstring.

Every message says what to do next, and no message or attribute holds a value.
"""


class BotkeepError(Exception):
    """Root of all errors that this package raises."""


class UnknownAsset(BotkeepError, KeyError):
    """This bot sees no asset of that name. A KeyError too, since `assets` is used like a dictionary."""

    def __str__(self) -> str:
        """The sentence itself, which a KeyError would show in quotes."""
        return str(self.args[0]) if self.args else ""


class UnknownParameter(BotkeepError, KeyError):
    """This job has no parameter of that name. A KeyError too, as `UnknownAsset`."""

    def __str__(self) -> str:
        """The sentence itself, which a KeyError would show in quotes."""
        return str(self.args[0]) if self.args else ""


class NoValue(BotkeepError):
    """The asset exists, but there is no value of it that can be read in this environment."""


class NotText(BotkeepError):
    """The value is not UTF-8 text."""


class Refused(BotkeepError):
    """The runner does not take what it was told; the message says why. Nothing was changed."""


class EndpointUnreachable(BotkeepError):
    """The runner of this job does not answer, or does not answer this job any more."""


class MaskRefused(BotkeepError):
    """The value is not masked: it is too large, or the job named too many. Do not print it."""


class OutsideBotkeep(BotkeepError):
    """This program was not started by Botkeep, so what was asked for does not exist."""


class SourceError(BotkeepError):
    """A data source cannot be used; the sentence names it, the environment and what is wrong."""


class UnknownSource(SourceError, KeyError):
    """This bot may use no data source of that name here. A KeyError too, as `UnknownAsset`."""

    def __str__(self) -> str:
        """The sentence itself, which a KeyError would show in quotes."""
        return str(self.args[0]) if self.args else ""


class BusinessError(Exception):
    """Raised by a bot when its data is wrong and trying again would not help; ends the job as `business`."""
