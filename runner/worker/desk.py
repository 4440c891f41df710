"""The desk of one attempt: takes what its bot says of progress, results and work items, and masks it before storing it.

Promises that nothing reaches the database that the attempt's masker has not seen, and that a bot speaks for its own
attempt only: workspace, environment, job and attempt come from the claim, never from the bot.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, StrictInt, StrictStr, ValidationError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from runner import progress, results, work_items
from runner.errors import Conflict, Invalid, NotFound, RunnerError
from runner.flow_models import WorkItem
from runner.jobs import Claim, Priority
from runner.logging import logger
from runner.work_items import Draft, Holder
from runner.worker.latest import Latest
from runner.worker.masker import MASK, Masker
from vault import db
from vault.errors import Unavailable

#: What is answered: an HTTP status and a body, JSON below 300 and a sentence above.
Answer: TypeAlias = tuple[int, bytes]

#: The status of each refusal.
REFUSALS: dict[type[RunnerError], int] = {Invalid: 422, Conflict: 409, NotFound: 404}

#: Deepest nesting that is masked; `json` reads deeper ones.
MAX_DEPTH = 64

_log = logger()


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Reservation(_Body):
    tray: StrictStr


class _Addition(_Body):
    tray: StrictStr
    data: JsonValue
    reference: StrictStr | None = None
    priority: StrictStr = Priority.NORMAL.word
    deadline: AwareDatetime | None = None
    not_before: AwareDatetime | None = None
    retries: StrictInt = work_items.RETRIES
    retry_delay: float = Field(default=work_items.DELAY.total_seconds(), ge=0, le=30 * 86_400)


class _Completion(_Body):
    result: JsonValue = None


class _Progress(_Body):
    fraction: float | None = Field(default=None, ge=0, le=1)
    text: StrictStr = Field(default="", max_length=progress.MAX_TEXT)


class _Failure(_Body):
    kind: StrictStr
    message: StrictStr = ""


class Desk:
    """Takes what the bot of one attempt says."""

    def __init__(self, engine: Engine, claim: Claim, *, masker: Masker) -> None:
        self._engine, self._claim, self._masker = engine, claim, masker
        self._holder = Holder(claim.workspace_id, claim.environment, claim.job_id, claim.attempt)
        self._progress = Latest(self._store_progress)

    def close(self) -> None:
        """Store what was said last; no progress is taken any more."""
        self._progress.close()

    def take(self, method: str, path: tuple[str, ...], body: bytes) -> Answer:
        """Do what the bot asks for, or answer with a sentence why not."""
        try:
            return self._done(method, path, masked(_parsed(body), self._masker))
        except ValidationError as error:
            problem = error.errors(include_input=False, include_url=False)[0]
            place = ".".join(str(part) for part in problem["loc"]) or "body"
            return 422, self._masker.mask_text(f"{place}: {problem['msg']}.").encode()
        except (Invalid, Conflict, NotFound) as error:
            return REFUSALS[type(error)], self._masker.mask_text(str(error)).encode()
        except (Unavailable, SQLAlchemyError) as error:
            _log.warning("desk.delayed", error=type(error).__name__)
            return 503, b"The database cannot be used now; try again in a moment."

    def _done(self, method: str, path: tuple[str, ...], body: Any) -> Answer:  # noqa: ANN401 - JSON
        match (method, *path):
            case ("PUT", "v1", "progress"):
                return self._take_progress(_Progress.model_validate(body))
            case ("PUT", "v1", "results", key):
                return self._result(key, body)
            case ("POST", "v1", "work-items"):
                return self._add(_Addition.model_validate(body))
            case ("POST", "v1", "work-items", "reservation"):
                return self._reserve(_Reservation.model_validate(body))
            case ("PUT", "v1", "work-items", item, "completion" | "failure" as word):
                return self._settle(_id(item), word, body)
            case _:
                return 404, b"There is no such address; see the documentation of the SDK."

    def _take_progress(self, said: _Progress) -> Answer:
        self._progress.put((said.fraction, said.text))
        return 204, b""

    def _store_progress(self, said: tuple[float | None, str]) -> None:
        fraction, text = said
        with db.writing(self._engine) as session:
            progress.tell(session, self._claim.job_id, attempt=self._claim.attempt, fraction=fraction, text=text)

    def _result(self, key: str, value: object) -> Answer:
        with db.writing(self._engine) as session:
            results.give(session, self._claim.job_id, key, value, attempt=self._claim.attempt)
        return 204, b""

    def _add(self, asked: _Addition) -> Answer:
        draft = Draft(
            tray=asked.tray,
            environment=self._claim.environment,
            data=asked.data,
            reference=asked.reference,
            priority=Priority.of(asked.priority),
            deadline=asked.deadline,
            not_before=asked.not_before,
            retries=asked.retries,
            retry_delay=timedelta(seconds=asked.retry_delay),
        )
        now = datetime.now(UTC)
        by = f"job {self._claim.job_id}"
        with db.writing(self._engine) as session:
            made = work_items.add(session, draft, workspace_id=self._claim.workspace_id, by=by, now=now)
        return 201, json.dumps({"id": str(made)}).encode()

    def _reserve(self, asked: _Reservation) -> Answer:
        with db.writing(self._engine) as session:
            found = work_items.reserve(session, asked.tray, holder=self._holder)
            return (204, b"") if found is None else (200, json.dumps(_told(found)).encode())

    def _settle(self, item_id: uuid.UUID, word: str, body: Any) -> Answer:  # noqa: ANN401 - JSON
        if word == "completion":
            return self._complete(item_id, _Completion.model_validate(body))
        return self._fail(item_id, _Failure.model_validate(body))

    def _complete(self, item_id: uuid.UUID, said: _Completion) -> Answer:
        with db.writing(self._engine) as session:
            work_items.complete(session, item_id, holder=self._holder, result=said.result)
        return 204, b""

    def _fail(self, item_id: uuid.UUID, said: _Failure) -> Answer:
        if said.kind not in {"business", "application"}:
            raise Invalid("kind: it is business or application.")
        business = said.kind == "business"
        with db.writing(self._engine) as session:
            work_items.fail(session, item_id, holder=self._holder, business=business, message=said.message)
        return 204, b""


def masked(value: JsonValue, masker: Masker, *, depth: int = 0) -> Any:  # noqa: ANN401 - JSON
    """A copy of a JSON value without any value of an asset: texts, keys and numbers are masked one by one.

    Raises:
        Invalid: for what is nested too deeply.
    """
    whole = _masked(value, masker, depth=depth)
    text = json.dumps(whole)
    return whole if masker.mask_text(text) == text else MASK.decode()


def _masked(value: JsonValue, masker: Masker, *, depth: int) -> Any:  # noqa: ANN401 - JSON
    if depth > MAX_DEPTH:
        raise Invalid(f"This is nested more than {MAX_DEPTH} levels deep; flatten it.")
    if isinstance(value, str):
        return masker.mask_text(value)
    if isinstance(value, list):
        return [_masked(each, masker, depth=depth + 1) for each in value]
    if isinstance(value, Mapping):
        return {masker.mask_text(key): _masked(each, masker, depth=depth + 1) for key, each in value.items()}
    if isinstance(value, int | float) and not isinstance(value, bool):
        text = json.dumps(value)
        return value if masker.mask_text(text) == text else MASK.decode()
    return value


def _parsed(body: bytes) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Invalid("This is not JSON.") from None


def _no_number(name: str) -> None:
    raise ValueError(name)


def _id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise NotFound("There is no such work item.") from None


def _told(item: WorkItem) -> dict[str, Any]:
    return {
        "id": str(item.id),
        "data": item.data["is"],
        "reference": item.reference,
        "tries": item.tries,
        "deadline": None if item.deadline is None else item.deadline.isoformat(),
    }
