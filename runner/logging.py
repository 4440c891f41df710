"""One line a record, for our own events and for those of libraries alike.

Event names are static, `noun.verb` (`job.claimed`, `runner.lost`); ids are fields; `job_id` and `attempt` are
bound through contextvars. JSON unless stderr is a terminal. A process that knows values passes `censor`, which
sees each finished line last.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

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


def configure(process: str, *, level: str = "info", censor: Callable[[str], str] | None = None) -> None:
    """Send all records of this process to stderr; `censor` masks each finished line."""
    terminal = sys.stderr.isatty()
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _named(process),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: Processor = (
        structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer(sort_keys=False)
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            renderer,
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Censored(formatter, censor) if censor else formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


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


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger; `name` is the noun of its events' package."""
    made: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return made
