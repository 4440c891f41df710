"""From a definition as it was written to one that can be saved: each kind's own model, and what holds for all.

Promises that a saved definition holds references that are written correctly, in values and never in keys, and no key
twice. A kind is one pydantic model: its fields are the keys of the definition, `LITERAL` names those whose braces mean
nothing to Botkeep and which may hold no reference. A model's validator says what is wrong in a sentence that repeats
nothing that was given.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Protocol, TypeVar, cast

from pydantic import BaseModel, ValidationError

from runner.errors import Invalid
from runner.mail_definition import MailDefinition
from runner.sql_definition import SqlDefinition
from vault import tokens
from vault.errors import InvalidToken
from vault.names import shown
from vault.tokens import Reference


class _Definition(Protocol):
    LITERAL: ClassVar[frozenset[str]]


#: The kinds of data sources, and the model of each one's definition.
DEFINITIONS: Mapping[str, type[BaseModel]] = {"sql": SqlDefinition, "imap": MailDefinition}

#: The largest definition, as JSON text in bytes.
MAX_DEFINITION = 128 * 1024

Model = TypeVar("Model", bound=BaseModel)


def check(kind: str, written: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[Reference, ...]]:
    """The definition as it is stored, complete, and the references in it.

    Raises:
        Invalid: naming the field that cannot be used.
        InvalidToken: for text that begins a reference and is none, in whatever field.
    """
    model = DEFINITIONS.get(kind)
    if model is None:
        raise Invalid(f"There is no kind of data source {shown(kind)}: choose {' or '.join(DEFINITIONS)}.")
    if len(json.dumps(written, default=str)) > MAX_DEFINITION:
        raise Invalid(f"The definition is larger than {MAX_DEFINITION:,} bytes.")
    literal = cast("type[_Definition]", model).LITERAL
    references = _references(written, literal)
    return load(model, written).model_dump(mode="json"), references


def plain(kind: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """A stored definition as people would write it: without what says no more than the default."""
    model = DEFINITIONS[kind]
    return load(model, document).model_dump(mode="json", exclude_none=True, exclude_defaults=True)


def load(model: type[Model], document: Mapping[str, Any]) -> Model:
    """A definition as its model reads it.

    Raises:
        Invalid: naming the field that cannot be used.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        raise Invalid(_sentence(model, problem["loc"], str(problem["type"]), str(problem["msg"]))) from None


def _references(document: Mapping[str, Any], literal: frozenset[str]) -> tuple[Reference, ...]:
    found: dict[Reference, None] = {}
    for field, text, is_key in _texts(document, ""):
        if is_key:
            if "{{" in text or "}}" in text:
                raise Invalid(f"A key of the definition holds braces: {shown(text)}. References stand in values only.")
            continue
        references = tokens.find(text)
        if field.partition(".")[0] in literal:
            if references:
                raise Invalid(
                    f"`{field}` holds the reference {references[0].text}; values are never put into its text. "
                    "Bind it: write :name here and name = the reference under `parameters`."
                )
            continue
        _check_braces(field, text)
        found.update(dict.fromkeys(references))
    return tuple(found)


def _check_braces(field: str, text: str) -> None:
    """Refuse braces that belong to no reference; single ones, and those that close a quoted reference, may stand."""
    rest = text
    for reference in tokens.find(text):
        rest = rest.replace("{" + reference.text + "}", "").replace(reference.text, "")
    if "{{" in rest:
        raise InvalidToken(f"`{field}` holds double braces that are no reference: write {{{{ASSET.GROUP.NAME}}}}.")
    if rest.count("}") > rest.count("{") and "}}" in rest and "{" not in rest:
        raise InvalidToken(f"`{field}` closes double braces that it does not open.")


def _texts(value: object, field: str) -> Iterator[tuple[str, str, bool]]:
    """Every text below `value` with the field it stands in, and whether it is a key."""
    if isinstance(value, str):
        yield field, value, False
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield field, str(key), True
            yield from _texts(item, f"{field}.{key}" if field else str(key))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item, field)


#: Sentences for pydantic's error types (https://docs.pydantic.dev/latest/errors/validation_errors/).
_RULES = {
    "missing": "is required",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "dict_type": "must be a table",
    "string_pattern_mismatch": "is no name: write ASCII letters, digits and _, a letter first",
}


def _sentence(model: type[BaseModel], place: tuple[str | int, ...], kind: str, message: str) -> str:
    field = ".".join(str(part) for part in place if part != "[key]")[:120]
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(field, model.model_fields, 1)
        hint = f"did you mean {near[0]}?" if near else f"the fields are {', '.join(model.model_fields)}."
        return f"There is no field {shown(field)}; {hint}"
    rule = _RULES.get(kind) or message.removeprefix("Value error, ")
    rule = f"must {rule.split(' should ', 1)[1]}" if " should " in rule else rule
    return f"`{field}` {rule.rstrip('.')}." if field else f"{rule.rstrip('.')}."
