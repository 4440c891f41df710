"""Why a data source cannot be used: at which step, because of which field, in words that hold no value."""

from __future__ import annotations

from enum import StrEnum


class Step(StrEnum):
    """How far a source came; each step needs those before it. The words are those of the answer to a check."""

    FILLED = "filled in"
    RESOLVED = "resolved"
    REACHABLE = "reachable"
    TLS = "protected by TLS"
    AUTHENTICATED = "authenticated"
    FOLDER = "folder found"
    QUERY = "query ok"


class SourceFailed(Exception):
    """A source failed at a step; `detail` names no value, `field` is the definition's one at fault, where known.

    `retriable` says that the same may succeed later without any change: the server was away.
    """

    def __init__(self, step: Step, detail: str, *, field: str = "", retriable: bool = False) -> None:
        super().__init__(step, detail)
        self.step = step
        self.detail = detail
        self.field = field
        self.retriable = retriable

    def sentence(self, source: str, environment: str) -> str:
        """What a person reads: source, environment, what failed, and the field to look at."""
        fault = f" (field `{self.field}`)" if self.field else ""
        return f"{source} in {environment}: not {self.step}: {self.detail.rstrip('.')}{fault}."
