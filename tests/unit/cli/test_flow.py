"""`botkeep queue`, `workflow` and `item`: which requests they make, and what they say and exit with."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Answer, Botkeep, Console, items

RUN_ID = "0198a000-0000-7000-8000-000000000001"


def run(state: str, *steps: dict[str, Any], **more: object) -> dict[str, Any]:
    return {"id": RUN_ID, "kind": "queue", "name": "q", "environment": "dev", "state": state, "steps": steps} | more


def step(name: str, state: str, **more: object) -> dict[str, Any]:
    return {"name": name, "state": state, "detail": None, "reason": None, "items": [], "approval": None} | more


@pytest.mark.parametrize(
    ("file", "text"), [("q.toml", '[[items]]\nbot = "a"\n'), ("q.json", '{"items": [{"bot": "a"}]}')]
)
def test_a_definition_is_sent_whatever_its_format(
    console: Console, botkeep: Botkeep, tmp_path: Path, file: str, text: str
) -> None:
    (tmp_path / file).write_text(text)
    console.on("POST", "/api/v1/queues", Answer({"name": "q", "version": 3, "new": True}, 201))
    result = botkeep("queue", "add", "q", "--file", str(tmp_path / file))
    assert (result.status, result.out) == (0, "queue q version 3. Run it: botkeep queue run q\n")
    assert console.requests[0].query == {"name": "q"}
    assert console.requests[0].json == {"items": [{"bot": "a"}]}


def test_run_names_no_environment_unless_told_and_prints_the_id(console: Console, botkeep: Botkeep) -> None:
    console.on("POST", "/api/v1/workflows/w/runs", Answer(run("running"), 201))
    assert botkeep("workflow", "run", "w", "--param", "a=1").out == f"{RUN_ID}\n"
    assert botkeep("workflow", "run", "w", "--env", "prod", "--idempotency-key", "k").status == 0
    assert [each.json for each in console.requests] == [
        {"parameters": {"a": "1"}},
        {"parameters": {}, "environment": "prod", "idempotency_key": "k"},
    ]


@pytest.mark.parametrize(("state", "status"), [("succeeded", 0), ("failed", 1), ("cancelled", 1)])
def test_follow_tells_each_step_and_exits_as_the_run_went(
    console: Console, botkeep: Botkeep, state: str, status: int
) -> None:
    console.on("POST", "/api/v1/queues/q/runs", Answer(run("running"), 201))
    going = [
        run("running", step("a", "running"), step("b", "waiting")),
        run("running", step("a", "succeeded"), step("b", "running")),
        run(state, step("a", "succeeded"), step("b", state), detail="The end."),
    ]
    console.on("GET", f"/api/v1/runs/{RUN_ID}", *map(Answer, going))
    result = botkeep("queue", "run", "q", "--follow")
    assert result.status == status
    told = ["a running", "a succeeded", "b running", f"b {state}"]
    assert result.out.splitlines() == [RUN_ID, *told, f"Run {RUN_ID} {state}: The end."]


def test_the_id_of_a_run_means_that_run_and_a_name_all_of_them(console: Console, botkeep: Botkeep) -> None:
    for path in ("/api/v1/queues/q/pause", f"/api/v1/runs/{RUN_ID}/pause"):
        console.on("PUT", path, Answer({}))
        console.on("DELETE", path, Answer({}))
    for words in (("pause", "q"), ("pause", RUN_ID), ("resume", "q"), ("resume", RUN_ID)):
        assert botkeep("queue", *words).status == 0
    assert [(each.method, each.path) for each in console.requests] == [
        ("PUT", "/api/v1/queues/q/pause"),
        ("PUT", f"/api/v1/runs/{RUN_ID}/pause"),
        ("DELETE", "/api/v1/queues/q/pause"),
        ("DELETE", f"/api/v1/runs/{RUN_ID}/pause"),
    ]


def test_show_of_a_run_lists_its_steps_tries_and_questions(console: Console, botkeep: Botkeep) -> None:
    made = {"number": 1, "job_id": "j1", "state": "failed", "reused": True}
    question = {"allowed": None, "question": "Book?"}
    shown = run(
        "running",
        step("a", "failed", detail="no luck", items=[{"item": 0, "tries": [made]}]),
        step("ask", "approval", approval=question),
        version=2,
        created_at="2026-08-01T12:00:00Z",
        cause={"kind": "api", "name": "ann"},
        requested_by="ann",
    )
    console.on("GET", f"/api/v1/runs/{RUN_ID}", Answer(shown))
    out = botkeep("workflow", "show", RUN_ID).out
    for words in (
        "a  failed  no luck",
        "0.1  job j1  failed (of the run before)",
        "Book? Answer: botkeep workflow approve",
    ):
        assert words in out


def test_an_answer_a_restart_and_a_cancellation_go_where_they_belong(console: Console, botkeep: Botkeep) -> None:
    console.on("PUT", f"/api/v1/runs/{RUN_ID}/approvals/ask", Answer(run("running")))
    console.on("POST", f"/api/v1/runs/{RUN_ID}/restart", Answer(run("running"), 201))
    console.on("POST", f"/api/v1/runs/{RUN_ID}/cancellation", Answer(run("running")))
    assert botkeep("workflow", "approve", RUN_ID, "ask", "--comment", "fine").out == "ask is allowed.\n"
    assert botkeep("workflow", "refuse", RUN_ID, "ask").out == "ask is refused.\n"
    assert botkeep("workflow", "restart", RUN_ID, "--from", "a").out == f"{RUN_ID}\n"
    assert botkeep("workflow", "cancel", RUN_ID, "--json").lines[0]["id"] == RUN_ID
    assert [each.json for each in console.requests[:3]] == [
        {"decision": "allow", "comment": "fine"},
        {"decision": "refuse"},
        {"from": "a"},
    ]


def test_runs_are_listed_of_one_kind(console: Console, botkeep: Botkeep) -> None:
    console.on("GET", "/api/v1/runs", items(run("failed", created_at="2026-08-01T12:00:00Z")))
    result = botkeep("queue", "runs", "q", "--state", "failed", "--json")
    assert [each["id"] for each in result.lines] == [RUN_ID]
    assert {"kind": "queue", "name": "q", "state": "failed"}.items() <= console.requests[0].query.items()


def test_an_item_comes_from_a_file_and_what_is_no_json_is_refused(
    console: Console, botkeep: Botkeep, tmp_path: Path
) -> None:
    console.on("POST", "/api/v1/work-items", Answer({"id": "i1"}, 201))
    file = tmp_path / "data.json"
    file.write_text(json.dumps({"n": 1}))
    words = ("item", "add", "tray", "--env", "prod", "--file", str(file), "--reference", "r", "--retries", "0")
    assert botkeep(*words).out == "i1\n"
    wanted = {"tray": "tray", "environment": "prod", "data": {"n": 1}, "reference": "r", "retries": 0}
    assert console.requests[0].json == wanted
    file.write_text("nonsense")
    assert botkeep(*words).status == 5


def test_items_are_shown_retried_and_removed(console: Console, botkeep: Botkeep) -> None:
    shown = {"id": "i1", "tray": "t", "environment": "dev", "state": "dead", "tries": 4, "retries": 3, "data": {"n": 1}}
    console.on("GET", "/api/v1/work-items/i1", Answer(shown))
    console.on("POST", "/api/v1/work-items/i1/retry", Answer(shown))
    console.on("DELETE", "/api/v1/work-items/i1", Answer(None, 204))
    assert '{"n": 1}' in botkeep("item", "show", "i1").out
    assert "again" in botkeep("item", "retry", "i1").out
    assert botkeep("item", "remove", "i1", "--json").lines == [{"id": "i1", "removed": True}]
