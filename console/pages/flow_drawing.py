"""The drawing of a workflow with what stands in its steps and on its lines: bots, questions, states. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from console.pages import flow_layout
from console.pages.flow_edits import sources_of

#: Characters of a name that a box has room for.
ROOM = 22


@dataclass(frozen=True, slots=True)
class Node:
    """A step: where it is, what it is called, what it does, and its state in a run (empty in a definition)."""

    box: flow_layout.Box
    label: str
    text: str
    kind: str
    state: str
    words: str


@dataclass(frozen=True, slots=True)
class Edge:
    """A line between two steps: when it holds, its label, and the sentence that says it."""

    line: flow_layout.Line
    on: str
    label: str
    words: str


@dataclass(frozen=True, slots=True)
class Graph:
    """Everything that a page draws."""

    width: int
    height: int
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def drawn(steps: Mapping[str, Mapping[str, Any]], states: Mapping[str, str] | None = None) -> Graph:
    """The graph of these steps, as their file has them, in the states that a run's steps are in."""
    edges = {name: sources_of(step) for name, step in steps.items()}
    places = flow_layout.drawing({name: [edge["step"] for edge in known] for name, known in edges.items()})
    nodes = tuple(_node(box, steps[box.name], (states or {}).get(box.name, "")) for box in places.boxes)
    lines = tuple(
        _edge(line, next(edge for edge in edges[line.target] if edge["step"] == line.source)) for line in places.lines
    )
    return Graph(places.width, places.height, nodes, lines)


def _node(box: flow_layout.Box, step: Mapping[str, Any], state: str) -> Node:
    kind = "approval" if step.get("approval") is not None else "each" if step.get("each") is not None else "bot"
    text = "asks a person" if kind == "approval" else str(step.get("bot") or "no bot yet")
    what = "asks for an approval" if kind == "approval" else f"runs {text}"
    several = " once for each element" if kind == "each" else ""
    words = f"{box.name} {what}{several}{f', {state}' if state else ''}"
    return Node(box, _cut(box.name), _cut(f"each: {text}" if kind == "each" else text), kind, state, words)


def _edge(line: flow_layout.Line, edge: Mapping[str, Any]) -> Edge:
    on = edge.get("on", "success")
    on = on if on in {"success", "failure", "always"} else "success"
    when = bool(edge.get("when"))
    label = " ".join(
        part
        for part in ("" if on == "success" else f"on {on}" if on == "failure" else on, "if …" if when else "")
        if part
    )
    holds = {"success": "has succeeded", "failure": "has failed", "always": "has ended"}[on]
    words = f"{line.target} comes after {line.source} {holds}{', where its condition holds' if when else ''}"
    return Edge(line, on, label, words)


def _cut(text: str) -> str:
    return text if len(text) <= ROOM else f"{text[: ROOM - 1]}…"
