"""The audit over HTTP: who did what to which object; checking its chain; all of it as JSON lines."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from console.deps import Allowed, Call, Limit
from console.paging import Page
from vault import audit, chain
from vault.chain import Finding
from vault.models import AuditEvent

router = APIRouter(prefix="/api/v1/audit", tags=["audit"])

#: Rows read at once for an export.
AT_ONCE = 1000


class AuditItem(BaseModel):
    """One deed; `outcome` is `done` or `refused`."""

    id: uuid.UUID
    at: datetime
    actor: str
    address: str
    action: str
    object: str
    environment: str | None
    outcome: str
    details: dict[str, Any]


class FindingItem(BaseModel):
    """What is wrong: `edited`, `removed`, `moved`, `inserted`, `missing` or `readings`, and where."""

    kind: str
    seq: int | None
    id: uuid.UUID | None
    sentence: str


class Verification(BaseModel):
    """Some places of the chain: how many were checked, what is wrong, the last one, and the next call's `after`.

    `unsealed` counts the newest rows that have no place yet: nothing can be said about these.
    """

    checked: int
    findings: list[FindingItem]
    seq: int
    hash: str
    next: int | None
    unsealed: int
    unsealed_since: datetime | None


class Anchor(BaseModel):
    """A head of the chain that was written down elsewhere."""

    model_config = ConfigDict(extra="forbid")

    seq: int = Field(ge=1, le=2**62)
    hash: str = Field(pattern=r"^[0-9a-f]{64}$")


class Comparison(BaseModel):
    """Heads to compare the chain with."""

    model_config = ConfigDict(extra="forbid")

    anchors: list[Anchor] = Field(max_length=1000)


class Compared(BaseModel):
    """How many heads were compared, those that do not hold, and the workspace whose chain it is."""

    workspace: uuid.UUID
    compared: int
    findings: list[FindingItem]


@router.get("", summary="List what was done and refused")
def listed(
    call: Allowed,
    limit: Limit = 50,
    after: Annotated[uuid.UUID | None, Query(description="The `next` of the page before.")] = None,
    *,
    actor: Annotated[str, Query(max_length=200)] = "",
    action: Annotated[str, Query(max_length=64, description="`asset.set`, or `asset` for every one of the noun.")] = "",
    environment: Annotated[str, Query(max_length=16)] = "",
    outcome: Annotated[str, Query(max_length=16)] = "",
    about: Annotated[str, Query(max_length=400, description="Text that the object holds.")] = "",
    since: Annotated[AwareDatetime | None, Query(description="Done at this time or later.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Done before this time.")] = None,
) -> Page[AuditItem]:
    """Audit rows, the newest first."""
    wanted = audit.Filter(actor, action, environment, outcome, about, since, until)
    with call.reading() as session:
        rows = audit.page(session, workspace_id=call.workspace_id, limit=limit, after=after, wanted=wanted)
    items = [_item(row) for row in rows]
    return Page(items=items, next=str(items[-1].id) if len(items) == limit else None)


@router.get("/verification", summary="Check the chain")
def verify(
    call: Allowed,
    after: Annotated[int, Query(ge=0, le=2**62, description="The `next` of the call before.")] = 0,
    limit: Annotated[int, Query(ge=1, le=5000, description="Places at most.")] = 1000,
) -> Verification:
    """Check the next places of the chain, and the rows that stand there; the last call also looks for rows put in."""
    with call.reading() as session:
        found = chain.verify(session, call.workspace_id, after=after, limit=limit)
        tail = chain.tail(session, call.workspace_id)
    return Verification(
        checked=found.checked,
        findings=[_finding(one) for one in found.findings],
        seq=found.last.seq,
        hash=found.last.hash.hex(),
        next=None if found.done else found.last.seq,
        unsealed=tail.count,
        unsealed_since=tail.oldest_at,
    )


@router.post("/comparisons", summary="Compare the chain with heads that were written down elsewhere")
def compare(call: Allowed, order: Comparison) -> Compared:
    """Which of these heads the chain does not have any more."""
    anchored = {anchor.seq: bytes.fromhex(anchor.hash) for anchor in order.anchors}
    with call.reading() as session:
        findings = chain.differing(session, call.workspace_id, anchored)
    return Compared(workspace=call.workspace_id, compared=len(anchored), findings=[_finding(one) for one in findings])


@router.get("/export", summary="Everything, as JSON lines", response_class=StreamingResponse)
def export(call: Allowed) -> StreamingResponse:
    """Every row, oldest first, one JSON object a line, with its place in the chain, its digest and its hash."""
    with call.writing() as session:
        audit.record(
            session, call.actor, workspace_id=call.workspace_id, action=call.action, target="audit", now=call.now
        )
    headers = {"Content-Disposition": 'attachment; filename="audit.jsonl"'}
    return StreamingResponse(_lines(call), media_type="application/x-ndjson", headers=headers)


def _lines(call: Call) -> Iterator[str]:
    after: uuid.UUID | None = None
    while True:
        with call.reading() as session:
            rows = chain.exported(session, call.workspace_id, after=after, limit=AT_ONCE)
        yield "".join(_line(row) for row in rows)
        if len(rows) < AT_ONCE:
            return
        after = rows[-1].id


def _line(row: Any) -> str:  # noqa: ANN401 - a result's row
    place = {"seq": row.seq, "digest": row.digest and row.digest.hex(), "hash": row.hash and row.hash.hex()}
    return json.dumps(_item(row).model_dump(mode="json") | place, ensure_ascii=False) + "\n"


def _item(row: AuditEvent) -> AuditItem:
    return AuditItem(**{name: getattr(row, name) for name in AuditItem.model_fields})


def _finding(found: Finding) -> FindingItem:
    return FindingItem(kind=found.kind, seq=found.seq, id=found.event_id, sentence=found.sentence)
