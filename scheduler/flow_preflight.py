"""What keeps a queue or a workflow from running in an environment, as far as it can be known before a run of it.

The same is asked of each of its bots as of a bot that is queued by itself: no value is missing where the workspace
refuses unset ones, and every reference can be resolved, also one that a parameter of the run puts into a step. The
runner looks again at each start.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy.orm import Session

from runner import preflight, requests, workspaces
from runner.errors import Invalid, NotFound
from runner.requests import Version
from scheduler import expressions, flows
from scheduler.expressions import JSON, Name
from scheduler.flow_files import DefinitionInvalid
from scheduler.flows import Kind
from scheduler.queues import Queue
from scheduler.workflows import Workflow
from vault.errors import Invalid as VaultInvalid


def check(
    session: Session,
    definition: Queue | Workflow,
    *,
    workspace_id: uuid.UUID,
    environment: str,
    parameters: Mapping[str, Any],
    done: Collection[str] = (),
) -> None:
    """Refuse a run of which a step could not start, but for those that are `done`.

    Raises:
        Invalid: naming the step, and the asset or the reference.
    """
    known: dict[str, Version] = {}
    strict = environment in workspaces.strict(session, workspace_id=workspace_id)
    for place, (bot, written) in definition.bots(but=done).items():
        try:
            if bot not in known:
                known[bot] = requests.newest(session, bot, workspace_id=workspace_id, lock=False)
            version = known[bot]
            bound = {"workspace_id": workspace_id, "bot_id": version.bot_id}
            if strict:
                preflight.check(session, version.manifest, environment=environment, **bound)
            requests.check_references(session, version.manifest, _rendered(written, parameters), **bound)
        except (Invalid, NotFound, VaultInvalid) as error:
            raise DefinitionInvalid(f"{place}: {error}") from None


def _rendered(written: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A step's parameters with those of the run; results are data and hold no references, so they stay away."""

    def answer(name: Name) -> JSON:
        return "" if name.is_data else parameters.get(name.parameter or "")

    return {key: expressions.render(value, answer) for key, value in written.items()}


def users(session: Session, *, workspace_id: uuid.UUID) -> dict[str, list[str]]:
    """The queues and workflows in use that run each bot, as `queue NAME` and `workflow NAME`, by bot."""
    found: dict[str, list[str]] = {}
    for kind in Kind:
        for flow in flows.listing(session, kind, workspace_id=workspace_id):
            definition = flows.restored(kind, flows.version(session, flow).definition)
            for bot in sorted({bot for bot, _ in definition.bots().values()}):
                found.setdefault(bot, []).append(f"{kind} {flow.name}")
    return found
