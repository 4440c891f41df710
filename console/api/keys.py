"""Keys over HTTP: which each environment has, what each wraps, which runner holds it, and what to do next."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, Field

from console import key_rings
from console.deps import After, Allowed, Limit
from console.key_rings import Ring
from console.paging import Page
from vault.recipients import KeyState

router = APIRouter(prefix="/api/v1/keys", tags=["keys"])


class KeyHolder(BaseModel):
    """A runner that serves the environment; `holds`: null where it does not say."""

    name: str
    state: str
    holds: bool | None


class KeyItem(BaseModel):
    """A key pair, by the id of its public half; a `prepared` one wraps nothing until it is rotated to."""

    environment: str
    key: str
    current: bool
    prepared: bool
    created_at: datetime | None
    retired_at: datetime | None
    values: int = Field(description="Stored values that it wraps.")
    total: int = Field(description="Stored values of the environment; where a former key wraps some, rotate goes on.")
    runners: list[KeyHolder]
    advice: str = Field(description="What to do next in this environment; with its current key only.")


@router.get("", summary="List keys")
def listed(call: Allowed, limit: Limit = 50, after: After = None) -> Page[KeyItem]:
    """Every key by environment, the prepared one and the one in force first; `limit` and `after` change nothing."""
    del limit, after  # a handful, in an order that no key has
    with call.reading() as session:
        return Page(items=[item for ring in key_rings.rings(session) for item in _items(ring)], next=None)


def _items(ring: Ring) -> list[KeyItem]:
    states: list[KeyState] = [*([ring.current] if ring.current else []), *ring.former]
    coming = [_item(ring, key_id, None) for key_id in ring.prepared]
    return [*coming, *(_item(ring, state.id, state) for state in states)]


def _item(ring: Ring, key_id: str, state: KeyState | None) -> KeyItem:
    current = state is not None and state.retired_at is None
    return KeyItem(
        environment=ring.environment,
        key=key_id,
        current=current,
        prepared=state is None,
        created_at=state.created_at if state else None,
        retired_at=state.retired_at if state else None,
        values=state.values if state else 0,
        total=ring.total,
        runners=[
            KeyHolder(
                name=one.seen.row.name,
                state=one.seen.status,
                holds=None if one.keys is None else one.holds(key_id),
            )
            for one in ring.holders
        ],
        advice=ring.advice if current else "",
    )
