"""A value comes from a file, a pipe or a hidden prompt; byte for byte, and never from the command line."""

import io
import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import clean_environment, wait_until
from tests.unit.cli.conftest import TOKEN, Answer, Botkeep, Console

VALUES = "/api/v1/assets/SAP/PASSWORD/values/prod"
SAVED = Answer({"asset": "SAP.PASSWORD", "environment": "prod", "number": 4, "warnings": ["It is short."]})


def pipe(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


@pytest.mark.parametrize(
    ("piped", "saved"),
    [
        (b"open sesame\n", b"open sesame"),
        (b"open sesame", b"open sesame"),
        (b"two\n\n", b"two\n"),
        (b"\n", b""),
        (b"", b""),
        (b"\xff\x00\r\n", b"\xff\x00\r"),
    ],
)
def test_a_pipe_loses_exactly_one_trailing_newline(
    console: Console, botkeep: Botkeep, monkeypatch: pytest.MonkeyPatch, piped: bytes, saved: bytes
) -> None:
    console.on("PUT", VALUES, SAVED)
    pipe(monkeypatch, piped)
    result = botkeep("asset", "set", "SAP.PASSWORD", "--env", "prod", "--description", "for the report")
    assert result.status == 0
    assert console.requests[0].body == saved
    assert console.requests[0].headers["Content-Type"] == "application/octet-stream"
    assert console.requests[0].query == {"description": "for the report"}
    assert ("newline was dropped" in result.err) == (piped != saved)


def test_the_number_is_shown_with_the_badge_and_the_warnings_and_never_the_value(
    console: Console, botkeep: Botkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    console.on("PUT", VALUES, SAVED)
    pipe(monkeypatch, b"open sesame")
    result = botkeep("asset", "set", "SAP.PASSWORD", "--env", "prod")
    assert result.out == "SAP.PASSWORD [prod] is now value 4.\n"
    assert "Warning: It is short." in result.err
    assert "sesame" not in result.out + result.err


def test_a_file_keeps_every_byte(console: Console, botkeep: Botkeep, tmp_path: Path) -> None:
    console.on("PUT", "/api/v1/assets/GLOBAL/CERT/values/dev", SAVED)
    (tmp_path / "cert").write_bytes(bytes(range(256)) + b"\n")
    assert botkeep("secret", "write", "CERT", "--file", tmp_path / "cert").status == 0
    assert console.requests[0].body == bytes(range(256)) + b"\n"


def test_a_value_that_is_too_large_says_the_limit_and_is_not_sent(
    console: Console, botkeep: Botkeep, tmp_path: Path
) -> None:
    (tmp_path / "cert").write_bytes(bytes(1024 * 1024 + 1))
    result = botkeep("asset", "set", "SAP.CERT", "--env", "dev", "--file", tmp_path / "cert")
    assert (result.status, "at most 1,048,576 bytes" in result.err, console.requests) == (5, True, [])


def test_a_missing_file_is_not_found_and_nothing_is_sent(console: Console, botkeep: Botkeep) -> None:
    result = botkeep("asset", "set", "SAP.PASSWORD", "--env", "prod", "--file", "/nonexistent")
    assert (result.status, console.requests) == (3, [])


def test_a_value_on_the_command_line_is_a_usage_error(console: Console, botkeep: Botkeep) -> None:
    assert botkeep("asset", "set", "SAP.PASSWORD", "open sesame", "--env", "prod").status == 2
    assert botkeep("secret", "write", "NAME", "open sesame").status == 2
    assert console.requests == []


def test_a_command_whose_streams_its_caller_closed_does_its_work(console: Console) -> None:
    console.on("PUT", VALUES, SAVED)
    closing = 'exec <&- >&- 2>&-; exec "$0" -m cli asset set SAP.PASSWORD --env prod'
    environment = {**clean_environment(), "BOTKEEP_URL": console.url, "BOTKEEP_TOKEN": TOKEN}
    done = subprocess.run(["sh", "-c", closing, sys.executable], env=environment, timeout=30, check=False)
    assert (done.returncode, [request.body for request in console.requests]) == (0, [b""])


@pytest.mark.parametrize(("second", "status"), [(b"open sesame\n", 0), (b"open sesam\n", 5)])
def test_a_prompt_shows_nothing_and_asks_twice(console: Console, second: bytes, status: int) -> None:
    console.on("PUT", VALUES, SAVED)
    outer, inner = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "asset", "set", "SAP.PASSWORD", "--env", "prod"],
        stdin=inner,
        stdout=inner,
        stderr=inner,
        env={**clean_environment(), "BOTKEEP_URL": console.url, "BOTKEEP_TOKEN": TOKEN, "TERM": "dumb"},
        start_new_session=True,
    )
    os.close(inner)
    seen = bytearray()

    def shown(text: bytes) -> bool:
        while select.select([outer], [], [], 0)[0]:
            try:
                seen.extend(os.read(outer, 4096))
            except OSError:
                break
        return text in seen

    wait_until(lambda: shown(b"PASSWORD: "), 20, "the first prompt")
    os.write(outer, b"open sesame\n")
    wait_until(lambda: shown(b"again: "), 20, "the second prompt")
    os.write(outer, second)
    assert process.wait(20) == status
    shown(b"the rest")
    os.close(outer)
    assert b"sesam" not in seen
    assert [request.body for request in console.requests] == ([b"open sesame"] if status == 0 else [])
