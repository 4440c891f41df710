"""What an email trigger looks for in a mailbox; pure.

    [email]
    source = "inbox"               # a data source of kind imap; its own filters hold, too
    from = "billing@"              # parts of the text, upper or lower case; all that are given must match
    subject = "invoice"
    body = "due"
    attachment = "*.pdf, *.csv"    # an attachment's name must match one of these
    extension = "pdf"              # the same, by the end of its name
    interval = "1m"                # between two looks
    backlog = false                # true: also for messages that had come before the trigger was made

What happens to a message: docs/MAIL.md.
"""

from __future__ import annotations

from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StringConstraints

from runner.durations import Duration
from runner.mail_definition import Text


def _often_enough(value: timedelta) -> timedelta:
    if not timedelta(seconds=1) <= value <= timedelta(days=1):
        raise ValueError("it must be between 1s and 1d")
    return value


class Email(BaseModel):
    """The table `[email]` of a trigger."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)

    source: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    sender: Annotated[Text | None, Field(alias="from")] = None
    subject: Text | None = None
    body: Text | None = None
    attachment: Text | None = None
    extension: Annotated[str, StringConstraints(pattern=r"^\.?[A-Za-z0-9]{1,16}\z")] | None = None
    interval: Annotated[Duration, AfterValidator(_often_enough)] = timedelta(minutes=1)
    backlog: StrictBool = False

    @property
    def criteria(self) -> dict[str, str]:
        """What the server searches for, in imap-tools' words."""
        wanted = {"from_": self.sender, "subject": self.subject, "body": self.body}
        return {key: value for key, value in wanted.items() if value is not None}

    @property
    def by_attachment(self) -> bool:
        """Whether a message must be fetched to know if it is wanted."""
        return self.attachment is not None or self.extension is not None

    def wants(self, names: list[str]) -> bool:
        """Whether a message with attachments of these names is wanted."""
        patterns = [part.strip() for part in (self.attachment or "*").split(",") if part.strip()]
        end = f".{self.extension.removeprefix('.')}".casefold() if self.extension else ""
        return not self.by_attachment or any(
            name.casefold().endswith(end) and any(fnmatchcase(name.casefold(), one.casefold()) for one in patterns)
            for name in names
        )
