"""Data sources of kind `sql`: one connection, one query, rows as they come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner import definitions
from runner.sql_definition import SqlDefinition
from runner.worker.failures import SourceFailed, Step
from runner.worker.filling import Values
from runner.worker.questions import Answer, Context, Opened


def check(definition: Mapping[str, Any], values: Values, context: Context) -> Answer:
    """Connect and ask for the first rows. Raises `SourceFailed`."""
    source = definitions.load(SqlDefinition, definition)
    values.fill(source.connection, field="connection")
    raise SourceFailed(Step.RESOLVED, f"this version opens no SQL connections for {context.source}", field="connection")


def open(definition: Mapping[str, Any], values: Values, context: Context) -> Opened:  # noqa: A001 - the contract's word
    """Connect for one attempt. Raises `SourceFailed`."""
    check(definition, values, context)
    raise AssertionError
