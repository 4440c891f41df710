"""Queues: an ordered list of bots, one after the other, with a policy for each that fails; pure.

environment = "prod"               # where a run names none; omitted: dev
group = "sap"                      # of runners, for the whole queue
priority = "normal"
timeout = "8h"                     # of a whole run; omitted: none

[parameters.month]                 # what a run is given, as in bot.toml
required = true

[[items]]
bot = "fetch"
name = "fetch"                     # omitted: the bot's name
parameters = { month = "{{RUN.month}}" }
on_failure = "retry"               # stop (default), continue, or retry
retries = 3                        # with retry: further tries (default 3),
delay = "30s"                      #   the pause before each,
then = "stop"                      #   and what follows when they are used up: stop (default) or continue
parallel = false                   # true: does not hold up the next item
timeout = "1h"                     # from the moment it is queued; omitted: none
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StrictBool, model_validator

from runner.durations import Duration
from runner.states import State
from scheduler import expressions
from scheduler.expressions import JSON, Name, Refused
from scheduler.flow_files import MAX_STEPS, BotName, Definition, Parameters, Retries, Retrying, StepName, Table
from scheduler.outlook import (
    FAILED,
    Dispatch,
    End,
    Facts,
    Outlook,
    Policy,
    Standing,
    Status,
    end_of,
    stop_short,
    unit,
)

#: Further tries of an item that says `retry` and no more, and the pause before each.
RETRIES, DELAY = 3, timedelta(seconds=30)


class Item(Table):
    """One bot of a queue."""

    bot: BotName
    name: StepName | None = None
    parameters: Parameters = Field(default_factory=dict)
    on_failure: Literal["stop", "continue", "retry"] = "stop"
    retries: Retries | None = None
    delay: Duration | None = None
    then: Literal["stop", "continue"] | None = None
    parallel: StrictBool = False
    timeout: Duration | None = None

    @model_validator(mode="after")
    def _retry_words(self) -> Self:
        for key in ("retries", "delay", "then"):
            if getattr(self, key) is not None and self.on_failure != "retry":
                raise ValueError(f'has {key}, which has a meaning with on_failure = "retry" only')
        return self

    @property
    def stops(self) -> bool:
        """Whether its failure for good keeps the following items from being started."""
        return (self.then or "stop") == "stop" if self.on_failure == "retry" else self.on_failure == "stop"

    @property
    def policy(self) -> Policy:
        """What holds for each of its jobs."""
        if self.on_failure != "retry":
            return Policy(Retrying(), self.timeout)
        retries = RETRIES if self.retries is None else self.retries
        return Policy(
            Retrying(retries=retries, delay=timedelta(seconds=30) if self.delay is None else self.delay), self.timeout
        )


class Queue(Definition):
    """The definition of a queue."""

    items: Annotated[tuple[Item, ...], Field(min_length=1, max_length=MAX_STEPS)]

    @model_validator(mode="after")
    def _names(self) -> Self:
        chosen = [item.name for item in self.items if item.name is not None]
        for name in chosen:
            if chosen.count(name) > 1:
                raise ValueError(f"items: two of them have the name {name!r}; give each its own.")
        for place, item in enumerate(self.items):
            self.check_names(f"items.{place}.parameters", dict(item.parameters), steps={})
        return self

    @property
    def by_name(self) -> dict[str, Item]:
        """The items in their order, by name; one without a name has its bot's, with a number where that is taken."""
        taken = {item.name for item in self.items if item.name is not None}
        found: dict[str, Item] = {}
        for item in self.items:
            name, number = item.name, 2
            if name is None:
                stem = "".join(sign if sign.isalnum() or sign in "-_" else "_" for sign in item.bot)[:60]
                name = stem = stem if stem[:1].isalpha() else f"_{stem}"
                while name in taken:
                    name, number = f"{stem}-{number}", number + 1
                taken.add(name)
            found[name] = item
        return found

    def bots(self, *, but: Collection[str] = ()) -> dict[str, tuple[str, Mapping[str, Any]]]:
        """Bot and parameters of each item, without some by name, by the place in the file that an error names."""
        return {
            f"items.{place}": (item.bot, item.parameters)
            for place, (name, item) in enumerate(self.by_name.items())
            if name not in but
        }

    def comes_after(self, name: str) -> frozenset[str]:
        """The items before this one."""
        names = list(self.by_name)
        return frozenset(names[: names.index(name)])

    def look(self, facts: Facts) -> Outlook:
        """Where each item is, and what is to be done."""
        outlook = Outlook()
        items = self.by_name
        known = {}
        for name, item in items.items():
            tries = facts.tries.get(name, {}).get(0, ())
            known[name] = unit(tries, item.policy, facts, outlook)
        stopper = next((name for name, item in items.items() if item.stops and known[name][0].standing in FAILED), None)
        held = False
        for name, item in items.items():
            status, due = known[name]
            if due is not None and stopper is not None:
                status = _not_begun(status, due, stopper)
            elif due == 1 and held:
                due = None
            elif due is not None:
                outlook.dispatches.append(_dispatch(name, item, due, facts))
            outlook.steps[name] = status
            held = held or not (item.parallel or status.settled)
        stop_short(facts, outlook)
        outlook.end = end_of(facts, outlook, self._end(outlook))
        return outlook

    def _end(self, outlook: Outlook) -> End:
        failed = [name for name, status in outlook.steps.items() if status.standing in FAILED]
        if any(self.by_name[name].stops for name in failed):
            return End(State.FAILED, "step_failed", f"{', '.join(failed)} failed.")
        if failed:
            return End(State.SUCCEEDED, "passed_over", f"{', '.join(failed)} failed and was passed over, as defined.")
        return End(State.SUCCEEDED)


def _not_begun(status: Status, due: int, stopper: str) -> Status:
    if due == 1:
        return Status(Standing.SKIPPED, "stopped", f"{stopper} failed, which stops the queue.")
    return Status(Standing.FAILED, status.reason, f"Not tried again, since {stopper} failed.")


def _dispatch(name: str, item: Item, number: int, facts: Facts) -> Dispatch:
    def lookup(wanted: Name) -> JSON:
        if wanted.parameter is None or wanted.parameter not in facts.parameters:
            raise Refused(f"{wanted.text} names a parameter that this run was not given.")
        found: JSON = facts.parameters[wanted.parameter]
        return found

    try:
        parameters = expressions.render(dict(item.parameters), lookup)
    except Refused as error:
        return Dispatch(name, 0, number, refusal=str(error))
    assert isinstance(parameters, dict)  # noqa: S101 - a copy of one
    return Dispatch(name, 0, number, bot=item.bot, parameters=parameters)
