"""Work items: pieces of data that wait in a tray, and of which this bot does one after the other.

    for item in botkeep.work_items.each("invoices"):
        with item:
            book(item.data)

Leaving the block completes the item. `BusinessError` fails it for good and the loop goes on; any other exception fails
it so that it is tried again, and ends the bot. What a bot that was killed held goes back into the tray by itself.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime, timedelta
    from types import TracebackType
    from typing import Any, Self


class WorkItem:
    """An item that this bot holds until it completes or fails it, or ends."""

    __slots__ = ("_open", "data", "deadline", "id", "reference", "tries")

    def __init__(self, told: dict[str, Any]) -> None:
        """Made by `reserve`."""
        self.id: str = told["id"]
        self.data: Any = told["data"]
        self.reference: str | None = told["reference"]
        #: How often it was reserved, this time included.
        self.tries: int = told["tries"]
        #: As ISO 8601, or `None`.
        self.deadline: str | None = told["deadline"]
        self._open = True

    def complete(self, result: Any = None) -> None:  # noqa: ANN401 - any JSON
        """It is done; `result` (any JSON) is kept with it.

        Raises:
            Refused: when this bot does not hold it any more.
        """
        self._say("completion", {"result": result})

    def fail(self, message: str, *, business: bool = False) -> None:
        """It could not be done: it is tried again later, or never where the data is wrong (`business`).

        Raises:
            Refused: as `complete`.
        """
        self._say("failure", {"kind": "business" if business else "application", "message": message})

    def _say(self, word: str, body: dict[str, Any]) -> None:
        from botkeep import endpoint  # noqa: PLC0415 - most bots never need it

        endpoint.tell("PUT", f"/v1/work-items/{self.id}/{word}", body)
        self._open = False

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> bool:
        """Complete or fail it, unless that was said already."""
        from botkeep.errors import BusinessError  # noqa: PLC0415 - the same

        business = isinstance(error, BusinessError)
        if self._open and error is None:
            self.complete()
        elif self._open and (business or isinstance(error, Exception)):
            self.fail(f"{kind.__name__ if kind else ''}: {error}", business=business)
        return business

    def __repr__(self) -> str:
        """Its id, and not its data."""
        return f"<work item {self.id}>"


def reserve(tray: str) -> WorkItem | None:
    """The next item of a tray, by priority, deadline and age; `None` when none waits.

    Raises:
        Refused: for a name that is none.
        OutsideBotkeep, EndpointUnreachable: when there is no runner, or it does not answer.
    """
    from botkeep import endpoint  # noqa: PLC0415 - most bots never need it

    told = endpoint.tell("POST", "/v1/work-items/reservation", {"tray": tray})
    return None if told is None else WorkItem(told)


def each(tray: str) -> Iterator[WorkItem]:
    """Items of a tray until none waits; use each in a `with` block."""
    while (item := reserve(tray)) is not None:
        yield item


def add(
    tray: str,
    data: Any,  # noqa: ANN401 - any JSON
    *,
    reference: str | None = None,
    priority: str = "normal",
    deadline: datetime | None = None,
    not_before: datetime | None = None,
    retries: int | None = None,
    retry_delay: timedelta | None = None,
) -> str:
    """Put an item into a tray of this job's environment; answers its id.

    `data` is any JSON of at most 64 kB, in which the values of assets are masked; times are aware.

    Raises:
        Refused: for a reference that the tray has already, and for what cannot be used.
    """
    from botkeep import endpoint  # noqa: PLC0415 - the same

    body = {
        "tray": tray,
        "data": data,
        "reference": reference,
        "priority": priority,
        "deadline": None if deadline is None else deadline.isoformat(),
        "not_before": None if not_before is None else not_before.isoformat(),
        "retries": retries,
        "retry_delay": None if retry_delay is None else retry_delay.total_seconds(),
    }
    told = endpoint.tell("POST", "/v1/work-items", {key: value for key, value in body.items() if value is not None})
    return str(told["id"])
