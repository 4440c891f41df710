"""Changes of a workflow's definition that are made by hand in its drawing; pure.

Each takes the table as it was written and gives another one: steps and edges in the file's own words, so that the text
that people edit and what they draw are one thing. Whether the result is a workflow is said by `scheduler.workflows`.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from runner.errors import Invalid
from vault.names import shown

Table: TypeAlias = dict[str, Any]

#: When an edge holds; the first is what an edge without a word means.
CONDITIONS = ("success", "failure", "always")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", re.ASCII)


def changed(document: Mapping[str, Any], verb: str, given: Mapping[str, str]) -> Table:
    """The definition after one change; `given` names steps as `step`, `source` and `target`.

    Raises:
        Invalid: for a change that cannot be made, naming the field.
    """
    change = VERBS.get(verb)
    if change is None:
        raise Invalid(f"change: there is no {shown(verb)}; use one of {', '.join(VERBS)}.")
    table = copy.deepcopy(dict(document))
    steps = table.setdefault("steps", {})
    if not isinstance(steps, dict) or not all(isinstance(step, dict) for step in steps.values()):
        raise Invalid("steps: it must be a table of tables; mend the text first.")
    change(steps, given)
    return table


def sources_of(step: Mapping[str, Any]) -> list[Table]:
    """The edges that lead to a step, each as a table; what is no edge is left out."""
    after = step.get("after", [])
    several = after if isinstance(after, list | tuple) else [after]
    edges = [
        {"step": each} if isinstance(each, str) else dict(each) for each in several if isinstance(each, str | dict)
    ]
    return [edge for edge in edges if isinstance(edge.get("step"), str)]


def tidied(document: Mapping[str, Any]) -> Table:
    """A stored definition with its edges in the short words of the file."""
    table = copy.deepcopy(dict(document))
    for step in table.get("steps", {}).values():
        _write(step, sources_of(step))
    return table


def _add(steps: Table, given: Mapping[str, str]) -> None:
    bot, asked = given.get("bot", "").strip(), given.get("name", "").strip()
    if not bot and given.get("what") != "approval":
        raise Invalid("bot: say which bot the step runs.")
    if asked and asked in steps:
        raise Invalid(f"name: there is a step {asked!r} already.")
    step: Table = {"approval": {}} if given.get("what") == "approval" else {"bot": bot}
    name = _checked(asked) if asked else _free(steps, bot or "approval")
    steps[name] = step
    if source := given.get("source", ""):
        _connect(steps, {"source": source, "target": name})


def _connect(steps: Table, given: Mapping[str, str]) -> None:
    source, target = _known(steps, given, "source"), _known(steps, given, "target")
    on = given.get("on") or CONDITIONS[0]
    if on not in CONDITIONS:
        raise Invalid(f"on: it must be one of {', '.join(CONDITIONS)}.")
    if source == target:
        raise Invalid(f"target: {target} cannot come after itself.")
    edges = sources_of(steps[target])
    edge = next((each for each in edges if each["step"] == source), None)
    if edge is None:
        edge = {"step": source}
        edges.append(edge)
    edge.pop("on", None)
    if on != CONDITIONS[0]:
        edge["on"] = on
    _write(steps[target], edges)


def _disconnect(steps: Table, given: Mapping[str, str]) -> None:
    source, target = _known(steps, given, "source"), _known(steps, given, "target")
    edges = sources_of(steps[target])
    left = [each for each in edges if each["step"] != source]
    if len(left) == len(edges):
        raise Invalid(f"source: {target} does not come after {source}.")
    _write(steps[target], left)


def _remove(steps: Table, given: Mapping[str, str]) -> None:
    gone = _known(steps, given, "step")
    del steps[gone]
    for step in steps.values():
        edges = sources_of(step)
        if any(each["step"] == gone for each in edges):
            _write(step, [each for each in edges if each["step"] != gone])


def _rename(steps: Table, given: Mapping[str, str]) -> None:
    old = _known(steps, given, "step")
    new = _checked(given.get("name", "").strip())
    if new in steps and new != old:
        raise Invalid(f"name: there is a step {new!r} already.")
    words = re.compile(rf"\{{\{{STEP\.{re.escape(old)}\.", re.ASCII)
    renamed = {new if name == old else name: _replaced(step, words, f"{{{{STEP.{new}.") for name, step in steps.items()}
    steps.clear()
    steps.update(renamed)
    for step in steps.values():
        edges = sources_of(step)
        if any(each["step"] == old for each in edges):
            _write(step, [each | {"step": new} if each["step"] == old else each for each in edges])


#: What can be done, by the word that a form says.
VERBS: dict[str, Callable[[Table, Mapping[str, str]], None]] = {
    "add": _add,
    "connect": _connect,
    "disconnect": _disconnect,
    "remove": _remove,
    "rename": _rename,
}


def _write(step: Table, edges: list[Table]) -> None:
    short = [each["step"] if set(each) == {"step"} else each for each in edges]
    if not short:
        step.pop("after", None)
    else:
        step["after"] = short[0] if len(short) == 1 and isinstance(short[0], str) else short


def _known(steps: Table, given: Mapping[str, str], field: str) -> str:
    name = given.get(field, "")
    if name not in steps:
        raise Invalid(f"{field}: there is no step {shown(name[:60])}.")
    return name


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Invalid("name: write at most 64 ASCII letters, digits, - and _, a letter first.")
    return name


def _free(steps: Table, stem: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", stem)[:58]
    plain = plain if _NAME.fullmatch(plain) else f"_{plain}"
    name, number = plain, 2
    while name in steps:
        name, number = f"{plain}-{number}", number + 1
    return name


def _replaced(value: Any, words: re.Pattern[str], by: str) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, str):
        return words.sub(lambda _match: by, value)
    if isinstance(value, dict):
        return {key: _replaced(each, words, by) for key, each in value.items()}
    if isinstance(value, list):
        return [_replaced(each, words, by) for each in value]
    return value
