"""What a runner does beside its jobs: it hears signals, checks data sources, looks into mailboxes and folders.

Promises that each duty has its own thread, and that a duty which fails ends neither the runner nor another duty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from celery import Celery

from runner.worker.listener import Listener
from runner.worker.on_demand import Part, load
from runner.worker.source_duties import Begun, SourceDuties
from runner.worker.station import Station


def begin(app: Celery, station: Station, *, stopping: Callable[[], bool]) -> Sequence[Begun]:
    """Start every duty; whoever asked closes them in this order. A runner that is `stopping` begins nothing new."""
    of_sources = SourceDuties(station, stopping=stopping)
    found: list[Begun] = [_listener(app, station, of_sources), of_sources]
    if station.settings.watch_folders:
        found.append(load(Part.FOLDERS).Folders.of(station.engine, station.settings))
    for duty in found:
        duty.start()
    return found


def _listener(app: Celery, station: Station, of_sources: SourceDuties) -> Listener:
    return Listener(
        app,
        station.settings.runner_name,
        look=station.held.look,
        look_at_all=station.held.look_at_all,
        follow=station.telling.follow,
        look_at_checks=of_sources.look,
    )
