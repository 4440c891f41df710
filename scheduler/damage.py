"""Rows that were damaged are passed over, so that what stands beside them goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, Select
from sqlalchemy.orm import Session

from vault import db
from vault.errors import DamagedRow

#: Rows that are passed over: some are a slip of who edited them, more are a damage that a backup mends.
PATIENCE = 100


def readable(session: Session, statement: Select[*tuple[Any, ...]], *, limit: int) -> tuple[list[Row[Any]], int]:
    """The first `limit` rows that can be read, and how many between them cannot; the statement's order must be total.

    Raises:
        DamagedRow: for more than `PATIENCE` of these.
        Unavailable: when the database cannot be reached.
    """
    found: list[Row[Any]] = []
    looked_at = 0
    while (wanted := limit - len(found)) and looked_at - len(found) <= PATIENCE:
        rows, there = _span(session, statement, looked_at, wanted)
        found += rows
        looked_at += there
        if there < wanted:
            break
    passed_over = looked_at - len(found)
    if passed_over > PATIENCE:
        raise DamagedRow(
            f"More than {PATIENCE} rows of the database that are needed here are damaged: restore a backup."
        )
    return found, passed_over


def _span(
    session: Session, statement: Select[*tuple[Any, ...]], first: int, count: int
) -> tuple[Sequence[Row[Any]], int]:
    """Those of some rows that can be read, and how many there are; what cannot be read is found by halves."""
    try:
        with db.known_troubles():
            rows = session.execute(statement.offset(first).limit(count)).all()
    except DamagedRow:
        if count == 1:
            return [], 1
    else:
        return rows, len(rows)
    half = count // 2
    rows, there = _span(session, statement, first, half)
    if there < half:
        return rows, there
    more, beyond = _span(session, statement, first + half, count - half)
    return [*rows, *more], there + beyond
