"""The drawing of a workflow that is being written: each change by hand gives the text that says the same.

Nothing is saved here. A change comes with the text as it stands in the form, and what is answered is the form with the
text after it; so it can be done by dragging, by keys, or by a plain form, and the text remains the one truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Header
from starlette.responses import HTMLResponse

from console.deps import Allowed
from console.pages import definition_text, flow_edits, flow_places
from console.pages.complaints import by_field
from console.pages.flow_places import Places
from console.pages.flows import editor, places_in
from console.pages.forms import Fields
from console.pages.rights import UNUSABLE
from runner.errors import Invalid
from scheduler import flows
from scheduler.flows import Kind

router = APIRouter(prefix="/workflows")

#: What was done, for whoever does not see the drawing.
SAID = {
    "add": "Added a step.",
    "connect": "{target} now comes after {source}.",
    "disconnect": "{target} no longer comes after {source}.",
    "remove": "Removed the step {step}.",
    "rename": "Renamed the step {step}.",
    "draw": "Drawn as the text says.",
    "move": "Moved {step}.",
    "tidy": "Laid out anew.",
}


@router.post("/~drawing")
def draw(call: Allowed, fields: Fields, hx_request: Annotated[str | None, Header()] = None) -> HTMLResponse:
    """The form after one change; `draw`, `move` and `tidy` change the drawing alone, the others the text."""
    text, verb, places = fields.get("definition", ""), fields.words("change"), places_in(fields)
    errors: dict[str, str] = {}
    said = ""
    begin = f"{verb}-"
    given = {name.removeprefix(begin): text.strip() for name, text in fields.items() if name.startswith(begin)}
    try:
        table = definition_text.read(text)
        if verb not in {"draw", "move", "tidy"}:
            table = flow_edits.changed(table, verb, given)
            _check_ring(table)
            text = definition_text.written(table)
        places = _places(places, table, verb, given)
        said = SAID[verb].format_map({"source": "", "target": "", "step": "", **given})
    except UNUSABLE as error:
        fault = by_field(str(error), ())[""]
        errors = {"definition" if verb == "draw" else "change": fault}
    if verb == "draw" and not errors:
        errors = _faults(text)
    return editor(
        call,
        Kind.WORKFLOW,
        name=fields.words("existing") or None,
        text=text,
        places=places,
        given=fields.kept(),
        errors=errors,
        said=said,
        part=hx_request is not None,
    )


def _places(places: Places, table: flow_edits.Table, verb: str, given: Mapping[str, str]) -> Places:
    """Where the steps stand after a change."""
    if verb == "tidy":
        return {}
    if verb == "rename" and given["step"] in places:
        return {given["name"] if name == given["step"] else name: place for name, place in places.items()}
    if verb != "move":
        return places
    return flow_places.moved(places, _sources(table), given)


def _sources(table: flow_edits.Table) -> dict[str, list[str]]:
    """The steps of a table, each with those that it comes after."""
    steps = table.get("steps")
    if not isinstance(steps, dict) or not all(isinstance(step, dict) for step in steps.values()):
        return {}
    return {name: [edge["step"] for edge in flow_edits.sources_of(step)] for name, step in steps.items()}


def _faults(text: str) -> dict[str, str]:
    try:
        flows.read(Kind.WORKFLOW, text.encode())
    except Invalid as error:
        return {"definition": str(error)}
    return {}


def _check_ring(table: flow_edits.Table) -> None:
    """Refuse a line that would make a circle at once; what else is missing may come later."""
    after = _sources(table)
    for name, before in after.items():
        seen, todo = set[str](), list(before)
        while todo:
            source = todo.pop()
            if source == name:
                raise Invalid(f"{name} would wait for itself; take another line away first.")
            if source not in seen:
                seen.add(source)
                todo += after.get(source, [])
