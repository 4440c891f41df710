"""What a workspace decides about its bots' isolation and resources holds at the next start of a bot."""

import json
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from runner.worker import isolation, landlock
from tests.support import wait_until
from tests.system import System

ENOUGH = 60.0


@pytest.fixture
def policies(system: System) -> Iterator[System]:
    """A system whose policies are put back."""
    yield system
    for environment in ("dev", "staging", "prod"):
        decide(system, environment, unset="warn", isolation="any")
    limit(system, **dict.fromkeys(("memory", "cpu_time", "open_files", "processes", "output", "disk")))


def decide(system: System, environment: str, **policy: str) -> dict[str, Any]:
    answer = system.client.put(f"/api/v1/environments/{environment}", json=policy)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def limit(system: System, **limits: object) -> dict[str, Any]:
    answer = system.client.patch("/api/v1/workspace/limits", json=limits)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def until(system: System, reason: str | None, environment: str = "dev", bot: str = "tells") -> dict[str, Any]:
    """The first job with that reason: a runner may know an older policy for five seconds."""

    def tried() -> dict[str, Any]:
        job = system.run(bot, environment)
        return job if job["reason"] == reason else {}

    return wait_until(tried, ENOUGH, f"a job with the reason {reason}")


def test_a_runner_says_what_its_kernel_gives(system: System) -> None:
    # Other tests of this process start runners beside it, named by them, and kill some.
    (row,) = [item for item in system.runners() if item["name"] == socket.gethostname()]
    assert row["isolation"]["landlock"] == landlock.abi()
    assert row["isolation"]["root"] == (os.geteuid() == 0)
    own = row["isolation"].pop("cgroup")
    assert own in {True, False}, "whether it got a control group shows only in the runner"
    known = json.loads(json.dumps(isolation.examine().document()))
    assert row["isolation"] == {name: value for name, value in known.items() if name != "cgroup"}


@pytest.mark.skipif(isolation.examine().bubblewrap is not None, reason="this host can make sandboxes")
def test_a_job_that_must_be_in_a_sandbox_fails_before_anything_is_decrypted(policies: System) -> None:
    system = policies
    system.add_bot()
    system.set_value("SAP.PASSWORD", "value-1", "staging")
    assert decide(system, "staging", isolation="sandbox")["isolation"] == "sandbox"
    job = until(system, "isolation", "staging")
    assert (job["state"], job["readings"]) == ("failed", [])
    assert (
        "This runner cannot isolate the bot: isolation 'sandbox' is asked for, and bubblewrap is not" in job["detail"]
    )
    assert decide(system, "staging", isolation="any")["isolation"] == "any"
    assert until(system, None, "staging")["state"] == "succeeded"
    system.add_bot("boxed", toml='isolation = "sandbox"')
    assert system.run("boxed")["reason"] == "isolation"


def test_unknown_policies_are_refused_with_a_sentence(system: System) -> None:
    for path, body, words in (
        ("environments/prod", {"isolation": "strict"}, "is `any`, `landlock`, `user` or `sandbox`, not 'strict'"),
        ("environments/prod", {}, "Say what to change"),
    ):
        answer = system.client.put(f"/api/v1/{path}", json=body)
        assert (answer.status_code, words in answer.json()["error"]["message"]) == (422, True), answer.text
    for limits, words in (
        ({"memory": "1KB"}, "The limit 'memory' must be between 16MB and"),
        ({"memry": "1GB"}, "There is no limit 'memry'"),
        ({"open_files": 3}, "'open_files' must be greater than or equal to 16"),
        ({}, "Say which limit to change"),
    ):
        answer = system.client.patch("/api/v1/workspace/limits", json=limits)
        assert (answer.status_code, words in answer.json()["error"]["message"]) == (422, True), answer.text


def test_the_lower_of_the_workspaces_and_the_bots_limits_holds(policies: System) -> None:
    system = policies
    hungry = "keep = bytearray(100 << 20)\nprint('had it')"
    system.add_bot("hungry", hungry)
    system.add_bot("modest", hungry, toml='limits = { memory = "64MB" }')
    system.add_bot("greedy", hungry, toml='limits = { memory = "1GB" }')
    job = until(system, "limit", bot="modest")
    assert "`memory`" in job["detail"]
    assert until(system, None, bot="hungry")["state"] == "succeeded"
    told = limit(system, memory="64MB", cpu_time="5m")
    assert told["chosen"]["memory"] == told["limits"]["memory"] == 64 << 20
    assert told["limits"]["processes"] == 1024
    assert "`memory`" in until(system, "limit", bot="greedy")["detail"]
    assert limit(system, memory=None)["chosen"]["memory"] is None
    assert until(system, None, bot="greedy")["state"] == "succeeded"


def test_output_beyond_its_limit_is_not_kept_and_the_job_says_so(policies: System) -> None:
    system = policies
    system.add_bot("talks", "print('x' * 100_000)", toml='limits = { output = "4KB" }')
    job = system.run("talks")
    assert job["state"] == "succeeded"
    assert any("limit `output`" in warning for warning in job["warnings"])
    assert sum(map(len, system.log(job["id"], "stdout"))) <= 4096
