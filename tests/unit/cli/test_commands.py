"""Each command asks what contracts say, shows it to a person, and gives the same to a program as JSON."""

import io
import json
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Answer, Botkeep, Console, items

HOUR_AGO = (datetime.now(UTC) - timedelta(hours=1, minutes=5)).isoformat()
DONE = Answer(None, 204)


def asset(name: str, **values: dict[str, Any]) -> dict[str, Any]:
    environments = {"dev": None, "staging": None, "prod": None} | values
    return {"asset": name, "scope": "workspace", "description": "", "environments": environments}


def value(number: int, *, empty: bool = False) -> dict[str, Any]:
    return {"number": number, "set_at": HOUR_AGO, "set_by": "ann", "size": 3, "empty": empty}


@pytest.mark.parametrize(
    ("line", "path", "next_step"),
    [
        ("bot list", "/api/v1/bots", "botkeep bot add"),
        ("asset list", "/api/v1/assets", "botkeep asset set"),
        ("asset coverage", "/api/v1/coverage", "botkeep asset set"),
        ("job list", "/api/v1/jobs", "botkeep run"),
        ("history", "/api/v1/jobs", "botkeep run"),
        ("runner list", "/api/v1/runners", "botkeep runner --environment"),
        ("token list", "/api/v1/tokens", "botkeep token create"),
        ("user list", "/api/v1/users", "botkeep user add"),
        ("secret list", "/api/v1/assets", "botkeep secret write"),
        ("environment list", "/api/v1/environments", "keygen"),
        ("concurrency list", "/api/v1/concurrency", "botkeep concurrency set"),
        ("audit list", "/api/v1/audit", "Nothing has happened"),
    ],
)
def test_an_empty_list_says_what_to_do_next_and_is_no_error(
    console: Console, botkeep: Botkeep, line: str, path: str, next_step: str
) -> None:
    console.on("GET", path, items())
    console.on("GET", "/api/v1/coverage/refusals", items())
    result = botkeep(*line.split())
    assert (result.status, result.out) == (0, "")
    assert next_step in result.err
    assert botkeep(*line.split(), "--json").out == ""


