"""Reading, saving and keeping logs from the command line, against a console with canned answers."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Answer, Botkeep, Console, items


def line(number: int, text: str, stream: str = "stdout", **more: object) -> dict[str, Any]:
    at = "2026-08-01T12:00:00.500Z"
    return {"number": number, "at": at, "stream": stream, "text": text, "next": 10 * number, "continued": False} | more


def page(*lines: dict[str, Any], complete: bool = True, following: int = 0, note: str | None = None) -> Answer:
    return Answer({"items": list(lines), "next": following, "complete": complete, "note": note})


LOG = "/api/v1/jobs/j1/log"


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["--tail", "5"], {"tail": "5"}),
        (["--from", "10", "--to", "20"], {"from_line": "10", "to_line": "20"}),
        (["--from", "4096b", "--to", "8192b"], {"after": "4096", "until": "8192"}),
        (["--grep", "Error 5", "--stream", "stderr"], {"search": "Error 5", "stream": "stderr"}),
        (["--attempt", "2"], {"attempt": "2"}),
    ],
)
def test_a_part_of_a_log_is_asked_for(
    console: Console, botkeep: Botkeep, words: list[str], asked: dict[str, str]
) -> None:
    console.on("GET", LOG, page(line(1, "one")))
    assert botkeep("job", "logs", "j1", *words).out == "one\n"
    assert console.requests[0].query == {"limit": "1000"} | asked


def test_a_search_goes_on_where_nothing_was_found_yet(console: Console, botkeep: Botkeep) -> None:
    console.on("GET", LOG, page(complete=False, following=500), page(line(9, "found"), following=900))
    assert botkeep("job", "logs", "j1", "--grep", "found").out == "found\n"
    assert [request.query.get("after") for request in console.requests] == [None, "500"]


def test_the_pieces_of_a_long_line_become_one_again(console: Console, botkeep: Botkeep) -> None:
    parts = [line(1, "a", continued=True), line(2, "b", continued=True), line(3, "c"), line(4, "d", continued=True)]
    console.on("GET", LOG, page(*parts, line(5, "oh", "stderr"), line(6, "end", continued=True)))
    assert botkeep("job", "logs", "j1").out == "abc\nd\noh\nend\n"


def test_timestamps_are_in_front_of_each_line(console: Console, botkeep: Botkeep) -> None:
    console.on("GET", LOG, page(line(1, "one"), line(2, "two", "system")))
    shown = botkeep("job", "logs", "j1", "--timestamps").out
    assert shown == "2026-08-01T12:00:00.500 one\n2026-08-01T12:00:00.500 -- two\n"


def test_why_there_is_no_log_is_said_on_stderr(console: Console, botkeep: Botkeep) -> None:
    console.on("GET", LOG, page(note="This log was pruned."))
    result = botkeep("job", "logs", "j1")
    assert (result.status, result.out, result.err) == (0, "", "This log was pruned.\n")


@pytest.mark.parametrize(
    "words",
    [
        ["--from", "x"],
        ["--to", "1kb"],
        ["--from", "0"],
        ["--follow", "--grep", "x"],
        ["--output", "f", "--tail", "3"],
        ["--follow", "--output", "f"],
    ],
)
def test_options_that_do_not_go_together_are_a_usage_error(
    console: Console, botkeep: Botkeep, words: list[str]
) -> None:
    assert (botkeep("job", "logs", "j1", *words).status, console.requests) == (2, [])


def test_a_log_is_saved_as_it_is_and_over_nothing(console: Console, botkeep: Botkeep, tmp_path: Path) -> None:
    console.on("GET", f"{LOG}/text", Answer(b"one\xff\x00\n"))
    file = tmp_path / "job.log"
    assert botkeep("job", "logs", "j1", "--output", str(file), "--from", "3b").status == 0
    assert file.read_bytes() == b"one\xff\x00\n"
    assert console.requests[0].query == {"after": "3"}
    again = botkeep("job", "logs", "j1", "--output", str(file))
    assert again.status == 5
    assert "There is already" in again.err


def output(path: str, content: bytes, **more: object) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    return {
        "path": path,
        "size": len(content),
        "sha256": digest,
        "masked": False,
        "withheld": None,
        "attempt": 1,
    } | more


OUTPUTS = "/api/v1/jobs/j1/outputs"


def test_files_are_listed_with_what_happened_to_them(console: Console, botkeep: Botkeep) -> None:
    withheld = output("b.bin", b"", withheld="A value was found.")
    console.on("GET", OUTPUTS, items(output("a\x1b.txt", b"abc", masked=True), withheld))
    shown = botkeep("job", "outputs", "j1").out
    assert "a\\x1b.txt" in shown
    assert "masked" in shown
    assert "withheld: A value was found." in shown


def test_files_are_brought_to_a_folder(console: Console, botkeep: Botkeep, tmp_path: Path) -> None:
    withheld = output("b.bin", b"", withheld="A value was found.")
    console.on("GET", OUTPUTS, items(output("deep/a b.txt", b"abc"), withheld))
    console.on("GET", f"{OUTPUTS}/deep/a%20b.txt", Answer(b"abc"))
    result = botkeep("job", "outputs", "j1", "--download", str(tmp_path))
    assert (result.status, result.err) == (0, "b.bin: A value was found.\n")
    assert (tmp_path / "deep" / "a b.txt").read_bytes() == b"abc"


@pytest.mark.parametrize("path", ["../out", "/etc/out", "a/../../out", "link/out"])
def test_no_path_leads_out_of_the_folder(console: Console, botkeep: Botkeep, tmp_path: Path, path: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    console.on("GET", OUTPUTS, items(output(path, b"abc")))
    result = botkeep("job", "outputs", "j1", "--download", str(folder))
    assert result.status == 1
    assert "leads out of the folder" in result.err
    assert sorted(tmp_path.iterdir()) == [folder]
    assert len(console.requests) == 1


def test_what_has_another_digest_is_not_kept(console: Console, botkeep: Botkeep, tmp_path: Path) -> None:
    console.on("GET", OUTPUTS, items(output("a.txt", b"abc")))
    console.on("GET", f"{OUTPUTS}/a.txt", Answer(b"xyz"))
    result = botkeep("job", "outputs", "j1", "--download", str(tmp_path))
    assert result.status == 1
    assert list(tmp_path.iterdir()) == []


def test_rules_are_shown_and_made(console: Console, botkeep: Botkeep) -> None:
    rule = {"bot": None, "environment": None, "age": "30d", "size": "1GB", "set_at": None, "set_by": None}
    console.on("GET", "/api/v1/retention", items(rule))
    assert botkeep("log", "retention").out.splitlines()[1].split() == ["all", "all", "30d", "1GB", "Botkeep"]
    console.on("PUT", "/api/v1/retention", Answer({"age": "90d", "size": "default"}))
    made = botkeep("log", "retention", "--bot", "report", "--env", "prod", "--age", "90d")
    assert made.out == "Logs of report in prod: age 90d, size default.\n"
    assert console.requests[-1].json == {"age": "90d", "size": "default", "bot": "report", "environment": "prod"}
    assert botkeep("log", "retention", "--bot", "report").status == 2


def test_a_dry_run_says_what_would_go(console: Console, botkeep: Botkeep) -> None:
    due = {"bot": "report", "environment": "prod", "rule": "age 30d", "attempts": 1200, "bytes": 5_000_000}
    console.on("GET", "/api/v1/retention/due", items(due))
    shown = botkeep("log", "prune", "--dry-run").out
    assert "1,200" in shown
    assert "age 30d" in shown
    assert botkeep("log", "prune").status == 2
