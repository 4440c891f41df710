"""Workflows: a graph of bots with edges on success, failure or always; pure.

    timeout = "8h"                     # of a whole run; environment, group, priority, parameters as in a queue

    [steps.fetch]
    bot = "fetch"
    parameters = { month = "{{RUN.month}}" }
    retries = 2                        # further tries after a failure (default 0), `delay` (30s) before each
    timeout = "1h"                     # from the moment it is queued; omitted: none

    [steps.check]
    bot = "check"
    after = "fetch"                    # or ["fetch", …]; on success
    each = "{{STEP.fetch.invoices}}"   # one job for each element of a list, which is {{ITEM}} in `parameters`;
    limit = 100                        #   a longer list fails the step (at most 1000),
    width = 10                         #   so many at a time
    parameters = { invoice = "{{ITEM}}" }

    [steps.release]                    # an approval instead of a bot
    after = [{ step = "check", when = { value = "{{STEP.fetch.total}}", above = 1000 } }]
    approval = { role = "operator", expires = "24h", question = "Book them?" }

    [steps.book]
    bot = "book"
    after = ["release", { step = "check", on = "failure" }]
    join = "any"                       # all (default): every edge must hold; any: the first that holds starts it

An edge is decided when the step that it comes from is settled: `success` holds where it succeeded, `failure` where it
failed or was cancelled or refused, `always` whatever became of it, also where it was skipped; and `when`, where it is
there, must hold as well. A step that can no longer start is skipped. A run fails when a step failed and no edge on
`failure` from it held.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from scheduler.flow_files import MAX_STEPS, Definition, StepName, near
from scheduler.graph import Step
from scheduler.outlook import Facts, Outlook
from scheduler.routing import route


class Workflow(Definition):
    """The definition of a workflow."""

    steps: Annotated[dict[StepName, Step], Field(min_length=1, max_length=MAX_STEPS)]

    @model_validator(mode="after")
    def _a_graph(self) -> Self:
        for name, step in self.steps.items():
            for edge in step.after:
                if edge.step not in self.steps:
                    hint = near(edge.step, self.steps) or f"there are {', '.join(list(self.steps)[:20])}"
                    raise ValueError(f"steps.{name}.after: there is no step {edge.step!r}; {hint}.")
            sources = [edge.step for edge in step.after]
            if len(set(sources)) < len(sources):
                raise ValueError(f"steps.{name}.after: it names a step twice; write one edge for each.")
        self._check_cycle()
        for name, step in self.steps.items():
            self._check_expressions(name, step)
        return self

    def _check_cycle(self) -> None:
        if len(self.order) < len(self.steps):
            ring = [next(name for name in self.steps if name not in self.order)]
            while ring[-1] not in ring[:-1]:
                ring.append(next(edge.step for edge in self.steps[ring[-1]].after if edge.step not in self.order))
            ring = ring[ring.index(ring[-1]) :]
            raise ValueError(f"steps.{ring[0]}.after: it waits for itself: {' after '.join(ring)}.")

    def _check_expressions(self, name: str, step: Step) -> None:
        before = self.comes_after(name)
        places = {other: other in before for other in self.steps}
        self.check_names(f"steps.{name}.each", step.each, steps=places)
        self.check_names(f"steps.{name}.parameters", dict(step.parameters), steps=places, item=step.each is not None)
        for edge in step.after:
            for condition in edge.when:
                self.check_names(f"steps.{name}.after.when", condition.value, steps=places)

    @property
    def order(self) -> list[str]:
        """The steps, each behind all that it comes after; those of a cycle are missing."""
        left, found = dict(self.steps), list[str]()
        placed: set[str] = set()
        while ready := [name for name, step in left.items() if all(edge.step in placed for edge in step.after)]:
            found += ready
            placed.update(ready)
            for name in ready:
                del left[name]
        return found

    def bots(self, *, but: Collection[str] = ()) -> dict[str, tuple[str, Mapping[str, Any]]]:
        """Bot and parameters of each step, without some by name, by the place in the file that an error names."""
        return {
            f"steps.{name}": (step.bot, step.parameters)
            for name, step in self.steps.items()
            if step.bot is not None and name not in but
        }

    def comes_after(self, name: str) -> frozenset[str]:
        """Every step before this one, near and far."""
        found: set[str] = set()
        todo = [edge.step for edge in self.steps[name].after]
        while todo:
            step = todo.pop()
            if step not in found:
                found.add(step)
                todo += [edge.step for edge in self.steps[step].after]
        return frozenset(found)

    def look(self, facts: Facts) -> Outlook:
        """Where each step is, and what is to be done."""
        return route(self.steps, self.order, facts)
