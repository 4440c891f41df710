"""The drawing of a workflow with what stands in its steps and on its lines: bots, questions, states. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from console.pages import flow_layout, flow_places
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

    @property
    def places(self) -> dict[str, tuple[int, int]]:
        """Where each step stands."""
        return {node.box.name: (node.box.x, node.box.y) for node in self.nodes}


def drawn(
    steps: Mapping[str, Mapping[str, Any]],
    states: Mapping[str, str] | None = None,
    places: Mapping[str, tuple[int, int]] | None = None,
) -> Graph:
    """The graph of these steps, as their file has them, in the states that a run's steps are in, at their places."""
    edges = {name: sources_of(step) for name, step in steps.items()}
    sources = tuple((name, tuple(edge["step"] for edge in known)) for name, known in edges.items())
    drawing = _placed(sources, tuple((places or {}).items()))
    nodes = tuple(_node(box, steps[box.name], (states or {}).get(box.name, "")) for box in drawing.boxes)
    lines = tuple(
        _edge(line, next(edge for edge in edges[line.target] if edge["step"] == line.source)) for line in drawing.lines
    )
    return Graph(drawing.width, drawing.height, nodes, lines)


@lru_cache(maxsize=256)
def _placed(
    graph: tuple[tuple[str, tuple[str, ...]], ...], places: tuple[tuple[str, tuple[int, int]], ...]
) -> flow_layout.Drawing:
    """The layout, kept for those who look at the same run again and again."""
    return flow_places.placed(dict(graph), dict(places))


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
