"""The module `heptora`, as bots written for Heptora know it: `heptora.get_secret("SAP_USER")`.

A runner gives its name to every Python bot, imported or not. A plain name is `GLOBAL.NAME`; the value is the one of the
environment that the job runs in. It comes as an ordinary string, as there; the log is masked instead.
"""

from botkeep.errors import EndpointUnreachable, NoValue, UnknownAsset
from botkeep.values import get_secret

__all__ = ["EndpointUnreachable", "NoValue", "UnknownAsset", "get_secret"]
