"""What an operator writes about a trigger, checked.

TOML or JSON of this shape:

    bot = "report"                     # or queue, or workflow: what it starts
    environment = "prod"               # default: the queue's or workflow's, else dev
    group = "default"                  # group of runners, for a bot
    priority = "normal"                # high, normal, low
    enabled = true
    overlap = "queue"                  # while what it started before is not over: queue, skip, cancel_previous
    [parameters]                       # as for `botkeep run`; references stay references
    REGION = "eu"
    [parameters_from]                  # from what an event says, see `scheduler.mapping`; not for schedules
    BRANCH = "/ref"
    [schedule]                         # exactly one of schedule, webhook, file, completion, email:
    cron = "0 7 * * mon-fri"           # see `scheduler.schedule`

    [webhook]
    style = "github"                   # github, stripe, botkeep or plain
    [file]
    folder = "/data/in"                # watched by runners whose BOTKEEP_WATCH_FOLDERS allow it
    pattern = "*.csv"
    [completion]
    bot = "import"                     # or queue, or workflow: what has ended
    states = ["succeeded"]
    [email]
    source = "inbox"                   # see `runner.mail_trigger`

Promises that a refusal names the field. Refuses unknown keys.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    ValidationError,
    model_validator,
)

from runner.durations import Duration
from runner.errors import Invalid
from runner.jobs import Priority
from runner.lanes import DEFAULT_GROUP, check_group
from runner.mail_trigger import Email
from runner.states import FINAL
from runner.triggers import Kind
from scheduler.mapping import check_pointer, holds_nul
from scheduler.schedule import Schedule
from vault.names import check_environment

#: What a trigger can start, and what can end; each is a key of the definition.
TARGET_KINDS = ("bot", "queue", "workflow")

#: Deliveries of one webhook in a minute unless its definition says otherwise.
DEFAULT_RATE = 60

_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}", re.ASCII)

_COMPLAINTS = {
    "extra_forbidden": "there is no such key",
    "missing": "it is required",
    "string_type": "it must be text",
    "bool_type": "it must be true or false",
    "dict_type": "it must be a table",
    "model_type": "it must be a table",
    "tuple_type": "it must be a list",
    "string_pattern_mismatch": "it is no name",
}


class Overlap(StrEnum):
    """What happens to a firing while what an earlier one of the trigger started is not over."""

    QUEUE = "queue"
    SKIP = "skip"
    CANCEL_PREVIOUS = "cancel_previous"


class Style(StrEnum):
    """How the sender of a webhook proves who it is."""

    GITHUB = "github"
    STRIPE = "stripe"
    BOTKEEP = "botkeep"
    PLAIN = "plain"


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _header(name: str) -> str:
    if not _HEADER.fullmatch(name):
        raise ValueError(f"{name[:60]!r} is no name of a header")
    return name


def _known(states: tuple[str, ...]) -> tuple[str, ...]:
    for state in states:
        if state not in FINAL:
            raise ValueError(f"{state[:40]!r} is no state in which a job has ended; write some of {', '.join(FINAL)}")
    return states


def _absolute(folder: str) -> str:
    path = PurePosixPath(folder)
    if not path.is_absolute() or ".." in path.parts:
        raise ValueError("it must be an absolute path without ..")
    return str(path)


def _one_name(pattern: str) -> str:
    if "/" in pattern or not pattern:
        raise ValueError("it is matched with names, not paths; write for example *.csv")
    return pattern


Header = Annotated[str, AfterValidator(_header)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Pointer = Annotated[str, AfterValidator(check_pointer), StringConstraints(max_length=300)]


class Webhook(_Table):
    """Who may deliver, how deliveries are told apart, and how many are taken.

    `delivery` is the header with a delivery's id (by default that of the style); where the style has none, the body's
    own `id`, else its digest, tells two deliveries apart. `tolerance` is how old a signed timestamp may be.
    """

    style: Style
    header: Header | None = None
    delivery: Header | None = None
    tolerance: Duration = timedelta(minutes=5)
    rate: int = Field(default=DEFAULT_RATE, ge=1, le=100_000)
    max_size: int = Field(default=256 * 1024, ge=1, le=1024 * 1024)


class File(_Table):
    """Which files, where, and how long one must not have changed before it counts as complete.

    A file moves to `done` or `failed`, folders below `folder` unless they are absolute, when its job has ended.
    """

    folder: Annotated[str, AfterValidator(_absolute)]
    pattern: Annotated[str, AfterValidator(_one_name)] = "*"
    stable: Duration = timedelta(seconds=2)
    done: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}\z")] = "done"
    failed: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}\z")] = "failed"

    @model_validator(mode="after")
    def _two_folders(self) -> Self:
        if {".", ".."} & {self.done, self.failed}:
            raise ValueError("done and failed must be names of folders")
        return self


class Completion(_Table):
    """What must have ended, where, and how."""

    bot: Name | None = None
    queue: Name | None = None
    workflow: Name | None = None
    environment: str | None = None
    states: Annotated[tuple[str, ...], AfterValidator(_known)] = Field(default=("succeeded",), min_length=1)

    @property
    def source(self) -> tuple[str, str]:
        """Kind and name of what ends."""
        return next((kind, name) for kind in TARGET_KINDS if (name := getattr(self, kind)) is not None)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(getattr(self, kind) is not None for kind in TARGET_KINDS) != 1:
            raise ValueError("write exactly one of bot, queue and workflow")
        if self.environment is not None:
            _environment(self.environment)
        return self


class Definition(_Table):
    """A whole definition; the module's docstring shows the keys."""

    bot: Name | None = None
    queue: Name | None = None
    workflow: Name | None = None
    environment: str | None = None
    group: str = DEFAULT_GROUP
    priority: str = Priority.NORMAL.word
    enabled: bool = True
    overlap: Overlap = Overlap.QUEUE
    parameters: dict[str, JsonValue] = {}
    parameters_from: dict[str, Pointer] = Field(default={}, max_length=100)
    schedule: Schedule | None = None
    webhook: Webhook | None = None
    file: File | None = None
    completion: Completion | None = None
    email: Email | None = None

    @property
    def kind(self) -> Kind:
        """What fires it."""
        return next(kind for kind in Kind if getattr(self, kind, None) is not None)

    @property
    def target(self) -> tuple[str, str]:
        """Kind and name of what it starts."""
        return next((kind, name) for kind in TARGET_KINDS if (name := getattr(self, kind)) is not None)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if sum(getattr(self, kind) is not None for kind in TARGET_KINDS) != 1:
            raise ValueError("write exactly one of bot, queue and workflow: what the trigger starts")
        if sum(getattr(self, kind, None) is not None for kind in Kind) != 1:
            raise ValueError(f"write exactly one of the tables {', '.join(_tables())}: what fires the trigger")
        if self.environment is not None:
            _environment(self.environment)
        try:
            check_group(self.group)
            Priority.of(self.priority)
        except Invalid as error:
            raise ValueError(str(error)) from None
        if self.parameters_from and self.schedule is not None:
            raise ValueError("parameters_from: a schedule brings nothing to take parameters from")
        if both := self.parameters.keys() & self.parameters_from.keys():
            raise ValueError(f"parameters_from.{min(both)}: it is among parameters, too; remove one of the two")
        return self


