"""Ids of jobs as the instants they hold: UUIDv7, by the millisecond since 1970 (RFC 9562, section 5.7)."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime


def first_id(at: datetime) -> uuid.UUID:
    """The smallest id of a job made at this instant or later."""
    return uuid.UUID(int=(max(0, int(at.timestamp() * 1000)) << 80) | (7 << 76) | (2 << 62))


def made_at(job_id: uuid.UUID) -> datetime:
    """When an id of a job was made, to the millisecond."""
    return datetime.fromtimestamp((job_id.int >> 80) / 1000, UTC)