@pytest.mark.parametrize(
    ("line", "method", "path", "answer", "body"),
    [
        ("bot remove b", "DELETE", "/api/v1/bots/b", DONE, None),
        (
            "user add ann --role dev --in prod=viewer --subject s",
            "POST",
            "/api/v1/users",
            Answer({"name": "ann"}, 201),
            {"name": "ann", "role": "dev", "narrowed": {"prod": "viewer"}, "subject": "s"},
        ),
        (
            "user role ann --role viewer",
            "PUT",
            "/api/v1/users/ann/role",
            Answer({"name": "ann"}),
            {"role": "viewer", "narrowed": {}},
        ),
        ("user remove ann", "DELETE", "/api/v1/users/ann", Answer({"name": "ann", "tokens": []}), None),
        ("user link ann", "POST", "/api/v1/users/ann/links", Answer({"url": "http://x"}, 201), None),
        ("user totp ann", "DELETE", "/api/v1/users/ann/totp", DONE, None),
        ("workspace add w", "POST", "/api/v1/workspaces", Answer({"token": "bk_x"}, 201), {"name": "w"}),
        ("asset remove G.N --bot b", "DELETE", "/api/v1/assets/G/N", DONE, None),
        ("asset unset G.N --env prod", "DELETE", "/api/v1/assets/G/N/values/prod", DONE, None),
        (
            "asset rollback G.N --env dev --to 3",
            "POST",
            "/api/v1/assets/G/N/values/dev/rollback",
            Answer({"number": 5}),
            {"number": 3},
        ),
        ("job cancel 7", "POST", "/api/v1/jobs/7/cancellation", Answer({"state": "cancelled"}), None),
        ("job pause 7", "PUT", "/api/v1/jobs/7/pause", Answer({"state": "queued"}), None),
        ("job resume 7", "DELETE", "/api/v1/jobs/7/pause", Answer({"state": "queued"}), None),
        ("job retry 7", "POST", "/api/v1/jobs/7/retry", Answer({"id": "8"}, 201), None),
        ("runner drain r", "PUT", "/api/v1/runners/r/drain", Answer({"name": "r"}), None),
        ("runner remove r", "DELETE", "/api/v1/runners/r", DONE, None),
        ("token remove t", "DELETE", "/api/v1/tokens/t", DONE, None),
        ("secret delete N", "DELETE", "/api/v1/assets/GLOBAL/N", DONE, None),
        ("secret delete Global.N", "DELETE", "/api/v1/assets/GLOBAL/N", DONE, None),
        (
            "environment set prod --unset refuse",
            "PUT",
            "/api/v1/environments/prod",
            Answer({"environment": "prod", "unset": "refuse"}),
            {"unset": "refuse"},
        ),
        (
            "environment set prod --isolation sandbox",
            "PUT",
            "/api/v1/environments/prod",
            Answer({"environment": "prod", "isolation": "sandbox"}),
            {"isolation": "sandbox"},
        ),
        (
            "workspace limits memory=2GB cpu_time=default open_files=64",
            "PATCH",
            "/api/v1/workspace/limits",
            Answer({"chosen": {"memory": 2 << 30}, "limits": {"memory": 2 << 30}}),
            {"memory": "2GB", "cpu_time": None, "open_files": 64},
        ),
        (
            "concurrency set 1 --env prod --asset SAP.LOGIN",
            "PUT",
            "/api/v1/concurrency/prod/asset",
            Answer({"running": 0}),
            {"at_once": 1, "target": "SAP.LOGIN"},
        ),
        ("concurrency remove --env dev --bot b", "DELETE", "/api/v1/concurrency/dev/bot", DONE, None),
        (
            "token create t --role dev --env dev --env prod",
            "POST",
            "/api/v1/tokens",
            Answer({"token": "bk_new"}, 201),
            {"name": "t", "role": "dev", "environments": ["dev", "prod"]},
        ),
    ],
)
def test_a_change_is_one_request_and_answers_json_when_asked(
    console: Console, botkeep: Botkeep, line: str, method: str, path: str, answer: Answer, body: object
) -> None:
    console.on(method, path, answer)
    assert botkeep(*line.split()).status == 0
    result = botkeep(*line.split(), "--json")
    assert result.status == 0
    assert isinstance(result.lines[0], dict)
    assert [f"{request.method} {request.path}" for request in console.requests] == [f"{method} {path}"] * 2
    assert (console.requests[0].json if console.requests[0].body else None) == body


def test_coverage_ends_with_the_bots_that_would_be_refused(console: Console, botkeep: Botkeep) -> None:
    console.on("GET", "/api/v1/coverage", items())
    refused = {"bot": "report", "environment": "prod", "missing": ["SAP.LOGIN", "DB.URL"]}
    console.on("GET", "/api/v1/coverage/refusals", items(refused))
    assert "report would be refused in prod: no value for SAP.LOGIN, DB.URL." in botkeep("asset", "coverage").err


def test_the_bot_of_an_asset_is_in_the_query(console: Console, botkeep: Botkeep) -> None:
    console.on("GET", "/api/v1/assets", items())
    botkeep("asset", "list", "--bot", "report")
    assert console.requests[0].query["bot"] == "report"


def test_assets_are_listed_with_the_number_and_the_time_of_each_environment(console: Console, botkeep: Botkeep) -> None:
    console.on("GET", "/api/v1/assets", items(asset("SAP.PASSWORD", dev=value(3), prod=value(1, empty=True))))
    out = botkeep("asset", "list").out
    assert "#3 " in out
    assert "(1 h ago)" in out
    assert "#1 empty" in out


def test_an_asset_shows_its_history_by_number(console: Console, botkeep: Botkeep) -> None:
    history = {"dev": [{"number": n, "created_at": HOUR_AGO, "created_by": "ann", "current": n == 2} for n in (1, 2)]}
    console.on("GET", "/api/v1/assets/SAP/PASSWORD", Answer(asset("SAP.PASSWORD") | {"history": history}))
    lines = botkeep("asset", "show", "SAP.PASSWORD").out.splitlines()
    assert "[dev]" in lines
    assert "[prod] no value" in lines
    assert any(line.startswith("  * #2") for line in lines)
    assert any(line.startswith("    #1") for line in lines)


def test_global_assets_are_those_of_that_group_only(console: Console, botkeep: Botkeep) -> None:
    console.on(
        "GET",
        "/api/v1/assets",
        items(asset("GLOBAL.A"), asset("GLOBALS.B"), following="2"),
        items(asset("GLOBAL.C")),
    )
    found = botkeep("secret", "list", "--json").lines
    assert [item["asset"] for item in found] == ["GLOBAL.A", "GLOBAL.C"]


