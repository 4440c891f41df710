"""Why an attempt ends before its bot starts."""

from __future__ import annotations

from runner.states import Reason


class Refusal(Exception):
    """A step declines to go on; `detail` is the sentence that history shows, and never holds a value."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
