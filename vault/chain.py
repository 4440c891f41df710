"""The chain of a workspace's audit rows: sealed in order, and verified.

Each row gets a place (`seq`) and two SHA-256 digests, in a table of its own, which is only ever added to:

    digest = SHA-256(canonical row)
    hash   = SHA-256("botkeep audit 1" || hash of the place before || seq, 8 bytes big-endian || digest)

so that whoever edits, removes or moves a row, or puts one between, leaves a chain that does not hold from there on, and
the digest says which it was. Rows are written wherever something happens and sealed seconds later, by the scheduler: a
chain at the insert would make every write of a workspace wait for the one before (docs/adr/0011-sealing-the-audit.md).

Refuses nothing: what is wrong with a chain is what `verify` answers.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, exists, func, insert, select, text
from sqlalchemy.orm import Session

from vault.db import database_time
from vault.direct import Direct
from vault.models import AuditEvent, AuditLink, Reading

#: What stands before every hash, and is the hash before the first place.
_FORMAT = b"botkeep audit 1"

#: Rows sealed in one transaction.
AT_ONCE = 2000

#: A row may come this much later than one with a higher id: clocks differ, and transactions take time. The shorter span
#: is looked at each time, the longer one now and then; what comes later still is never sealed, and `verify` names it.
LATE, VERY_LATE = timedelta(minutes=1), timedelta(hours=1)

#: The key of PostgreSQL's advisory lock under which one scheduler at a time seals.
_LOCK = 27707093526340977

#: The columns of a row that its digest covers, in this order.
COVERED = ("id", "workspace_id", "at", "actor", "address", "action", "object", "environment", "outcome", "details")

_NEWEST = select(AuditLink.sealed_at, AuditLink.event_id).order_by(AuditLink.event_id.desc()).limit(1)

_ANY_UNSEALED = select(
    exists()
    .where(AuditEvent.id >= bindparam("since"), ~exists().where(AuditLink.event_id == AuditEvent.id))
    .label("any")
)


@dataclass(frozen=True, slots=True)
class Head:
    """The newest place of a chain; `seq` is 0 before the first."""

    seq: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong: `kind` is `edited`, `removed`, `moved`, `inserted`, `missing` or `readings`."""

    kind: str
    seq: int | None
    event_id: uuid.UUID | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Verified:
    """Some places of a chain, in order: what was found there, and where they end."""

    checked: int
    findings: list[Finding]
    last: Head
    done: bool


@dataclass(frozen=True, slots=True)
class Tail:
    """Rows that have no place yet."""

    count: int
    oldest_at: datetime | None


def digest(row: Any) -> bytes:  # noqa: ANN401 - a mapped row or a result's
    """What the chain keeps of a row's content."""
    values = [_plain(getattr(row, name)) for name in COVERED]
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).digest()


def linked(before: Head, row_digest: bytes) -> Head:
    """The place after `before`, for a row of this digest."""
    seq = before.seq + 1
    return Head(seq, hashlib.sha256(_FORMAT + before.hash + seq.to_bytes(8, "big") + row_digest).digest())


def head(session: Session, workspace_id: uuid.UUID, *, at: int | None = None) -> Head:
    """The newest place of a workspace's chain, or the newest up to `at`."""
    query = select(AuditLink.seq, AuditLink.hash).where(AuditLink.workspace_id == workspace_id)
    if at is not None:
        query = query.where(AuditLink.seq <= at)
    row = session.execute(query.order_by(AuditLink.seq.desc()).limit(1)).one_or_none()
    return Head(0, _FORMAT) if row is None else Head(row.seq, row.hash)


