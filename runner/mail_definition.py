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

Promises that `resolve` puts values into fields that were read before, in one
pass, and that every refusal names the field and repeats no value. Refuses a password that is written down.

    RunnerError
    └── Invalid
        └── MailInvalid     `field` is the key that cannot be used
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from enum import StrEnum
from typing import Annotated, Any, Self

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
    field_validator,
    model_validator,
)

from runner.durations import duration
from runner.errors import Invalid
from runner.limits import size
from vault import tokens
from vault.errors import VaultError
from vault.tokens import Reference

#: The longest text of a field, tokens not replaced; a certificate may be longer.
MAX_TEXT = 1000

#: The largest message that any definition may take: it is in a runner's memory while its parts are found.
MAX_MESSAGE = 256 << 20

#: What stands in a field whose value is known on a runner only, while the definition is checked.
_PLACEHOLDER = "x"

#: The same for fields that must have a form.
_SHAPED: dict[str, JsonValue] = {"port": 993, "since": "1d", "mark": "seen", "tls": "implicit"}

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


def _since(value: object) -> object:
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
Day = Annotated[str, BeforeValidator(_date)]
Size = Annotated[int, BeforeValidator(size)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


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

    host: Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(_plain)]
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    tls: Tls = Tls.IMPLICIT
    ca: Annotated[str, Field(max_length=65_536)] | None = None
    user: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
    password: Annotated[str, Field(min_length=1, max_length=65_536)] | None = None
    oauth2_token: Annotated[str, Field(min_length=1, max_length=65_536)] | None = None
    folder: Text = "INBOX"
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
    def _a_host(cls, value: str) -> str:
        if not _HOST.fullmatch(value):
            raise ValueError("is no host name or address")
        return value

    @field_validator("mark")
    @classmethod
    def _a_mark(cls, value: str | None) -> str | None:
        if value is None or value == "seen" or (value.startswith("move:") and value != "move:"):
            return value
        raise ValueError('must be "seen" or "move:FOLDER"; without it nothing is marked')

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if (self.password is None) == (self.oauth2_token is None):
            raise ValueError("Write either password or oauth2_token, and not both.")
        return self

    @property
    def chosen_port(self) -> int:
        """The port that is written, or the usual one."""
        return self.port or (993 if self.tls is Tls.IMPLICIT else 143)

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


def check_mail(table: Mapping[str, Any]) -> dict[str, Any]:
    """Check a definition as written, before it is saved, and answer it as JSON; tokens stay tokens.

    What a token stands for is checked when it is resolved.

    Raises:
        MailInvalid: for the first field that cannot be used, or a password that is written down.
        InvalidToken: for text that begins a reference and is none.
    """
    for field in ("password", "oauth2_token"):
        if isinstance(value := table.get(field), str) and not tokens.find(value):
            raise MailInvalid(
                f"The field {field!r} must hold a token such as {{{{ASSET.MAIL.PASSWORD}}}}, so that only the token is "
                "stored: set the asset first, with `botkeep asset set`.",
                field=field,
            )
    plain = {str(key): _json(value) for key, value in table.items()}
    _check({key: _stand_in(key, value) for key, value in plain.items()})
    return plain


def references(table: Mapping[str, Any]) -> tuple[Reference, ...]:
    """The assets that a definition needs."""
    return tokens.find(dict(table))


def resolve(table: Mapping[str, Any], lookup: Callable[[Reference], str]) -> MailDefinition:
    """The definition with the values of one environment in their fields; looked-up text is never scanned again.

    Raises:
        MailInvalid: when a value cannot stand in its field; neither message nor error holds it.
    """
    rendered = tokens.render(dict(table), lookup)
    assert isinstance(rendered, dict)  # noqa: S101  (render keeps the kind of what it gets)
    if isinstance(port := rendered.get("port"), str):
        rendered["port"] = int(port) if port.isascii() and port.isdigit() and len(port) < 6 else -1
    return _check(rendered)


def _json(value: Any) -> Any:  # noqa: ANN401  (what TOML or JSON has)
    if isinstance(value, date):  # TOML has dates, JSON has none
        return value.isoformat()
    if isinstance(value, dict):
        return {str(key): _json(item) for key, item in value.items()}
    return value


def _stand_in(key: str, value: Any) -> Any:  # noqa: ANN401  (what JSON has)
    """The value with something harmless for each token, so that everything else can be checked."""
    if key in _SHAPED and isinstance(value, str) and tokens.find(value):
        return _SHAPED[key]
    return tokens.render(value, lambda _: _PLACEHOLDER)


def _check(table: Mapping[str, JsonValue]) -> MailDefinition:
    try:
        return MailDefinition.model_validate(table)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False, include_context=False)[0]
    except VaultError as error:
        raise MailInvalid(str(error), field="") from None
    raise _refusal(problem["type"], problem["loc"], problem["msg"])


def _refusal(kind: str, path: tuple[str | int, ...], message: str) -> MailInvalid:
    words = message.removeprefix("Value error, ").rstrip(".")
    if not path:
        return MailInvalid(f"{words}.", field="password")
    field = ".".join(str(part) for part in path[:2])[:100]
    if kind == "extra_forbidden":
        tables: dict[str, type[BaseModel]] = {"search": Search, "attachments": Attachments}
        model = tables.get(str(path[0]), MailDefinition) if len(path) > 1 else MailDefinition
        keys = [one.alias or name for name, one in model.model_fields.items()]
        near = difflib.get_close_matches(str(path[-1]), keys, 1)
        hint = f"did you mean {near[0]}?" if near else f"the keys here are {', '.join(keys)}."
        return MailInvalid(f"There is no field {field!r} in a mail data source; {hint}", field=field)
    if kind == "missing":
        words = "is missing"
    for begun in ("Input should be", "String should", "Value should", "Dictionary should"):
        if words.startswith(begun):
            words = f"must {'be ' if begun.endswith('be') else ''}{words.removeprefix(begun).strip()}"
    return MailInvalid(f"The field {field!r} {words}.", field=field)
