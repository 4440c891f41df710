"""The table of messages that consumers were given; `runner.mail_ledger` and `runner.mail_marking` alone change it."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column
from uuid_utils.compat import uuid7

from vault.models import Model

#: What a partial index calls a message whose job may not have ended, and one that is still to be marked.
OPEN_MESSAGES = text("settled_at IS NULL")
UNMARKED_MESSAGES = text("settled_at IS NOT NULL AND marked_at IS NULL")


class MailMessage(Model):
    """A message of a mailbox that a consumer was given.

    The unique index is what makes sure that no message is given twice. `folder` is the definition's text, tokens not
    replaced. There is no foreign key to jobs: that a message was given outlives the job's row.
    """

    __tablename__ = "mail_messages"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid7)
    workspace_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("workspaces.id"))
    source: Mapped[str] = mapped_column(String(128))
    environment: Mapped[str] = mapped_column(String(16))
    #: `bot:ID` or `trigger:ID`.
    consumer: Mapped[str] = mapped_column(String(64))
    folder: Mapped[str] = mapped_column(String(255))
    uid_validity: Mapped[int] = mapped_column(BigInteger)
    uid: Mapped[int] = mapped_column(BigInteger)
    #: A hash of Message-ID, date and size, which tells the message again after its server gave it another number.
    print: Mapped[str] = mapped_column(String(64))
    #: The firing that it made, where its consumer is a trigger.
    firing_id: Mapped[uuid.UUID | None]
    #: The job that has it; `None` before a job asked for it, and where it did not reach its bot.
    job_id: Mapped[uuid.UUID | None]
    attempt: Mapped[int]
    #: How many jobs were given it.
    tries: Mapped[int]
    taken_at: Mapped[datetime]
    #: When its job's success was noticed; from then on nobody is given it.
    settled_at: Mapped[datetime | None]
    #: When it was marked in the mailbox, or nothing was to be marked.
    marked_at: Mapped[datetime | None]
    #: Before that instant no runner tries to mark it: one does, or the last try failed.
    mark_after: Mapped[datetime | None]
    mark_tries: Mapped[int] = mapped_column(default=0)

    __table_args__ = (
        Index(
            "uq_mail_messages_place",
            "workspace_id",
            "source",
            "environment",
            "consumer",
            "folder",
            "uid_validity",
            "uid",
            unique=True,
        ),
        Index("ix_mail_messages_firing", "firing_id"),
        Index(
            "ix_mail_messages_open",
            "environment",
            "job_id",
            postgresql_where=OPEN_MESSAGES,
            sqlite_where=OPEN_MESSAGES,
        ),
        Index(
            "ix_mail_messages_unmarked",
            "environment",
            postgresql_where=UNMARKED_MESSAGES,
            sqlite_where=UNMARKED_MESSAGES,
        ),
    )
