"""`botkeep trigger` and `botkeep calendar`: what they send, and the files they read."""

import io
import json
import sys
from pathlib import Path

import pytest

from cli import definitions
from cli.errors import NotFound, Refused
from tests.unit.cli.conftest import Answer, Botkeep, Console, items

HOOK = {
    "name": "t",
    "kind": "webhook",
    "target": {"kind": "bot", "name": "b"},
    "environment": "prod",
    "enabled": True,
    "paused_at": None,
    "next_fire_at": None,
    "hook": "/hooks/7",
    "key_set": False,
    "definition": {"bot": "b"},
    "last_firing": {"instant": "2031-03-03T07:00:00Z", "state": "skipped", "why": "overlap: it runs."},
}
TOML = 'bot = "b"\n[schedule]\ncron = "0 7 * * *"\nstart = 2031-01-01\n'


def test_a_definition_is_sent_as_the_file_says_it(console: Console, botkeep: Botkeep, tmp_path: Path) -> None:
    console.on("POST", "/api/v1/triggers", Answer(HOOK, 201))
    (tmp_path / "t.toml").write_text(TOML)
    (tmp_path / "t.json").write_text('{"bot": "b", "schedule": {"cron": "0 7 * * *", "start": "2031-01-01"}}')
    said = [botkeep("trigger", "add", "t", "--file", tmp_path / name) for name in ("t.toml", "t.json")]
    assert [result.status for result in said] == [0, 0]
    assert "botkeep trigger key t" in said[0].out
    bodies = [json.loads(request.body) for request in console.requests]
    assert (
        bodies[0]
        == bodies[1]
        == {
            "name": "t",
            "definition": {"bot": "b", "schedule": {"cron": "0 7 * * *", "start": "2031-01-01"}},
        }
    )


@pytest.mark.parametrize(("name", "text"), [("t.toml", "bot = "), ("t.json", "{"), ("t.json", "[]")])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(Refused):
        definitions.definition(tmp_path / name)
    with pytest.raises(NotFound):
        definitions.definition(tmp_path / "none.toml")


def test_a_trigger_is_shown_with_its_address_and_its_latest_firing(console: Console, botkeep: Botkeep) -> None:
    console.on("GET", "/api/v1/triggers/t", Answer(HOOK))
    shown = botkeep("trigger", "show", "t").out
    assert f"{console.url}/hooks/7" in shown
    assert "skipped: overlap: it runs." in shown
    assert botkeep("trigger", "show", "t", "--json").lines == [HOOK]


@pytest.mark.parametrize(
    ("line", "method", "path", "answer", "body"),
    [
        ("trigger pause t", "PUT", "/api/v1/triggers/t/pause", HOOK, None),
        ("trigger resume t", "DELETE", "/api/v1/triggers/t/pause", HOOK, None),
        ("trigger remove t", "DELETE", "/api/v1/triggers/t", None, None),
        (
            "trigger run t --env prod --param A=1 --idempotency-key k",
            "POST",
            "/api/v1/triggers/t/runs",
            {"started": {"kind": "bot", "id": "7"}},
            {"environment": "prod", "parameters": {"A": "1"}, "idempotency_key": "k"},
        ),
        ("calendar remove c", "DELETE", "/api/v1/calendars/c", None, None),
    ],
)
def test_each_verb_is_one_request(
    console: Console,
    botkeep: Botkeep,
    line: str,
    method: str,
    path: str,
    answer: dict[str, object] | None,
    body: dict[str, object] | None,
) -> None:
    console.on(method, path, Answer(answer, 200 if answer else 204))
    result = botkeep(*line.split())
    assert result.status == 0, result.err
    assert result.out
    (request,) = console.requests
    assert (json.loads(request.body) if request.body else None) == body
    assert botkeep(*line.split(), "--json").lines


@pytest.mark.parametrize(
    ("line", "path", "next_step"),
    [
        ("trigger list", "/api/v1/triggers", "botkeep trigger add"),
        ("trigger firings t", "/api/v1/triggers/t/firings", "not fired"),
        ("trigger preview t", "/api/v1/triggers/t/preview", "no further instant"),
        ("calendar list", "/api/v1/calendars", "botkeep calendar set"),
    ],
)
def test_an_empty_list_says_so(console: Console, botkeep: Botkeep, line: str, path: str, next_step: str) -> None:
    console.on("GET", path, items())
    result = botkeep(*line.split())
    assert (result.status, result.out) == (0, "")
    assert next_step in result.err


def test_a_new_key_is_printed_alone_and_a_given_one_never(
    console: Console, botkeep: Botkeep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    console.on("POST", "/api/v1/triggers/t/key", Answer({**HOOK, "key": "bkh_new"}, 201))
    console.on("PUT", "/api/v1/triggers/t/key", Answer(HOOK))
    made = botkeep("trigger", "key", "t")
    assert made.out == "bkh_new\n"
    assert "/hooks/7" in made.err
    (tmp_path / "key").write_text("the sender's own key\n")
    given = botkeep("trigger", "key", "t", "--file", tmp_path / "key")
    piped = io.TextIOWrapper(io.BytesIO(b"the sender's own key\n"))
    monkeypatch.setattr(sys, "stdin", piped)
    by_pipe = botkeep("trigger", "key", "t", "--given")
    assert [json.loads(request.body) for request in console.requests[1:]] == [{"key": "the sender's own key"}] * 2
    assert "sender's own" not in given.out + given.err + by_pipe.out + by_pipe.err


def test_a_calendar_is_read_from_lines_and_from_events(tmp_path: Path) -> None:
    (tmp_path / "days.txt").write_text("# holidays\n2027-12-25  # Christmas\n\n2027-01-01\n")
    assert definitions.days(tmp_path / "days.txt") == ["2027-01-01", "2027-12-25"]
    (tmp_path / "days.ics").write_bytes(
        b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nSUMMARY:Long\r\n  line\r\nDTSTART;VALUE=DATE:20271224\r\n"
        b"DTEND;VALUE=DATE:20271227\r\nEND:VEVENT\r\nBEGIN:VEVENT\r\nDTSTART:20270101T000000Z\r\nEND:VEVENT\r\n"
        b"END:VCALENDAR\r\n"
    )
    assert definitions.days(tmp_path / "days.ics") == ["2027-01-01", "2027-12-24", "2027-12-25", "2027-12-26"]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("d.txt", "2027-12-25\nsoon\n", "line 2"),
        ("d.txt", "20271225\n", "line 1"),
        ("d.ics", "BEGIN:VEVENT\nDTSTART:20271225\nRRULE:FREQ=YEARLY\nEND:VEVENT\n", "repeats"),
        ("d.ics", "BEGIN:VEVENT\nDTSTART:soon\nEND:VEVENT\n", "no day"),
    ],
)
def test_a_calendar_that_cannot_be_read_names_the_line(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(Refused, match=words):
        definitions.days(tmp_path / name)
