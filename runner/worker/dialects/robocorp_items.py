"""Robocorp's work items, on the trays of the workspace.

A bot's inputs are the items of its tray `input` (its own name, unless bot.toml says otherwise), its outputs go into its
tray `output` (its name and ".output"). Every run has one item at least, as theirs do: a job that was given parameters
has them as its first item, one whose tray is empty an item without data; these two are no rows, and end with the
attempt.

Promises that an output waits for its files: it can be reserved when its parent is released, when the attempt ends, or
after `FILLING`. An item that an attempt fails as APPLICATION and that this dialect made is a dead letter, as theirs
are. What is stored is masked before.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from runner import work_item_files, work_items
from runner.errors import Conflict, Invalid, NotFound
from runner.jobs import Claim
from runner.manifest import Manifest
from runner.work_items import Draft, Holder
from runner.worker.desk import masked
from runner.worker.grant import Call, Said
from runner.worker.masker import Masker
from vault import db

#: How long an output waits for its files at most.
FILLING = timedelta(minutes=1)

#: The longest name of a tray.
_TRAY = 64


class Items:
    """The work items of one attempt."""

    def __init__(
        self,
        engine: Engine,
        claim: Claim,
        *,
        bot: str,
        manifest: Manifest,
        masker: Masker,
        parameters: Callable[[], Any],
    ) -> None:
        """`parameters` gives those of the job with references resolved."""
        robot = manifest.robot
        self._input = (robot and robot.input) or bot[:_TRAY]
        self._output = (robot and robot.output) or f"{bot[: _TRAY - 7]}.output"
        self._engine, self._claim, self._masker = engine, claim, masker
        self._parameters = parameters
        self._holder = Holder(claim.workspace_id, claim.environment, claim.job_id, claim.attempt)
        self._by = f"job {claim.job_id}"
        #: The item that is the job's own, once it was given out; its data is `None` where it was released.
        self._own = uuid.uuid4()
        self._own_data: Any = None
        self._given = False
        self._made: list[uuid.UUID] = []

    def process(self, call: Call, rest: tuple[str, ...]) -> Said:
        """What the service answers below `…/processes/ID/`."""
        match (call.method, *rest):
            case ("POST", "runs", _, "robotRuns", _, "reserve-next-work-item"):
                return Said.json({"workItemId": self._reserve()})
            case ("POST", "runs", _, "robotRuns", _, "release-work-item"):
                self._release(_object(call.body))
                return Said.json({})
            case ("POST", "work-items", parent, "output"):
                return Said.json({"id": str(self._add(parent, _object(call.body).get("payload")))})
            case _:
                raise _no_address()

    def item(self, call: Call, rest: tuple[str, ...]) -> Said:
        """What the service answers below `…/workitems/`."""
        item_id = _id(rest[0])
        match (call.method, *rest[1:]):
            case ("GET", "data"):
                return Said.json(self._data(item_id))
            case ("PUT", "data"):
                self._change(item_id, _value(call.body))
                return Said.json({})
            case ("GET", "files"):
                return Said.json(self._files(item_id))
            case ("POST", "files"):
                return self._announce(call, item_id)
            case ("GET", "files", file_id):
                self._content(item_id, _id(file_id))
                return Said.json({"url": f"{call.base}/files/{call.issue(f'get {item_id} {_id(file_id)}')}"})
            case ("DELETE", "files", file_id):
                with db.writing(self._engine) as session:
                    work_item_files.require_running(session, self._holder)
                    work_item_files.drop(session, item_id, _id(file_id), holder=self._holder, by=self._by)
                return Said(204)
            case _:
                raise _no_address()

    def passed(self, call: Call) -> Said:
        """A file, by the pass in its address."""
        verb, item, rest = call.passed.split(" ", 2)
        if (verb, call.method) == ("get", "GET"):
            return Said(200, self._content(uuid.UUID(item), uuid.UUID(rest)), "application/octet-stream")
        if (verb, call.method) != ("put", "POST"):
            raise _no_address()
        self._store(uuid.UUID(item), rest, file_of(call.body, call.headers.get("Content-Type", "")))
        return Said(204)

    def close(self) -> None:
        """Let the outputs wait for a bot now; items that are held are released by the job's end itself."""
        if self._made:
            self._offer()

    def _reserve(self) -> str | None:
        first, self._given = not self._given, True
        if first and self._claim.parameters:
            self._own_data = self._parameters()
            return str(self._own)
        with db.writing(self._engine) as session:
            found = work_items.reserve(session, self._input, holder=self._holder)
            if found is not None:
                return str(found.id)
        return str(self._own) if first else None

    def _release(self, said: dict[str, Any]) -> None:
        item_id, state = _id(said.get("workItemId")), said.get("state")
        if state not in {"COMPLETED", "FAILED"}:
            raise Invalid("state: it is COMPLETED or FAILED.")
        if item_id != self._own:
            self._end(item_id, None if state == "COMPLETED" else said.get("exception") or {})
        self.close()

    def _end(self, item_id: uuid.UUID, exception: dict[str, Any] | None) -> None:
        with db.writing(self._engine) as session:
            if exception is None:
                work_items.complete(session, item_id, holder=self._holder)
                return
            words = [str(exception[key]) for key in ("code", "message") if exception.get(key)]
            message = self._masker.mask_text(": ".join(words))
            business = exception.get("type") == "BUSINESS"
            work_items.fail(session, item_id, holder=self._holder, business=business, message=message)

    def _add(self, parent: str, payload: Any) -> uuid.UUID:  # noqa: ANN401 - JSON
        now = datetime.now(UTC)
        draft = Draft(
            tray=self._output,
            environment=self._claim.environment,
            data=masked(payload, self._masker),
            not_before=now + FILLING,
            retries=0,
        )
        if _id(parent) != self._own:
            self._data(_id(parent))
        with db.writing(self._engine) as session:
            work_item_files.require_running(session, self._holder)
            made = work_items.add(session, draft, workspace_id=self._claim.workspace_id, by=self._by, now=now)
        self._made.append(made)
        return made

    def _offer(self) -> None:
        made, self._made = self._made, []
        with db.writing(self._engine) as session:
            work_item_files.offer(session, made, by=self._by)

    def _data(self, item_id: uuid.UUID) -> Any:  # noqa: ANN401 - JSON
        if item_id == self._own:
            return self._own_data
        with db.reading(self._engine) as session:
            return work_item_files.data(session, item_id, holder=self._holder, by=self._by)

    def _change(self, item_id: uuid.UUID, value: Any) -> None:  # noqa: ANN401 - JSON
        if item_id == self._own:
            self._own_data = value
            return
        clean = masked(value, self._masker)
        with db.writing(self._engine) as session:
            work_item_files.require_running(session, self._holder)
            work_item_files.change(session, item_id, clean, holder=self._holder, by=self._by)

    def _files(self, item_id: uuid.UUID) -> list[dict[str, Any]]:
        if item_id == self._own:
            return []
        with db.reading(self._engine) as session:
            found = work_item_files.files(session, item_id, holder=self._holder, by=self._by)
            return [{"fileId": str(file.id), "fileName": file.name, "fileSize": file.size} for file in found]

    def _announce(self, call: Call, item_id: uuid.UUID) -> Said:
        said = _object(call.body)
        name, size = said.get("fileName"), said.get("fileSize")
        if not isinstance(name, str) or not isinstance(size, int):
            raise Invalid("fileName and fileSize: a text and a number.")
        if item_id == self._own:
            raise Conflict("The job's own item takes no files; create an output for them.")
        work_item_files.check_file(name, size)
        self._data(item_id)
        return Said.json({"url": f"{call.base}/files/{call.issue(f'put {item_id} {name}')}", "fields": {}})

    def _content(self, item_id: uuid.UUID, file_id: uuid.UUID) -> bytes:
        with db.reading(self._engine) as session:
            return work_item_files.content(session, item_id, file_id, holder=self._holder, by=self._by)

    def _store(self, item_id: uuid.UUID, name: str, content: bytes) -> None:
        clean = self._masker.mask(content)
        if clean != content and b"\0" in content:
            raise Invalid("The file holds a value of an asset and is no text, so it is not kept; leave the value out.")
        with db.writing(self._engine) as session:
            work_item_files.require_running(session, self._holder)
            work_item_files.put(session, item_id, name, clean, holder=self._holder, by=self._by)


def file_of(body: bytes, kind: str) -> bytes:
    """The part `file` of a form (RFC 7578), which the clients send as their last one.

    Raises:
        Invalid: for what is no such form.
    """
    _, _, boundary = kind.partition("boundary=")
    mark = b"--" + boundary.split(";")[0].strip().strip('"').encode()
    for part in body.split(mark)[1:-1] if boundary else ():
        head, blank, content = part.partition(b"\r\n\r\n")
        if blank and b'name="file"' in head and content.endswith(b"\r\n"):
            return content[:-2]
    raise Invalid("The request is no form with a part `file`.")


def _value(body: bytes) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Invalid("The request is no JSON.") from None


def _object(body: bytes) -> dict[str, Any]:
    found = _value(body)
    if not isinstance(found, dict):
        raise Invalid("The request is no JSON object.")
    return found


def _id(text: object) -> uuid.UUID:
    try:
        return uuid.UUID(str(text))
    except ValueError:
        raise NotFound("There is no such work item.") from None


def _no_address() -> NotFound:
    return NotFound("There is no such address.")