def read(given: Mapping[str, Any]) -> Definition:
    """The definition.

    Raises:
        Invalid: one sentence for each problem, beginning with the field.
    """
    if holds_nul(given):
        raise Invalid("The definition holds a NUL character, which the database cannot store; remove it.")
    try:
        return Definition.model_validate(given)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        raise Invalid(" ".join(_sentence(one["type"], one["loc"], one["msg"]) for one in problems[:5])) from None


def _environment(name: str) -> None:
    try:
        check_environment(name)
    except Exception as error:
        raise ValueError(f"environment: {error}") from None


def _tables() -> list[str]:
    return [kind for kind in Kind if kind in Definition.model_fields]


def _sentence(kind: str, path: tuple[str | int, ...], message: str) -> str:
    field = ".".join(str(part)[:60] for part in path)
    words = _COMPLAINTS.get(kind) or message.removeprefix("Value error, ")
    if kind == "extra_forbidden":
        model = _TABLES.get(str(path[0]), Definition) if len(path) > 1 else Definition
        near = difflib.get_close_matches(str(path[-1]), model.model_fields, 1)
        if model is not Definition and path[-1] in Definition.model_fields:
            return f"{field}: {words}; write {path[-1]} at the top, before the first table."
        words += f"; did you mean {near[0]}?" if near else f"; the keys here are {', '.join(model.model_fields)}"
    if words.startswith(("Input should be", "String should", "Value should")):
        words = "it must " + words.split(" should ", 1)[1]
    return f"{field}: {words.rstrip('.')}." if field else f"{words.rstrip('.')}."


_TABLES: dict[str, type[BaseModel]] = {
    "schedule": Schedule,
    "webhook": Webhook,
    "file": File,
    "completion": Completion,
    "email": Email,
}
