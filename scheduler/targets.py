"""The kinds of things that triggers start, and nothing else decides how one is started."""

from __future__ import annotations

from collections.abc import Mapping

from runner.errors import Invalid
from scheduler import bot_target
from scheduler.flow_target import FlowTarget
from scheduler.flows import Kind
from scheduler.starting import Target

TARGETS: Mapping[str, Target] = {
    "bot": bot_target,
    "queue": FlowTarget(Kind.QUEUE),
    "workflow": FlowTarget(Kind.WORKFLOW),
}


def target(kind: str) -> Target:
    """How things of this kind are started.

    Raises:
        Invalid: for a kind that cannot be started.
    """
    try:
        return TARGETS[kind]
    except KeyError:
        raise Invalid(f"{kind}: a trigger cannot start one; write {' or '.join(TARGETS)}.") from None
