"""Routing: which steps of a workflow's run start, which are skipped, and how the run ends; pure.

The steps are looked at in an order in which each comes behind all that it waits for, so one pass settles everything
that the facts settle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runner.states import State
from scheduler import expressions
from scheduler.expressions import JSON, Lookup, Name, Refused
from scheduler.graph import Approval, Edge, Step
from scheduler.outlook import (
    FAILED,
    REFUSED,
    Dispatch,
    End,
    Facts,
    Outlook,
    Standing,
    Status,
    end_of,
    stop_short,
    unit,
)


def route(steps: Mapping[str, Step], order: Sequence[str], facts: Facts) -> Outlook:
    """The outlook of a workflow's run."""
    outlook = Outlook()
    for name in order:
        outlook.steps[name] = _status(name, steps, facts, outlook)
    stop_short(facts, outlook)
    outlook.end = end_of(facts, outlook, _end(steps, outlook, facts))
    return outlook


def _status(name: str, steps: Mapping[str, Step], facts: Facts, outlook: Outlook) -> Status:
    step = steps[name]
    begun = bool(facts.tries.get(name)) or name in facts.answers
    if not begun:
        waits = _obstacle(step, steps, facts, outlook)
        if waits is not None:
            return waits
    if step.approval is not None:
        return _asked(name, step.approval, facts, outlook)
    return _work(name, step, steps, facts, outlook)


def _obstacle(step: Step, steps: Mapping[str, Step], facts: Facts, outlook: Outlook) -> Status | None:
    """Why a step does not start: it waits, or it is skipped; nothing where it may."""
    if not step.after:
        return None
    open_edges, broken = 0, list[str]()
    for edge in step.after:
        why = _broken(edge, steps, facts, outlook)
        if why is None:
            if step.join == "any":
                return None
        elif why:
            broken.append(why)
        else:
            open_edges += 1
    if broken and step.join == "all":
        return Status(Standing.SKIPPED, "condition", broken[0])
    if open_edges:
        return Status(Standing.WAITING)
    return Status(Standing.SKIPPED, "condition", " ".join(broken)) if broken else None


def _broken(edge: Edge, steps: Mapping[str, Step], facts: Facts, outlook: Outlook) -> str | None:
    """Why an edge does not hold; empty while it is open, `None` where it holds."""
    status = outlook.steps[edge.step]
    if not status.settled:
        return ""
    wanted = {
        "success": status.standing is Standing.SUCCEEDED,
        "failure": status.standing in FAILED,
        "always": True,
    }[edge.on]
    if not wanted:
        return f"{edge.step} {_past(status.standing)}, and this step follows its {edge.on}."
    lookup = _lookup(steps, facts)
    for condition in edge.when:
        if not condition.holds(lookup):
            return f"{condition.sentence()} does not hold."
    return None


def _past(standing: Standing) -> str:
    return str(standing) if standing in {Standing.SUCCEEDED, Standing.FAILED} else f"was {standing}"


def _asked(name: str, approval: Approval, facts: Facts, outlook: Outlook) -> Status:
    if facts.environment not in approval.environments:
        return Status(Standing.SUCCEEDED, "not_asked", f"No approval is asked for in {facts.environment}.")
    answer = facts.answers.get(name)
    if answer is None:
        outlook.questions[name] = approval.expires
        return Status(Standing.WAITING)
    words = f": {answer.comment}" if answer.comment else "."
    if answer.allowed is True:
        return Status(Standing.SUCCEEDED, "allowed", f"Allowed by {answer.by}{words}")
    if answer.allowed is False:
        return Status(Standing.FAILED, REFUSED, f"Refused by {answer.by}{words}")
    if facts.now >= answer.expires_at:
        return Status(Standing.FAILED, "expired", "Nobody answered before the question expired.")
    outlook.again(answer.expires_at)
    return Status(Standing.APPROVAL, None, "A person is asked; see `botkeep workflow approve`.")


