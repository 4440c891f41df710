"""The artefacts of a job over HTTP: what its bot left in BOTKEEP_OUTPUT_DIR, listed and downloaded.

An artefact is never given in a way that a browser executes or shows: always as an attachment of bytes.
"""

from __future__ import annotations

import uuid
from urllib.parse import quote

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from console import stream
from console.api.jobs import parse_id
from console.api.logs import OfAttempt
from console.deps import After, Allowed, Call, Limit
from console.paging import Page, cut
from console.stream import LogOf
from runner import artefacts, history
from runner.errors import Conflict
from runner.models import Artefact

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])


class OutputItem(BaseModel):
    """One file; `size` and `sha256` are those of what can be downloaded."""

    path: str
    size: int
    sha256: str
    masked: bool = Field(description="Values of assets in it were replaced.")
    withheld: str | None = Field(description="Why it was not kept, where it was not.")
    attempt: int


@router.get("/{job_id}/outputs", summary="List the files that a job left")
def listed(
    call: Allowed, job_id: str, *, limit: Limit = 50, after: After = None, attempt: OfAttempt = None
) -> Page[OutputItem]:
    """What the bot left in its output folder, by path; of the latest attempt unless another is named."""
    job, number = _attempt(call, job_id, attempt)
    with call.reading() as session:
        rows = artefacts.of_attempt(session, job, attempt=number)
        items = [_item(row) for row in rows]
    page, following = cut(enumerate(items), key=lambda item: f"{item[0]:06}", limit=limit, after=after)
    return Page(items=[item for _, item in page], next=following)


@router.get(
    "/{job_id}/outputs/{path:path}",
    summary="Download a file that a job left",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/octet-stream": {}}, "description": "The file."}},
)
def download(call: Allowed, job_id: str, path: str, *, attempt: OfAttempt = None) -> StreamingResponse:
    """The content of one file. One that is withheld, or was pruned, is refused with the reason."""
    job, number = _attempt(call, job_id, attempt)
    with call.reading() as session:
        place = artefacts.named(session, job, path, attempt=number).number
    return attachment(call, job, attempt=number, number=place)


def attachment(call: Call, job_id: uuid.UUID, *, attempt: int, number: int) -> StreamingResponse:
    """A file by its number, as an attachment of bytes.

    Raises:
        NotFound: when this workspace has no such job, or the attempt left no such file.
        Conflict: when it is withheld, or was pruned.
    """
    with call.reading() as session:
        history.progress(session, job_id, workspace_id=call.workspace_id)
        row = artefacts.numbered(session, job_id, number, attempt=attempt)
        known = history.stored(session, job_id, attempt=attempt)
        item = _item(row)
    if item.withheld is not None:
        raise Conflict(item.withheld)
    if known.pruned_at is not None:
        raise Conflict(f"It was pruned at {known.pruned_at:%Y-%m-%d %H:%M:%S} UTC by the rule: {known.pruned_by}.")
    content = call.console.store.artefact(job_id, attempt, number)
    name = item.path.rpartition("/")[2]
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        "Content-Length": str(item.size),
        "Content-Security-Policy": "sandbox",
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(content, media_type="application/octet-stream", headers=headers)


def _attempt(call: Call, job_id: str, attempt: int | None) -> tuple[uuid.UUID, int]:
    log = LogOf(call.console, call.workspace_id, parse_id(job_id), attempt)
    return log.job_id, stream.look(log).attempt


def _item(row: Artefact) -> OutputItem:
    return OutputItem(
        path=row.path,
        size=row.size,
        sha256=row.digest,
        masked=row.masked,
        withheld=row.withheld,
        attempt=row.attempt,
    )