def test_a_command_that_is_nearly_one_is_asked_for_in_a_whole_sentence(botkeep: Botkeep) -> None:
    assert "Did you mean 'workflow'? See: botkeep --help" in botkeep("flow").err


@pytest.mark.parametrize("command", ["write", "delete"])
def test_an_asset_of_another_group_is_not_taken_for_a_global_one(botkeep: Botkeep, command: str) -> None:
    result = botkeep("secret", command, "SAP.PASSWORD")
    assert result.status == 5
    assert "'SAP.PASSWORD' is not the name of an asset of the group GLOBAL" in result.err


@pytest.mark.parametrize("name", ["A-B.C", "A B.C", "A", "A.B.C", "Ä.B", ".B", "A.", "A" * 129 + ".B", "A\n.B"])
def test_a_malformed_asset_is_refused_before_anything_is_asked(console: Console, botkeep: Botkeep, name: str) -> None:
    result = botkeep("asset", "show", name)
    assert result.status == 5
    assert "GROUP.NAME" in result.err
    assert console.requests == []


def test_a_new_token_is_alone_on_stdout(console: Console, botkeep: Botkeep) -> None:
    console.on("POST", "/api/v1/tokens", Answer({"token": "bk_new"}, 201))
    result = botkeep("token", "create", "ci", "--role", "operator")
    assert result.out == "bk_new\n"
    assert "only time" in result.err


def test_an_unknown_environment_names_itself(console: Console, botkeep: Botkeep) -> None:
    result = botkeep("run", "b", "--env", "production", "--json")
    assert result.status == 2
    assert result.err.startswith(
        "botkeep: Invalid value for '--env': 'production' is not one of 'dev', 'staging', 'prod'."
    )
    assert result.lines[0]["error"]["code"] == "usage"


def test_a_missing_choice_is_one_sentence_on_one_line(console: Console, botkeep: Botkeep) -> None:
    result = botkeep("asset", "set", "SAP.PASSWORD")
    assert result.err == (
        "botkeep: Missing option '--env'. Choose from: dev, staging, prod. See: botkeep asset set --help\n"
    )