def _work(name: str, step: Step, steps: Mapping[str, Step], facts: Facts, outlook: Outlook) -> Status:
    tries = facts.tries.get(name, {})
    try:
        elements = _elements(step, steps, facts)
    except Refused as error:
        if not tries:
            outlook.dispatches.append(Dispatch(name, 0, 1, refusal=str(error)))
            return Status(Standing.WAITING)
        elements = [None] * (max(tries) + 1)
    found = [unit(tries.get(item, ()), step.policy, facts, outlook) for item in range(len(elements))]
    busy = sum(1 for status, due in found if due is None and not status.settled)
    for item, (_, due) in enumerate(found):
        if due is not None and busy < step.width:
            busy += 1
            outlook.dispatches.append(_dispatch(name, step, item, due, elements[item], steps=steps, facts=facts))
    statuses = [status for status, _ in found]
    return statuses[0] if step.each is None else _of_all(statuses)


def _of_all(statuses: Sequence[Status]) -> Status:
    """The status of a fan-out: it is settled when all of it is, and failed where a part is."""
    count = len(statuses)
    settled = [status for status in statuses if status.settled]
    failed = [item for item, status in enumerate(statuses) if status.standing in FAILED]
    if len(settled) < count:
        busy = any(status.standing in {Standing.QUEUED, Standing.RUNNING} for status in statuses)
        words = f"{len(settled)} of {count} have ended."
        return Status(Standing.RUNNING if busy or settled else Standing.WAITING, None, words)
    if failed:
        first = statuses[failed[0]]
        words = f"{len(failed)} of {count} failed, the first of them number {failed[0]}: {first.detail or first.reason}"
        return Status(Standing.FAILED, first.reason, words)
    return Status(Standing.SUCCEEDED, None, f"All {count} succeeded.")


def _elements(step: Step, steps: Mapping[str, Step], facts: Facts) -> list[JSON]:
    if step.each is None:
        return [None]
    found = expressions.render(step.each, _lookup(steps, facts))
    if not isinstance(found, list):
        raise Refused(f"each: {step.each} is not a list.")
    if len(found) > step.limit:
        raise Refused(f"each: the list has {len(found):,} elements, and `limit` is {step.limit:,}.")
    return found


def _dispatch(
    name: str, step: Step, item: int, number: int, element: JSON, *, steps: Mapping[str, Step], facts: Facts
) -> Dispatch:
    try:
        parameters = expressions.render(dict(step.parameters), _lookup(steps, facts, element=element))
    except Refused as error:
        return Dispatch(name, item, number, refusal=str(error))
    assert isinstance(parameters, dict)  # noqa: S101 - a copy of one
    return Dispatch(name, item, number, bot=step.bot or "", parameters=parameters)


def _lookup(steps: Mapping[str, Step], facts: Facts, *, element: JSON = None) -> Lookup:
    """What an expression stands for in this run.

    Raises (when it is called):
        Refused: for a result or a parameter that there is not.
    """

    def lookup(name: Name) -> JSON:
        if name.parameter is not None:
            return _member(facts.parameters, name.parameter, f"{name.text} names a parameter that was not given.")
        if name.step is not None and name.key is not None:
            return _result(name, name.step, name.key, steps, facts)
        if name.field is None:
            return element
        return _member(element, name.field, f"{name.text} names a field that the element of the list does not have.")

    return lookup


def _result(name: Name, step: str, key: str, steps: Mapping[str, Step], facts: Facts) -> JSON:
    tries = facts.tries.get(step, {})
    if steps[step].each is not None:
        return [tries[item][-1].results.get(key) if tries[item] else None for item in sorted(tries)]
    if not tries.get(0):
        raise Refused(f"{name.text} names a result of {step}, which did not run.")
    return _member(tries[0][-1].results, key, f"{name.text} names a result that {step} did not give.")


def _member(of: object, key: str, complaint: str) -> JSON:
    if not isinstance(of, Mapping) or key not in of:
        raise Refused(complaint)
    found: JSON = of[key]
    return found


def _end(steps: Mapping[str, Step], outlook: Outlook, facts: Facts) -> End:
    """The usual end: failed where a step failed and nobody took care of it by an edge on its failure that held."""
    unhandled = []
    for name, status in outlook.steps.items():
        if status.standing not in FAILED:
            continue
        edges = [edge for step in steps.values() for edge in step.after if edge.step == name and edge.on == "failure"]
        if not any(_broken(edge, steps, facts, outlook) is None for edge in edges):
            unhandled.append(name)
    if unhandled:
        return End(State.FAILED, "step_failed", f"{', '.join(unhandled)} failed.")
    return End(State.SUCCEEDED)
