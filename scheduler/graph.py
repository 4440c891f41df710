"""The nodes and edges of a workflow, as its file has them; pure. `scheduler.workflows` says what they mean."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, JsonValue, StrictInt, model_validator

from runner.durations import Duration
from scheduler.conditions import Condition
from scheduler.flow_files import BotName, EnvironmentName, Parameters, Retries, Retrying, StepName, Table
from scheduler.outlook import Policy

#: Elements of a fan-out, and jobs of it at the same time, unless the step says otherwise; and the most it may say.
LIMIT, WIDTH, MOST = 100, 10, 1000


def _several(value: object) -> object:
    return value if isinstance(value, list | tuple) else (value,)


def _edge(value: object) -> object:
    return {"step": value} if isinstance(value, str) else value


class Edge(Table):
    """Where a step comes from, and what must have become of that one."""

    step: StepName
    on: Literal["success", "failure", "always"] = "success"
    when: Annotated[tuple[Condition, ...], BeforeValidator(_several)] = ()


class Approval(Table):
    """A question to a person who is not the one that asked for the run; asked in these environments only."""

    role: Literal["operator", "dev", "admin"] = "operator"
    expires: Duration = timedelta(hours=24)
    environments: tuple[EnvironmentName, ...] = ("prod",)
    question: str = Field(default="", max_length=500)


class Step(Table):
    """One node of a workflow: a bot, or an approval."""

    bot: BotName | None = None
    approval: Approval | None = None
    after: Annotated[tuple[Annotated[Edge, BeforeValidator(_edge)], ...], BeforeValidator(_several)] = ()
    join: Literal["all", "any"] = "all"
    parameters: Parameters = Field(default_factory=dict)
    each: JsonValue = None
    limit: Annotated[StrictInt, Field(ge=1, le=MOST)] = LIMIT
    width: Annotated[StrictInt, Field(ge=1, le=MOST)] = WIDTH
    retries: Retries = 0
    delay: Duration = timedelta(seconds=30)
    timeout: Duration | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.bot is None) == (self.approval is None):
            raise ValueError("needs a bot or an approval, and not both")
        extra = {"parameters", "each", "limit", "width", "retries", "delay", "timeout"} & self.model_fields_set
        if self.approval is not None and any(getattr(self, key) for key in extra - {"limit", "width", "delay"}):
            raise ValueError(f"is an approval, which has no {min(extra)}")
        if self.each is not None and not isinstance(self.each, str | list):
            raise ValueError("has an `each` that is no list: write a list, or an expression such as {{STEP.a.rows}}")
        return self

    @property
    def policy(self) -> Policy:
        """What holds for each of its jobs."""
        return Policy(Retrying(retries=self.retries, delay=self.delay), self.timeout)
