"""What a runner does beside its jobs: it hears signals, checks data sources, looks into mailboxes and folders.

Promises that each duty has its own thread, and that a duty which fails ends neither the runner nor another duty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from celery import Celery

from runner.worker.checks import Checks
from runner.worker.folders import Folders
from runner.worker.listener import Listener
from runner.worker.mail_marks import Marks
from runner.worker.mail_polls import Polls
from runner.worker.station import Station
from runner.worker.unasked import Unasked
from runner.worker.unattended import Post


class Duty(Protocol):
    """A thread of the runner, from `start` to `close`."""

    def start(self) -> None:
        """Begin."""

    def close(self) -> None:
        """End, within moments."""


def begin(app: Celery, station: Station, *, stopping: Callable[[], bool]) -> Sequence[Duty]:
    """Start every duty; whoever asked closes them in this order. A runner that is `stopping` begins nothing new."""
    unasked, environments = _unasked(station), station.settings.environments
    checks = Checks(unasked, environments=environments, censor=station.censor, stopping=stopping)
    post = Post(unasked, station.censor, environments)
    found: tuple[Duty, ...] = (
        _listener(app, station, checks),
        Folders.of(station.engine, station.settings),
        checks,
        Marks(post, stopping=stopping),
        Polls(post, stopping=stopping),
    )
    for duty in found:
        duty.start()
    return found


def _unasked(station: Station) -> Unasked:
    return Unasked(
        station.engine, station.direct, station.snapshots, station.keyring, runner=station.settings.runner_name
    )


def _listener(app: Celery, station: Station, checks: Checks) -> Listener:
    return Listener(
        app,
        station.settings.runner_name,
        look=station.held.look,
        look_at_all=station.held.look_at_all,
        follow=station.telling.follow,
        look_at_checks=checks.look,
    )
