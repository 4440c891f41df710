"""Pages of lists: `{"items": [], "next": null}`, where `next` is the key to go on after."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from pydantic import BaseModel

T = TypeVar("T")
Row = TypeVar("Row")


class Page(BaseModel, Generic[T]):
    """Some items of a list; `next` is empty on the last page."""

    items: list[T]
    next: str | None


def cut(
    rows: Iterable[Row], *, key: Callable[[Row], str], limit: int, after: str | None
) -> tuple[Sequence[Row], str | None]:
    """The page of a short list that is at hand as a whole, in the order of `key`, and the next page's `after`.

    Going on by key, not by count: what is added or removed meanwhile shifts nothing.
    """
    ordered = sorted((row for row in rows if after is None or key(row) > after), key=key)
    page = ordered[:limit]
    return page, key(page[-1]) if len(ordered) > limit else None
