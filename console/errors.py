"""Errors, and the one place where they become answers.

    ConsoleError
    ├── Unauthenticated   401: no token or session, or none that is in use; never says which
    └── Denied            403: the token may not do this; leaves a row in the audit

Those of `vault.errors` and `runner.errors` become 404, 409, 422 and 503. An answer is
`{"error": {"code", "message", "hint"}}`. Refuses to show anything of a request's body, of a statement's
parameters or of our own insides: a validation error names the field and the rule, and what was not foreseen is
a 500 with an id, under which the log has the places in the code and no more.
"""

from __future__ import annotations

import traceback
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy import exc
from starlette.exceptions import HTTPException

import runner.errors
import vault.errors
from console.callers import Caller
from runner.logging import logger
from vault import audit, db
from vault.names import ENVIRONMENTS, shown

log = logger()


class ErrorBody(BaseModel):
    """What went wrong: a word for machines, a sentence for people, and what to do where that is not in it."""

    code: str
    message: str
    hint: str


class ErrorAnswer(BaseModel):
    """The shape of every answer that is an error."""

    error: ErrorBody


class ConsoleError(Exception):
    """Root of all errors that this package raises on purpose."""


class Unauthenticated(ConsoleError):
    """No token or session came with the request, or none that is in use."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the audit says of a refused request."""

    caller: Caller
    action: str
    target: str
    environment: str | None = None


class Denied(ConsoleError):
    """The token is known and may not do this."""

    def __init__(self, message: str, *, hint: str, refusal: Refusal) -> None:
        super().__init__(message)
        self.hint = hint
        self.refusal = refusal


class TooLarge(HTTPException):
    """The body is larger than what its route takes: `largest` bytes."""

    def __init__(self, largest: int) -> None:
        super().__init__(413)
        self.largest = largest


#: Status and code of the errors that the packages below raise on purpose, first match first.
KNOWN: tuple[tuple[type[Exception], int, str], ...] = (
    (runner.errors.NotFound, 404, "not_found"),
    (runner.errors.Conflict, 409, "conflict"),
    (runner.errors.Invalid, 422, "invalid"),
    (runner.errors.Unavailable, 503, "unavailable"),
    (vault.errors.NotFound, 404, "not_found"),
    (vault.errors.Conflict, 409, "conflict"),
    (vault.errors.Invalid, 422, "invalid"),
    (vault.errors.Unavailable, 503, "unavailable"),
    (vault.errors.DamagedRow, 500, "damaged"),
)

_CODES = {401: "unauthenticated", 404: "not_found", 429: "too_many", 503: "unavailable"}
_SENTENCES = {
    404: "There is nothing at this address.",
    405: "This address does not take this method.",
    413: "The request is larger than what is taken here.",
    400: "The body cannot be read as JSON.",
    401: "The signature or key of the delivery is missing or wrong.",
    429: "There are too many requests; come again later.",
    503: "The trigger takes no deliveries now; send this one again later.",
}


class ErrorResponse(JSONResponse):
    """An answer that is an error; `error` is what it says, for whoever shows it as a page."""

    def __init__(self, error: ErrorBody, *, status: int, headers: dict[str, str] | None) -> None:
        super().__init__({"error": error.model_dump()}, status_code=status, headers=headers)
        self.error = error


def answer(
    status: int, code: str, message: str, *, hint: str = "", headers: dict[str, str] | None = None
) -> ErrorResponse:
    """The one shape of an error."""
    return ErrorResponse(ErrorBody(code=code, message=message, hint=hint), status=status, headers=headers)


def install(app: FastAPI) -> None:
    """Make every foreseen error an answer."""
    for kind, status, code in KNOWN:
        app.add_exception_handler(kind, _known(status, code))
    app.add_exception_handler(Unauthenticated, _unauthenticated)
    app.add_exception_handler(Denied, _denied)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(exc.IntegrityError, _changed)
    app.add_exception_handler(exc.TimeoutError, _busy)


def unforeseen(error: BaseException) -> ErrorResponse:
    """The answer to what nobody foresaw; its id leads to the places in the log."""
    error_id = uuid.uuid4().hex[:12]
    log.error("request.failed", error_id=error_id, error=type(error).__name__, places=places(error))
    return answer(
        500,
        "failed",
        f"The console failed in a way that nobody foresaw; its log says more under {error_id}.",
        hint="Try again; if it stays, give this id to whoever runs the console.",
    )


