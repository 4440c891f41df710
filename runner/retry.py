"""Whether an ended attempt is followed by another of the same job, and how soon; pure.

A job has three kinds of repeats, each with a count of its own, so that none uses up another's:

    failed of itself    as `retries` in bot.toml says: its `limit`, for the reasons in `on`
    runner lost         `runner_lost` times; the bot may have done its work, so a bot that must not repeat says 0
    runner stopped      returned to the queue at once, up to `STOPPED_LIMIT` times

Refuses to repeat what a repeat cannot mend (see `states.REPEATABLE`), and a bot whose policy it cannot read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta

from runner.manifest import Retries
from runner.states import REPEATABLE, Reason

#: Longest wait before a repeat; `factor` would soon exceed a lifetime.
LONGEST_WAIT = timedelta(days=1)

#: How often a job is returned to the queue by runners that stop, before it fails: rolling upgrades are fewer.
STOPPED_LIMIT = 20

#: What is assumed where a stored policy cannot be read: a bot that must not repeat may have said so there.
UNREADABLE = Retries(runner_lost=0)


def policy_of(manifest: str) -> Retries:
    """The policy in a stored manifest, which is JSON unless somebody edited its row."""
    try:
        stored = json.loads(manifest)
        return Retries.model_validate(stored.get("retries", {})) if isinstance(stored, dict) else UNREADABLE
    except ValueError:  # of JSON, and of pydantic
        return UNREADABLE


def wait(policy: Retries, reason: Reason, *, before: Mapping[str, int], lot: float) -> timedelta | None:
    """How long to wait before the next attempt; `None` when there is none.

    `before` counts by reason how the job's earlier attempts ended; `lot` is drawn evenly from 0 to 1 and takes up to
    the part `jitter` of the wait away, so that what failed together does not come back together.
    """
    if reason is Reason.RUNNER_STOPPED:
        return timedelta(0) if before.get(reason, 0) < STOPPED_LIMIT else None
    if reason is Reason.RUNNER_LOST:
        lost = before.get(reason, 0)
        if lost >= policy.runner_lost:
            return None
        # The first time at once: a host died. After that the job itself may be what kills its runners.
        return timedelta(0) if lost == 0 else _grown(policy, lost - 1, lot=lot)
    failed = sum(before.get(each, 0) for each in REPEATABLE)
    if reason not in policy.on or failed >= policy.limit:
        return None
    return _grown(policy, failed, lot=lot)


def _grown(policy: Retries, times: int, *, lot: float) -> timedelta:
    seconds = min(policy.delay.total_seconds() * policy.factor**times, LONGEST_WAIT.total_seconds())
    return timedelta(seconds=seconds * (1 - policy.jitter * lot))