def seal(session: Session, *, late: timedelta = LATE) -> dict[uuid.UUID, Head]:
    """Give rows without a place theirs, at most `AT_ONCE`; answers the new heads of the chains that grew."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    rows = session.execute(_unsealed(session, late=late)).all()
    if not rows:
        return {}
    now, heads = database_time(session), dict[uuid.UUID, Head]()
    links = []
    for row in rows:
        before = heads.get(row.workspace_id) or head(session, row.workspace_id)
        row_digest = digest(row)
        after = heads[row.workspace_id] = linked(before, row_digest)
        links.append(
            {
                "workspace_id": row.workspace_id,
                "seq": after.seq,
                "event_id": row.id,
                "digest": row_digest,
                "hash": after.hash,
                "sealed_at": now,
            }
        )
    session.connection().execute(insert(AuditLink), links)
    return heads


def unsealed(direct: Direct, *, late: timedelta = LATE) -> bool:
    """Whether there are rows without a place; asked again and again, before a transaction that writes is opened."""
    newest = direct.read(_NEWEST, {})
    since = _counted_back(newest[0], late=late) if newest else uuid.UUID(int=0)
    (answer,) = direct.read(_ANY_UNSEALED, {"since": since})
    return bool(answer.any)


def tail(session: Session, workspace_id: uuid.UUID) -> Tail:
    """How many of the newest rows have no place yet."""
    since = _since(session, late=VERY_LATE)
    query = _without_link(select(func.count(), func.min(AuditEvent.at)), workspace_id)
    count, oldest = session.execute(query if since is None else query.where(AuditEvent.id >= since)).one()
    return Tail(count, oldest)


def verify(session: Session, workspace_id: uuid.UUID, *, after: int, limit: int) -> Verified:
    """Check the places after `after`, at most `limit`; each wrong one is named, and those behind it are still checked.

    What was done to the newest places as a whole (cut off, or written anew) only the anchored heads tell.
    """
    before, findings = head(session, workspace_id, at=after), list[Finding]()
    rows = session.execute(_with_rows(workspace_id, after=after, limit=limit)).all()
    for row in rows:
        if row.seq != before.seq + 1:
            sentence = f"Places {before.seq + 1} to {row.seq - 1} of the chain are gone."
            findings.append(Finding("missing", before.seq + 1, None, sentence))
        findings += _wrong(before, row)
        before = Head(row.seq, row.hash)
    findings += _wrong_readings(session, [row for row in rows if row.id is not None and digest(row) == row.digest])
    done = len(rows) < limit
    if done:
        findings += _never_sealed(session, workspace_id, limit=limit)
    return Verified(len(rows), findings, before, done)


def differing(session: Session, workspace_id: uuid.UUID, anchored: Mapping[int, bytes]) -> list[Finding]:
    """Those of the anchored heads that the chain does not have any more."""
    query = select(AuditLink.seq, AuditLink.hash).where(
        AuditLink.workspace_id == workspace_id, AuditLink.seq.in_(list(anchored))
    )
    held = {row.seq: row.hash for row in session.execute(query)}
    findings = []
    for seq, wanted in sorted(anchored.items()):
        if seq not in held:
            findings.append(Finding("removed", seq, None, f"The chain ends before place {seq}, which was anchored."))
        elif held[seq] != wanted:
            sentence = f"The chain up to place {seq} is not the one that was anchored: it was written anew."
            findings.append(Finding("edited", seq, None, sentence))
    return findings


def exported(session: Session, workspace_id: uuid.UUID, *, after: uuid.UUID | None, limit: int) -> Sequence[Any]:
    """Rows in the order of their ids, oldest first, each with its place, digest and hash where it has one."""
    query = (
        select(*_columns(), AuditLink.seq, AuditLink.digest, AuditLink.hash)
        .outerjoin(AuditLink, AuditLink.event_id == AuditEvent.id)
        .where(AuditEvent.workspace_id == workspace_id)
    )
    if after is not None:
        query = query.where(AuditEvent.id > after)
    return session.execute(query.order_by(AuditEvent.id).limit(limit)).all()


def _wrong(before: Head, row: Any) -> Iterator[Finding]:  # noqa: ANN401 - a result's row
    if row.id is None:
        yield Finding("removed", row.seq, row.event_id, f"Row {row.event_id}, place {row.seq}, was removed.")
    elif digest(row) != row.digest:
        yield Finding("edited", row.seq, row.event_id, f"Row {row.event_id}, place {row.seq}, was edited.")
    if linked(Head(row.seq - 1, before.hash), row.digest).hash != row.hash:
        sentence = f"Row {row.event_id} does not belong to place {row.seq}: it was moved or put in."
        yield Finding("moved", row.seq, row.event_id, sentence)


def _wrong_readings(session: Session, rows: Sequence[Any]) -> Iterator[Finding]:
    """Readings that an audit row names and that are not there any more as they were written."""
    wanted = [row for row in rows if row.action == "asset.read" and row.object.startswith("job ")]
    if not wanted:
        return
    jobs = {uuid.UUID(row.object.removeprefix("job ")) for row in wanted}
    found = {
        (str(reading.job_id), reading.attempt, reading.environment, reading.asset, reading.scope, reading.number)
        for reading in session.scalars(select(Reading).where(Reading.job_id.in_(jobs)))
    }
    for row in wanted:
        place = (row.object.removeprefix("job "), row.details["attempt"], row.environment)
        for value in row.details["values"]:
            if (*place, *value) not in found:
                sentence = (
                    f"The reading of {value[0]} by {row.object} is not what row {row.id} says: edited or removed."
                )
                yield Finding("readings", row.seq, row.event_id, sentence)


def _never_sealed(session: Session, workspace_id: uuid.UUID, *, limit: int) -> list[Finding]:
    """Rows that are too old to have come late: put in behind the chain's back."""
    since = _since(session, late=VERY_LATE)
    if since is None:
        return []
    query = _without_link(select(AuditEvent.id), workspace_id).where(AuditEvent.id < since)
    return [
        Finding("inserted", None, event_id, f"Row {event_id} was never sealed: it was put in later.")
        for event_id in session.scalars(query.order_by(AuditEvent.id).limit(limit))
    ]