def test_bot_add_sends_the_files_as_an_archive(console: Console, botkeep: Botkeep, tmp_path: Path) -> None:
    bot = tmp_path / "hello.py"
    bot.write_text("print('hello')")
    console.on("POST", "/api/v1/bots", Answer({"name": "hello", "version": 2, "digest": "ab" * 32}, 201))
    result = botkeep("bot", "add", "hello", bot)
    assert (result.status, result.out) == (0, "hello version 2 (abababababab)\n")
    request = console.requests[0]
    assert request.query == {"name": "hello"}
    assert request.headers["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(request.body)) as archive:
        assert archive.read("hello.py") == b"print('hello')"


def test_a_full_first_page_of_history_says_that_there_is_more(console: Console, botkeep: Botkeep) -> None:
    jobs = [{"id": str(n), "bot": "b", "environment": "dev", "state": "queued"} for n in range(50)]
    console.on("GET", "/api/v1/jobs", items(*jobs, following="x"))
    result = botkeep("history", "--env", "dev", "--bot", "b", "--state", "queued")
    assert console.requests[0].query == {"environment": "dev", "bot": "b", "state": "queued", "limit": "50"}
    assert "--limit 0" in result.err
    assert len(result.out.splitlines()) == 51


def test_history_is_narrowed_by_cause_runner_time_and_text(console: Console, botkeep: Botkeep) -> None:
    console.on("GET", "/api/v1/jobs", items())
    day = ("--since", "2026-11-01", "--until", "2026-11-02T00:00:00+01:00")
    botkeep("job", "list", "--cause", "trigger:nightly", "--runner", "r1", *day, "--text", "disk full")
    assert console.requests[0].query == {
        "cause": "trigger:nightly",
        "runner": "r1",
        "since": "2026-11-01T00:00:00+00:00",
        "until": "2026-11-02T00:00:00+01:00",
        "text": "disk full",
        "limit": "50",
    }
    botkeep("history", "--since", "2h")
    ago = datetime.now(UTC) - datetime.fromisoformat(console.requests[1].query["since"])
    assert timedelta(hours=2) <= ago < timedelta(hours=2, minutes=5)
    refused = botkeep("history", "--since", "yesterday")
    assert (refused.status, len(console.requests)) == (2, 2)
    assert "2h, 7d" in refused.err


def test_a_job_shows_how_it_went_and_which_values_it_used(console: Console, botkeep: Botkeep) -> None:
    job = {
        "id": "7",
        "bot": "report",
        "version": 2,
        "environment": "prod",
        "state": "failed",
        "reason": "exit_code",
        "exit_code": 3,
        "detail": "It gave up.",
        "attempt": 1,
        "attempts": [{"number": 1}],
        "created_at": HOUR_AGO,
        "runner": "host-a",
        "cause": {"kind": "person", "name": "ann", "id": None},
        "parameters": {"password": "{{ASSET.SAP.PASSWORD}}"},
        "readings": [{"asset": "SAP.PASSWORD", "scope": "workspace", "number": 4}],
        "warnings": ["SAP.USER has no value in prod."],
    }
    console.on("GET", "/api/v1/jobs/7", Answer(job))
    out = botkeep("job", "show", "7").out
    for text in (
        "[prod]",
        "exit_code: It gave up.",
        "{{ASSET.SAP.PASSWORD}}",
        "SAP.PASSWORD #4 (workspace)",
        "SAP.USER",
    ):
        assert text in out
    assert botkeep("job", "show", "7", "--json").lines == [job]


def test_what_others_wrote_cannot_steer_the_terminal(console: Console, botkeep: Botkeep) -> None:
    console.on("GET", "/api/v1/assets", items(asset("A.B") | {"description": "\x1b[2Jgone\u202e"}))
    out = botkeep("asset", "list").out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "\\x1b[2Jgone" in out


def test_the_list_of_runners_says_what_each_serves_carries_and_is_called(console: Console, botkeep: Botkeep) -> None:
    runner = {
        "name": "host-a",
        "state": "online",
        "host": "a.example",
        "version": "0.1.0",
        "environments": ["dev", "prod"],
        "groups": ["default", "windows"],
        "labels": {"os": "linux", "note": "\x1b[2J"},
        "running": 2,
        "concurrency": 4,
        "heartbeat_at": HOUR_AGO,
    }
    console.on("GET", "/api/v1/runners", items(runner))
    title, line = botkeep("runner", "list").out.splitlines()
    assert title.split()[:7] == ["NAME", "STATE", "SERVES", "GROUPS", "LOAD", "LABELS", "HOST"]
    for text in ("host-a", "[dev] [prod]", "default windows", "2 of 4", "os=linux", "a.example", "0.1.0"):
        assert text in line
    assert "\x1b" not in line
    assert botkeep("runner", "list", "--json").lines == [runner]


def test_a_chain_that_does_not_hold_is_status_1_and_every_finding_a_line(
    console: Console, botkeep: Botkeep, tmp_path: Path
) -> None:
    heads, here = tmp_path / "heads.jsonl", "01920000-0000-7000-8000-000000000000"
    lines = [{"workspace": owner, "seq": 2, "hash": "ab" * 32, "at": HOUR_AGO} for owner in (here, "another")]
    heads.write_text("".join(json.dumps(line) + "\n" for line in lines))
    rest = {"seq": 2, "hash": "cd" * 32, "unsealed": 0, "unsealed_since": None, "next": None}
    wrong = {"kind": "edited", "seq": 1, "id": here, "sentence": "Row 1 was edited."}
    console.on("GET", "/api/v1/audit/verification", Answer({"checked": 2, "findings": [wrong], **rest}))
    console.on("POST", "/api/v1/audit/comparisons", Answer({"workspace": here, "compared": 0, "findings": []}))
    result = botkeep("audit", "verify", "--anchors", heads)
    assert result.status == 1
    assert result.out.splitlines() == [
        "edited: Row 1 was edited.",
        "The chain is broken: 2 rows checked, 1 anchored heads compared.",
    ]
    console.on("GET", "/api/v1/audit/verification", Answer({"checked": 2, "findings": [], **rest}))
    assert botkeep("audit", "verify", "--anchors", heads, "--json").lines[0]["ok"] is True
    heads.write_text("no json")
    assert botkeep("audit", "verify", "--anchors", heads).status == 5
