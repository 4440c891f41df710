"""Queues and workflows on a running system: what tests ask its console for."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.support import wait_until
from tests.system import System


@dataclass(frozen=True, slots=True)
class Flows:
    """The queues and workflows of one test, under names that no other test has."""

    system: System

    def save(self, kind: str, definition: Mapping[str, Any]) -> str:
        """Save a definition under a new name."""
        name = f"{kind}-{uuid.uuid4().hex[:8]}"
        answer = self.system.client.post(f"/api/v1/{kind}s", params={"name": name}, json=definition)
        assert answer.status_code == 201, answer.text
        return name

    def start(self, kind: str, name: str, **order: object) -> str:
        """The id of a new run."""
        answer = self.system.client.post(f"/api/v1/{kind}s/{name}/runs", json=order)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def run(self, run_id: str) -> dict[str, Any]:
        """A run with its steps."""
        answer = self.system.client.get(f"/api/v1/runs/{run_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def standing(self, run_id: str) -> dict[str, str]:
        """Where each step is."""
        return {step["name"]: step["state"] for step in self.run(run_id)["steps"]}

    def wait(self, run_id: str, *, timeout: float = 90) -> dict[str, Any]:
        """A run at its end."""

        def ended() -> bool:
            return str(self.run(run_id)["state"]) != "running"

        try:
            wait_until(ended, timeout, f"run {run_id} to end")
        except AssertionError as error:
            log = self.system.processes["scheduler"].log[-3000:]
            raise AssertionError(f"{error}\n{self.run(run_id)}\n{log}") from None
        return self.run(run_id)

    def job_of(self, run_id: str, step: str, *, item: int = 0) -> str:
        """The last job of a step, as soon as there is one."""

        def job() -> str | None:
            (found,) = (each for each in self.run(run_id)["steps"] if each["name"] == step)
            made = [element["tries"][-1]["job_id"] for element in found["items"] if element["item"] == item]
            return made[0] if made else None

        return str(wait_until(job, 60, f"a job of {step}"))


def tries(run: Mapping[str, Any]) -> list[tuple[str, int, int]]:
    """Step, element and number of every job of a run."""
    return [
        (step["name"], element["item"], made["number"])
        for step in run["steps"]
        for element in step["items"]
        for made in element["tries"]
        if made["job_id"]
    ]
