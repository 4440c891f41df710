"""Errors of the runner package.

    RunnerError
    ├── NotFound      404: no such bot, job, runner
    ├── Conflict      409: the object is in a state that forbids it
    ├── Invalid       422: the request itself makes no sense
    └── Unavailable   503: a store cannot be reached; nothing was lost, try again

Messages are sentences that say what to do next and never hold a value.
"""

from __future__ import annotations


class RunnerError(Exception):
    """Root of all errors that this package raises on purpose."""


class NotFound(RunnerError):
    """The named object does not exist in this workspace."""


class Conflict(RunnerError):
    """The object's state, or another object, forbids what was asked."""


class Invalid(RunnerError):
    """What was asked makes no sense; the message names the field."""


class Unavailable(RunnerError):
    """A store cannot be reached now; the request can be repeated."""
