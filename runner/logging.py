"""One line a record, for our own events and for those of libraries alike.

Event names are static, `noun.verb` (`job.claimed`, `runner.lost`); ids are fields; `job_id` and `attempt` are
bound through contextvars. JSON unless stderr is a terminal. A process that knows values passes `censor`, which
sees what quotes others, and each finished line last.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

#: Loggers whose information belongs to debugging only.
_CHATTY = (
    "amqp",
    "kombu",
    "celery.app.trace",
    "celery.bootsteps",
    "celery.pool",
    "celery.worker.strategy",
    "httpx",
    "httpcore",
    "alembic",
)

#: Fields that quote what somebody else said; of libraries' records the event does, too.
_QUOTING = frozenset({"error", "exception"})


def configure(process: str, *, level: str = "info", censor: Callable[[str], str] | None = None) -> None:
    """Send all records of this process to stderr; `censor` masks each finished line."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _named(process),
    ]
    # Our own events go straight to stderr: the way through `logging` takes 2.5 times the processor (16 against 7 us).
    structlog.configure(
        processors=[*shared, *_rendering(censor, _QUOTING), *([_last(censor)] if censor else [])],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *_rendering(censor, _QUOTING | {"event"}),
        ],
    )
    handler = _Stderr(sys.stderr)
    handler.setFormatter(_Censored(formatter, censor) if censor else formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


def _rendering(censor: Callable[[str], str] | None, quoting: frozenset[str]) -> list[Processor]:
    return [
        structlog.processors.format_exc_info,
        *([_texts(censor, quoting)] if censor else []),
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer(sort_keys=False),
    ]


def _texts(censor: Callable[[str], str], quoting: frozenset[str]) -> Processor:
    """Masks what quotes others before it is rendered: a quotation in JSON is an encoding of an encoding."""

    def mask(_logger: WrappedLogger, _method: str, fields: EventDict) -> EventDict:
        for name in quoting & fields.keys():
            if isinstance(fields[name], str):
                fields[name] = censor(fields[name])
        return fields

    return mask


def _last(censor: Callable[[str], str]) -> Processor:
    def mask(_logger: WrappedLogger, _method: str, line: Any) -> str:  # noqa: ANN401  (the renderer's line)
        return censor(line)

    return mask


class _Stderr(logging.StreamHandler[TextIO]):
    """Says that a record could not be written, where `logging` would print its arguments past the censor."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        kind = sys.exc_info()[0]
        logger().error("log.broken", logger=record.name, error=kind.__name__ if kind else None)


class _Censored(logging.Formatter):
    """Wraps a formatter so that the censor sees every finished line, tracebacks included."""

    def __init__(self, inner: logging.Formatter, censor: Callable[[str], str]) -> None:
        super().__init__()
        self._inner = inner
        self._censor = censor

    def format(self, record: logging.LogRecord) -> str:
        return self._censor(self._inner.format(record))


def _named(process: str) -> Processor:
    def add(_logger: WrappedLogger, _method: str, fields: EventDict) -> EventDict:
        fields["process"] = process
        return fields

    return add


def logger() -> FilteringBoundLogger:
    """A logger for our own events."""
    made: FilteringBoundLogger = structlog.get_logger()
    return made
