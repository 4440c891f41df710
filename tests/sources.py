"""Data sources opened in a test's own process: what the runner does, without a runner."""

import io
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, cast

from runner.connection_policy import ConnectionPolicy
from runner.definitions import check as checked
from runner.worker import sql_source
from runner.worker.filling import Values
from runner.worker.questions import Context, Opened, Question
from tests.support import ROOT
from vault.decrypt import Secret
from vault.names import AssetName

sys.path.append(str(ROOT / "sdk"))

from botkeep import rows as sdk_rows


@dataclass(slots=True)
class Opener:
    """Opens definitions with these values; `masked` collects what the masker was told."""

    values: Mapping[str, str]
    policy: ConnectionPolicy = field(default_factory=ConnectionPolicy)
    masked: list[tuple[str, bytes]] = field(default_factory=list)
    connection_allowed: bool = False

    def _values(self) -> Values:
        opened = {AssetName.parse(name): Secret(value.encode()) for name, value in self.values.items()}
        return Values(opened, "dev", self.masked.extend)

    def _context(self) -> Context:
        return Context(
            source="orders",
            environment="dev",
            workspace_id=uuid.uuid4(),
            runner="tests",
            policy=self.policy,
            engine=cast("Any", None),
            connection_allowed=self.connection_allowed,
        )

    def check(self, **definition: object) -> str:
        """The sentence of a check; raises `SourceFailed`."""
        stored, _ = checked("sql", definition)
        return sql_source.check(stored, self._values(), self._context()).sentence("orders", "dev")

    def open(self, **definition: object) -> Opened:
        """The source, open; the test closes it."""
        stored, _ = checked("sql", definition)
        return sql_source.open(stored, self._values(), self._context())

    def rows(self, **definition: object) -> list[tuple[Any, ...]]:
        """All rows, as a bot reads them."""
        opened = self.open(**definition)
        try:
            return read(opened)[1]
        finally:
            opened.close(succeeded=True)


class Answered(io.BytesIO):
    """An answer of the endpoint, as far as the SDK looks at it."""


def read(opened: Opened) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Columns and rows, through the SDK."""
    chunks = opened.answer(Question("GET", "", {})).chunks
    answer = cast("HTTPResponse", Answered(b"".join(chunks)))
    columns, batches = sdk_rows.read("orders", answer)
    return columns, [row for batch in batches for row in batch]


def file(opened: Opened, kind: str) -> bytes:
    """A file of the rows."""
    return b"".join(opened.answer(Question("GET", "", {"format": kind})).chunks)


def folder_policy(*folders: Path) -> ConnectionPolicy:
    """A policy that lets SQLite files in these folders be read."""
    return ConnectionPolicy(paths=tuple(map(str, folders)))