def _without_link(query: Any, workspace_id: uuid.UUID) -> Any:  # noqa: ANN401 - a Select of anything
    return (
        query.select_from(AuditEvent)
        .outerjoin(AuditLink, AuditLink.event_id == AuditEvent.id)
        .where(AuditEvent.workspace_id == workspace_id, AuditLink.event_id.is_(None))
    )


def _with_rows(workspace_id: uuid.UUID, *, after: int, limit: int) -> Any:  # noqa: ANN401 - a Select of many columns
    return (
        select(AuditLink.seq, AuditLink.event_id, AuditLink.digest, AuditLink.hash, *_columns())
        .outerjoin(AuditEvent, AuditEvent.id == AuditLink.event_id)
        .where(AuditLink.workspace_id == workspace_id, AuditLink.seq > after)
        .order_by(AuditLink.seq)
        .limit(limit)
    )


def _unsealed(session: Session, *, late: timedelta) -> Any:  # noqa: ANN401 - a Select of many columns
    query = (
        select(*_columns())
        .outerjoin(AuditLink, AuditLink.event_id == AuditEvent.id)
        .where(AuditLink.event_id.is_(None))
        .order_by(AuditEvent.id)
        .limit(AT_ONCE)
    )
    since = _since(session, late=late)
    return query if since is None else query.where(AuditEvent.id >= since)


def _since(session: Session, *, late: timedelta) -> uuid.UUID | None:
    """The lowest id that a row may have which is sealed next; `None` before the first."""
    newest = session.execute(_NEWEST).one_or_none()
    return None if newest is None else _counted_back(newest, late=late)


def _counted_back(newest: Any, *, late: timedelta) -> uuid.UUID:  # noqa: ANN401 - a row of `_NEWEST`
    """The lowest id of a row that may come after the newest place.

    Counted back from when that was given, by the database's clock, or from its row, whichever is earlier: a row whose
    writer's clock runs ahead must not hide those of all others.
    """
    milliseconds = min(int(newest.sealed_at.timestamp() * 1000), newest.event_id.int >> 80)
    return uuid.UUID(int=max(milliseconds - int(late.total_seconds() * 1000), 0) << 80)


def _columns() -> list[Any]:
    return [getattr(AuditEvent, name) for name in COVERED]


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")
    return str(value) if isinstance(value, uuid.UUID) else value
