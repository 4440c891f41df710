"""What a data source of kind `imap` says: where the mailbox is, which messages are wanted, what becomes of them; pure.

    host = "mail.example.com"
    port = 993                                # default: 993 with implicit TLS, 143 with STARTTLS
    tls = "implicit"                          # or "starttls"; there is no way without TLS
    ca = "/etc/ssl/company.pem"               # a file on the runner, or the PEM text; default: the host's CAs
    user = "{{ASSET.MAIL.USER}}"
    password = "{{ASSET.MAIL.PASSWORD}}"      # or: oauth2_token = "{{ASSET.MAIL.TOKEN}}" for XOAUTH2
    folder = "INBOX"
    from = "billing@"                         # parts of the text, upper or lower case; all that are given must match
    subject = "invoice"
    body = "due"
    since = "7d"                              # received within 7 days, or since "2026-01-31"
    search = { seen = false }                 # see `Search`
    attachments = { name = "*.pdf", required = true, max_size = "10MB" }
    mark = "seen"                             # or "move:Done"; after the job succeeded; default: nothing
    on_failure = "retry"                      # a message whose job failed is offered again; or "leave"
    tries = 3                                 # jobs that a message is offered to, with "retry"
    max_message = "25MB"                      # larger messages are left where they are, with a warning
    batch = 1000                              # messages for one job at most

Promises that every refusal names the field and repeats no value, and that a field which holds a token is checked again
when its value is known (`resolved`). Refuses a password that is written down.

    RunnerError
    └── Invalid
        └── MailInvalid     `field` is the key that cannot be used
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StrictInt,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from runner.durations import duration
from runner.errors import Invalid
from runner.limits import size
from vault import tokens

#: The longest text of a field, tokens not replaced; a certificate may be longer.
MAX_TEXT = 1000

#: The largest message that any definition may take: it is in a runner's memory while its parts are found.
MAX_MESSAGE = 256 << 20

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HEADER = re.compile(r"[!-9;-~]{1,80}", re.ASCII)
_KEYWORD = re.compile(r"[A-Za-z0-9$_.+-]{1,80}", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]", re.ASCII)


class MailInvalid(Invalid):
    """A mail definition, or what a value makes of it, cannot be used; `field` says where."""

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(message)
        self.field = field


class Tls(StrEnum):
    """How the connection becomes encrypted; without TLS there is none."""

    IMPLICIT = "implicit"
    STARTTLS = "starttls"


class OnFailure(StrEnum):
    """What becomes of a message whose job did not succeed."""

    RETRY = "retry"
    LEAVE = "leave"


def _open(value: object, info: ValidationInfo) -> bool:
    """Whether a field holds a reference whose value is not known yet; it is checked when it is."""
    return not (info.context or {}).get("resolved") and isinstance(value, str) and bool(tokens.find(value))


def _plain(value: str) -> str:
    if not value:
        raise ValueError("must not be empty")
    if _CONTROL.search(value):
        raise ValueError("holds a control character or a line break, which no mail server takes there")
    return value


def _keyword(value: str) -> str:
    if not _KEYWORD.fullmatch(value):
        raise ValueError("must be one word of ASCII letters, digits and $ _ . + -")
    return value


def _date(value: object) -> str:
    if isinstance(value, date):
        return value.isoformat()
    if not isinstance(value, str):
        raise ValueError('must be a date such as "2026-01-31"')  # noqa: TRY004  (pydantic's refusal)
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError:
        raise ValueError('must be a date such as "2026-01-31"') from None


def _since(value: object, info: ValidationInfo) -> object:
    if _open(value, info):
        return value
    try:
        return _date(value)
    except ValueError:
        pass
    try:
        duration(value)
    except ValueError:
        raise ValueError('must be a date such as "2026-01-31", or a duration such as "7d" or "12h"') from None
    return value if isinstance(value, str) else f"{value}s"


Text = Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(_plain)]


def _port(value: object, info: ValidationInfo) -> object:
    if isinstance(value, str) and not _open(value, info):
        if not (value.isascii() and value.isdigit() and len(value) <= 5):
            raise ValueError("must be the number of a port")
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and not 1 <= value <= 65_535:
        raise ValueError("must be a port from 1 to 65535")
    return value


Day = Annotated[str, BeforeValidator(_date)]
Size = Annotated[int, BeforeValidator(size)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)


class Search(_Table):
    """Criteria of IMAP's SEARCH (RFC 3501, 6.4.4); all that are given must match."""

    seen: StrictBool | None = None
    answered: StrictBool | None = None
    flagged: StrictBool | None = None
    draft: StrictBool | None = None
    deleted: StrictBool | None = None
    keyword: Annotated[str, AfterValidator(_keyword)] | None = None
    no_keyword: Annotated[str, AfterValidator(_keyword)] | None = None
    to: Text | None = None
    cc: Text | None = None
    bcc: Text | None = None
    text: Text | None = None
    header: dict[str, Text] = {}
    before: Day | None = None
    sent_since: Day | None = None
    sent_before: Day | None = None
    size_gt: Size | None = None
    size_lt: Size | None = None

    @field_validator("header")
    @classmethod
    def _names(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not _HEADER.fullmatch(name):
                raise ValueError("has a name that is no header's: write it as in X-Order, without a colon")
        return value


class Attachments(_Table):
    """Which attachments are handed over; with `required` a message without one of them is passed over."""

    name: Annotated[str, Field(max_length=200), AfterValidator(_plain)] = "*"
    required: StrictBool = False
    max_size: Annotated[Size, Field(ge=1, le=MAX_MESSAGE)] = 25 << 20
    max_count: Annotated[StrictInt, Field(ge=1, le=1000)] = 100

    @property
    def patterns(self) -> tuple[str, ...]:
        """The shell patterns of `name`, which commas part."""
        return tuple(part.strip() for part in self.name.split(",") if part.strip())


class MailDefinition(_Table):
    """A complete definition, as written or with its tokens resolved; see the module's docstring for the keys."""

    #: Every text may hold a token.
    LITERAL: ClassVar[frozenset[str]] = frozenset()

    host: Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(_plain)]
    port: Annotated[StrictInt | str | None, BeforeValidator(_port)] = None
    tls: Tls = Tls.IMPLICIT
    ca: Annotated[str, Field(max_length=65_536)] | None = None
    user: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
    password: Annotated[str, Field(min_length=1, max_length=65_536)] | None = None
    oauth2_token: Annotated[str, Field(min_length=1, max_length=65_536)] | None = None
    folder: Annotated[str, Field(max_length=255), AfterValidator(_plain)] = "INBOX"
    sender: Annotated[Text | None, Field(alias="from")] = None
    subject: Text | None = None
    body: Text | None = None
    since: Annotated[str, BeforeValidator(_since)] | None = None
    search: Search = Search()
    attachments: Attachments = Attachments()
    mark: Text | None = None
    on_failure: OnFailure = OnFailure.RETRY
    tries: Annotated[StrictInt, Field(ge=1, le=100)] = 3
    max_message: Annotated[Size, Field(ge=1024, le=MAX_MESSAGE)] = 25 << 20
    batch: Annotated[StrictInt, Field(ge=1, le=100_000)] = 1000

    def __repr__(self) -> str:
        """Nothing of it: once resolved, any field may hold a value."""
        return "MailDefinition(***)"

    __str__ = __repr__

    @field_validator("host")
    @classmethod
    def _a_host(cls, value: str, info: ValidationInfo) -> str:
        if not _open(value, info) and not _HOST.fullmatch(value):
            raise ValueError("is no host name or address")
        return value

    @field_validator("mark")
    @classmethod
    def _a_mark(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None or _open(value, info) or value == "seen" or (value.startswith("move:") and value != "move:"):
            return value
        raise ValueError('must be "seen" or "move:FOLDER"; without it nothing is marked')

    @field_validator("password", "oauth2_token")
    @classmethod
    def _not_written_down(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None or (info.context or {}).get("resolved") or tokens.find(value):
            return value
        raise ValueError("must hold a reference such as {{ASSET.MAIL.PASSWORD}}, so that nothing but it is stored")

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if (self.password is None) == (self.oauth2_token is None):
            raise ValueError("Write either password or oauth2_token, and not both.")
        return self

    @property
    def chosen_port(self) -> int:
        """The port that is written, or the usual one."""
        return int(self.port) if self.port else (993 if self.tls is Tls.IMPLICIT else 143)

    @property
    def move_to(self) -> str | None:
        """The folder that messages go to after success."""
        return self.mark.removeprefix("move:") if self.mark and self.mark.startswith("move:") else None

    @property
    def most_tries(self) -> int:
        """How many jobs a message is offered to."""
        return self.tries if self.on_failure is OnFailure.RETRY else 1

    def since_day(self, today: date) -> date | None:
        """The first day of receipt that counts; IMAP knows days only."""
        if self.since is None:
            return None
        try:
            return date.fromisoformat(self.since)
        except ValueError:
            return today - timedelta(days=-(-int(duration(self.since).total_seconds()) // 86_400))


def resolved(table: Mapping[str, JsonValue]) -> MailDefinition:
    """The definition whose references were replaced by the values of one environment.

    Raises:
        MailInvalid: when a value cannot stand in its field; neither message nor error holds it.
    """
    try:
        return MailDefinition.model_validate(table, context={"resolved": True})
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False, include_context=False)[0]
    words = problem["msg"].removeprefix("Value error, ").rstrip(".")
    field = ".".join(str(part) for part in problem["loc"][:2])
    raise MailInvalid("its value has no such form" if "should" in words else f"its value {words}", field=field)
