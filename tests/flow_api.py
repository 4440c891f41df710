"""Queues and workflows over the API of a test, with jobs that end as the test says and a scheduler of its own."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from runner import jobs, results
from runner.jobs import Claim, Report
from runner.states import Reason, State
from scheduler.advancing import Advancer
from tests.api import Api, error_of
from vault import db


@dataclass(slots=True)
class FlowApi:
    """An API with what a scheduler and a runner do to runs; `tick` is one round of the scheduler."""

    api: Api
    advancer: Advancer = field(init=False)

    def __post_init__(self) -> None:
        self.advancer = Advancer(self.api.console.engine, self.api.console.transport)

    def save(self, kind: str, name: str, definition: dict[str, Any], *, status: int = 201) -> dict[str, Any]:
        answer = self.api.client.post(f"/api/v1/{kind}s", params={"name": name}, json=definition)
        assert answer.status_code == status, answer.text
        return dict(answer.json())

    def refused(self, kind: str, definition: dict[str, Any]) -> str:
        answer = self.api.client.post(f"/api/v1/{kind}s", params={"name": "x"}, json=definition)
        assert answer.status_code == 422, answer.text
        return error_of(answer)

    def start(self, kind: str, name: str, **order: object) -> str:
        answer = self.api.client.post(f"/api/v1/{kind}s/{name}/runs", json=order)
        assert answer.status_code == 201, answer.text
        self.tick()
        return str(answer.json()["id"])

    def tick(self) -> None:
        self.advancer.look_at_due()

    def run(self, run_id: str) -> dict[str, Any]:
        answer = self.api.client.get(f"/api/v1/runs/{run_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def steps(self, run_id: str) -> dict[str, str]:
        return {step["name"]: step["state"] for step in self.run(run_id)["steps"]}

    def jobs_of(self, run_id: str) -> list[tuple[str, int, int]]:
        """Step, element and number of every try that has a job."""
        return [
            (step["name"], element["item"], made["number"])
            for step in self.run(run_id)["steps"]
            for element in step["items"]
            for made in element["tries"]
            if made["job_id"]
        ]

    def claim(self, environment: str = "dev", group: str = "default") -> Claim | None:
        return jobs.claim(self.api.direct, environment=environment, group=group, runner="host")

    def do(
        self, state: State = State.SUCCEEDED, *, environment: str = "dev", give: dict[str, Any] | None = None
    ) -> Claim:
        """Take the next job, end it, and let the scheduler look."""
        claim = self.claim(environment)
        assert claim is not None, "there is no job"
        for key, value in (give or {}).items():
            with db.writing(self.api.console.engine) as session:
                results.give(session, claim.job_id, key, value, attempt=claim.attempt)
        reason = None if state is State.SUCCEEDED else Reason.EXIT_CODE
        report = Report(state=state, reason=reason, exit_code=0)
        assert jobs.finish(self.api.direct, claim.job_id, attempt=claim.attempt, report=report)
        self.tick()
        return claim

    def parameters(self, job_id: UUID) -> dict[str, Any]:
        return dict(self.api.client.get(f"/api/v1/jobs/{job_id}").json()["parameters"])
