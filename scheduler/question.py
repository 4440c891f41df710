"""One question to the database for all duties whose turn it is: which of them have anything to do.

Most duties find nothing most of the time. A transaction for each, each second, took 1 % of a core (measured); one
statement of many `EXISTS`, on a connection of its own, takes a twentieth of that, and no duty that has nothing to do
is run. It is a question only: whoever runs a duty looks again in its own transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Executable, select
from sqlalchemy.sql.visitors import ExternallyTraversible, replacement_traverse

from vault.direct import Direct


class Question:
    """Asks for one scheduler."""

    def __init__(self, direct: Direct) -> None:
        self._direct = direct
        self._statements: dict[tuple[str, ...], Executable] = {}

    def ask(self, waiting: Mapping[str, ColumnElement[bool]]) -> list[str]:
        """The names of those conditions that hold; a name always stands for the same one.

        Raises:
            Unavailable: when the database cannot be reached.
        """
        names = tuple(waiting)
        if names not in self._statements:
            self._statements[names] = _literal(select(*(waits.label(name) for name, waits in waiting.items())))
        (answer,) = self._direct.read(self._statements[names], {})
        return [name for name, holds in zip(names, answer, strict=True) if holds]


def _literal(statement: ExternallyTraversible) -> Any:  # noqa: ANN401 - the same kind of statement
    """The statement with its constants in its text: by parameters the planners find no partial index."""

    def constant(element: ExternallyTraversible, **_words: object) -> ExternallyTraversible | None:
        return element.render_literal_execute() if isinstance(element, BindParameter) else None

    return replacement_traverse(statement, {}, constant)
