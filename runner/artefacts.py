"""Artefacts: the files that attempts left in their output folders, as history knows them.

Their content lies in the store of the logs, masked, under their number; a withheld one has a row and no content.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from runner.errors import NotFound
from runner.models import Artefact


@dataclass(frozen=True, slots=True)
class Kept:
    """One file: its masked path, size and SHA-256 of what is stored under its number; why it is withheld, if it is."""

    number: int
    path: str
    size: int
    digest: str
    masked: bool
    withheld: str | None


def record(session: Session, job_id: uuid.UUID, *, attempt: int, files: Iterable[Kept]) -> None:
    """Write down what an attempt left; once, however often it is said."""
    rows = [{"job_id": job_id, "attempt": attempt, **asdict(kept)} for kept in files]
    if not rows:
        return
    known = session.scalar(
        select(func.count()).select_from(Artefact).where(Artefact.job_id == job_id, Artefact.attempt == attempt)
    )
    if not known:
        session.execute(insert(Artefact), rows)


def of_attempt(session: Session, job_id: uuid.UUID, *, attempt: int) -> Sequence[Artefact]:
    """What an attempt left, in the order of its paths."""
    return session.scalars(
        select(Artefact).where(Artefact.job_id == job_id, Artefact.attempt == attempt).order_by(Artefact.number)
    ).all()


def numbered(session: Session, job_id: uuid.UUID, number: int, *, attempt: int) -> Artefact:
    """The artefact of a number.

    Raises:
        NotFound: when the attempt left none of this number.
    """
    # A number that no column can hold is none of ours, either.
    found = session.get(Artefact, (job_id, attempt, number)) if 0 <= number < 2**31 > attempt >= 0 else None
    if found is None:
        raise _no_such(job_id, attempt)
    return found


def named(session: Session, job_id: uuid.UUID, path: str, *, attempt: int) -> Artefact:
    """The artefact of a path.

    Raises:
        NotFound: when the attempt left none of this name.
    """
    found = session.scalar(
        select(Artefact).where(Artefact.job_id == job_id, Artefact.attempt == attempt, Artefact.path == path)
    )
    if found is None:
        raise _no_such(job_id, attempt)
    return found


def _no_such(job_id: uuid.UUID, attempt: int) -> NotFound:
    return NotFound(f"Attempt {attempt} of job {job_id} left no such file; see `botkeep job outputs {job_id}`.")
