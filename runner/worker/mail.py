"""What a runner does for mailboxes beside its jobs: new messages fire triggers, and those that were read are marked."""

from __future__ import annotations

from collections.abc import Callable

from runner.worker.mail_marks import Marks
from runner.worker.mail_polls import Polls
from runner.worker.station import Station
from runner.worker.unasked import Unasked
from runner.worker.unattended import Post


def duties(station: Station, *, stopping: Callable[[], bool]) -> tuple[Marks, Polls]:
    """Both, not begun yet."""
    post = Post(Unasked.of(station), station.censor, station.settings.environments)
    return Marks(post, stopping=stopping), Polls(post, stopping=stopping)
