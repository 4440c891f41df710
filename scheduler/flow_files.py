"""Definitions: what queues and workflows have in common, and how their files are read; pure.

A file is TOML or JSON. Refuses unknown keys, and values of another type than the key's; every refusal names the field.

    RunnerError
    └── Invalid
        └── DefinitionInvalid
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StrictInt,
    StringConstraints,
    ValidationError,
)

from runner.durations import Duration
from runner.errors import Invalid
from runner.jobs import Priority
from runner.lanes import DEFAULT_GROUP, check_group
from runner.manifest import Parameter, ParameterName
from scheduler import expressions
from vault.names import ENVIRONMENTS

#: Bytes of a definition's file; one with 200 steps has some 20 kB.
MAX_SIZE = 256 * 1024

#: Steps of one definition.
MAX_STEPS = 200

#: Further tries that a step may have.
MAX_RETRIES = 100

#: Sentences for pydantic's error types (https://docs.pydantic.dev/latest/errors/validation_errors/).
_COMPLAINTS = {
    "missing": "is required",
    "string_type": "must be text in quotes",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list in square brackets",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "string_pattern_mismatch": "is no name: write at most 64 ASCII letters, digits, - and _, a letter first",
    "too_long": f"has too many entries; at most {MAX_STEPS} are taken",
}


class DefinitionInvalid(Invalid):
    """The definition cannot be used; each problem is one sentence that names the field."""


class Table(BaseModel):
    """A table of a definition."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)


def _environment(value: str) -> str:
    if value not in ENVIRONMENTS:
        raise ValueError(f"must be one of {', '.join(ENVIRONMENTS)}")
    return value


def _group(value: str) -> str:
    try:
        return check_group(value)
    except Invalid as error:
        raise ValueError(str(error)) from None


def _priority(value: str) -> str:
    try:
        return Priority.of(value).word
    except Invalid as error:
        raise ValueError(str(error)) from None


StepName = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,63}\z")]
BotName = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=128)]
EnvironmentName = Annotated[str, AfterValidator(_environment)]
Retries = Annotated[StrictInt, Field(ge=0, le=MAX_RETRIES)]
Parameters = dict[ParameterName, JsonValue]


class Definition(Table):
    """What both kinds may say of their runs; a duration is a `timedelta`."""

    name: str | None = None
    description: str = Field(default="", max_length=2000)
    environment: EnvironmentName | None = None
    group: Annotated[str, AfterValidator(_group)] = DEFAULT_GROUP
    priority: Annotated[str, AfterValidator(_priority)] = Priority.NORMAL.word
    timeout: Duration | None = None
    parameters: dict[ParameterName, Parameter] = {}

    def check_names(self, place: str, value: JsonValue, *, steps: Mapping[str, bool], item: bool = False) -> None:
        """Refuse expressions at `place` that name what there is not; `steps` are those that come before, by name.

        Raises:
            ValueError: naming the place and the expression.
        """
        try:
            found = list(expressions.names(value))
        except Invalid as error:
            raise ValueError(f"{place}: {error}") from None
        for name in found:
            if name.parameter is not None and name.parameter not in self.parameters:
                hint = near(name.parameter, self.parameters) or "declare it under [parameters]"
                raise ValueError(f"{place}: {name.text} names a parameter that is not declared; {hint}.")
            if name.step is not None and not steps.get(name.step, False):
                why = "does not come before this one" if name.step in steps else "does not exist"
                raise ValueError(f"{place}: {name.text} names the step {name.step}, which {why}.")
            if name.parameter is None and name.step is None and not item:
                raise ValueError(f"{place}: {name.text} has a meaning in a step with `each` only.")


AnyDefinition = TypeVar("AnyDefinition", bound=Definition)


def near(name: str, known: Mapping[str, object]) -> str:
    """The beginning of a sentence that says what was meant, or nothing."""
    found = difflib.get_close_matches(name, known, 1)
    return f"did you mean {found[0]!r}?".rstrip("?") if found else ""


def read(text: bytes, model: type[AnyDefinition]) -> AnyDefinition:
    """A definition from its file, TOML or JSON (which begins with a brace).

    Raises:
        DefinitionInvalid: naming the field, or the line that cannot be read.
    """
    if len(text) > MAX_SIZE:
        raise DefinitionInvalid(f"The definition has {len(text):,} bytes; it may have {MAX_SIZE:,}.")
    try:
        words = text.decode("utf-8-sig")
        table = json.loads(words) if words.lstrip().startswith("{") else tomllib.loads(words)
    except UnicodeDecodeError:
        raise DefinitionInvalid("The definition is not UTF-8; save the file as UTF-8.") from None
    except json.JSONDecodeError as error:
        raise DefinitionInvalid(f"The definition is not valid JSON: {error}.") from None
    except ValueError as error:
        raise DefinitionInvalid(f"The definition is not valid TOML: {error}.") from None
    except RecursionError:
        raise DefinitionInvalid("The definition is nested too deeply.") from None
    return from_json(table, model)


def from_json(table: object, model: type[AnyDefinition]) -> AnyDefinition:
    """A definition from what was stored or read.

    Raises:
        DefinitionInvalid: naming each field that cannot be used.
    """
    try:
        if "\\u0000" in json.dumps(table):
            raise DefinitionInvalid("The definition holds a NUL character; remove it.")
        return model.model_validate(table)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        raise DefinitionInvalid(" ".join(_sentence(each) for each in found[:5])) from None
    except TypeError:
        raise DefinitionInvalid("The definition holds a date or another value that is no JSON; write text.") from None


def stored(definition: Definition) -> dict[str, Any]:
    """The definition as it is kept, and as `from_json` takes it."""
    return definition.model_dump(mode="json", by_alias=True, exclude_none=True)


def plain(definition: Definition) -> dict[str, Any]:
    """The definition as people would write it: without what says no more than the default."""
    return definition.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)


def _sentence(problem: Mapping[str, Any]) -> str:
    kind, message = str(problem["type"]), str(problem["msg"]).removeprefix("Value error, ")
    place = ".".join(str(part) for part in problem["loc"] if part != "[key]")
    if not place:
        return message if message.endswith(".") else f"{message}."
    if kind == "extra_forbidden":
        return f"{place}: there is no such key."
    if kind == "value_error" and ":" in message.partition(" ")[0]:
        return message
    complaint = _COMPLAINTS.get(kind) or message.partition(" after validation, not ")[0]
    if complaint.startswith(("Input should be", "String should", "Value should", "Tuple should", "Dictionary should")):
        complaint = "must " + complaint.split(" should ", 1)[1]
    return f"{place}: it {complaint.rstrip('.')}." if " " in complaint else f"{place}: {complaint}."


class Retrying(Table):
    """How often a step is tried again after its job failed, and how long it waits before."""

    retries: Retries = 0
    delay: Duration = timedelta(seconds=30)