def places(error: BaseException) -> list[str]:
    """Where an error came from: kinds and lines of code, no message, since one may quote a request."""
    found: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(found) < 100:
        found.append(type(cause).__qualname__)
        frames = traceback.extract_tb(cause.__traceback__)[-20:]
        found += [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        cause = cause.__cause__ or cause.__context__
    return found


def _known(status: int, code: str) -> Any:  # noqa: ANN401 - Starlette's type of a handler takes any exception
    async def answered(_request: Request, error: Exception) -> ErrorResponse:
        return answer(status, code, str(error))

    return answered


async def _unauthenticated(request: Request, _error: Exception) -> ErrorResponse:
    log.info("token.refused", address=request.client.host if request.client else "")
    return answer(
        401,
        "unauthenticated",
        "The token or session is missing, wrong or over.",
        hint="Sign in, or set BOTKEEP_TOKEN; an admin makes tokens.",
        headers={"WWW-Authenticate": "Bearer"},
    )


def _denied(request: Request, error: Exception) -> ErrorResponse:
    assert isinstance(error, Denied)  # noqa: S101 - registered for this type
    console, refusal = request.app.state.console, error.refusal
    known = refusal.environment if refusal.environment in ENVIRONMENTS else None
    try:
        with db.writing(console.engine) as session:
            audit.record(
                session,
                refusal.caller.actor,
                workspace_id=refusal.caller.workspace_id,
                action=refusal.action,
                target=refusal.target,
                now=console.now(),
                environment=known,
                outcome="refused",
                details={"role": str(refusal.caller.role)},
            )
    except (vault.errors.Unavailable, exc.SQLAlchemyError):
        # The refusal stands whether or not it can be written down; the log has it then.
        log.warning("request.refused", action=refusal.action, actor=refusal.caller.name, audited=False)
    return answer(403, "denied", str(error), hint=error.hint)


async def _invalid(_request: Request, error: Exception) -> ErrorResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type
    return answer(422, "invalid", "; ".join(complaints(error.errors())))


def complaints(errors: Sequence[Any]) -> list[str]:
    """One sentence for each of the first few problems: which field, and the rule; never what was given."""
    return [f"{_field(each['loc'])}: {_rule(each)}." for each in errors[:5]]


#: Steps of a path into the body that an error names; a body's own fields need no more.
_NAMED = 8


def _field(location: Sequence[str | int]) -> str:
    parts = [str(part) for part in location[1:]] or [str(part) for part in location[:1]]
    named = [part if part.isidentifier() and part.isascii() else shown(part) for part in parts]
    return ".".join([*named[:_NAMED], "…"] if len(named) > _NAMED else named)


def _rule(problem: dict[str, Any]) -> str:
    kind = str(problem["type"])
    if kind == "json_invalid":
        return "the body is not JSON"
    if kind == "value_error":
        # Ours: its own validators word their complaints without the value.
        return str(problem["msg"]).removeprefix("Value error, ")
    return _RULES.get(kind, str(problem["msg"]).partition(",")[0].lower())


#: Sentences for pydantic's error types (https://docs.pydantic.dev/latest/errors/validation_errors/).
_RULES = {
    "missing": "it is required",
    "recursion_depth_exceeded": "it is nested too deep",
    "extra_forbidden": "there is no such field",
    "string_type": "it must be text",
    "string_unicode": "it must be text of whole characters",
    "int_type": "it must be a whole number",
    "int_parsing": "it must be a whole number",
    "dict_type": "it must be an object",
    "list_type": "it must be a list",
    "uuid_parsing": "it must be an id, or the `next` of a page",
    "model_attributes_type": "send an object as application/json",
}


async def _http(_request: Request, error: Exception) -> ErrorResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type
    status = 422 if error.status_code == 400 else error.status_code
    sentence = _SENTENCES.get(error.status_code, "The request cannot be served.")
    if isinstance(error, TooLarge):
        sentence = f"The request is larger than {error.largest:,} bytes, the most that is taken here."
    headers = dict(error.headers) if error.headers else None
    return answer(status, _CODES.get(error.status_code, "invalid"), sentence, headers=headers)


async def _changed(_request: Request, error: Exception) -> ErrorResponse:
    log.info("request.collided", places=places(error)[-3:])
    return answer(409, "conflict", "The same thing was changed at the same time; try again.")


async def _busy(_request: Request, _error: Exception) -> ErrorResponse:
    return answer(503, "unavailable", "The database has no free connection now; try again in a moment.")
