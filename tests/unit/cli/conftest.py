"""A small HTTP server with canned answers in the place of the console, and the command run against it."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from typer.core import TyperGroup

from cli.__main__ import commands, run

TOKEN = "bk_a-token-of-the-tests"


#: The command line, built once.
COMMANDS = commands()


def understood(words: list[str]) -> None:
    """Parse a command line as the command would and run nothing; raises what is wrong with it."""
    context = COMMANDS.make_context("botkeep", list(words))
    while isinstance(context.command, TyperGroup) and (rest := [*context._protected_args, *context.args]):
        name, found, rest = context.command.resolve_command(context, rest)
        assert found is not None
        context = found.make_context(name, rest, parent=context)


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.body)
        return content


@dataclass(frozen=True, slots=True)
class Answer:
    """What to answer: bytes and text as they are, anything else as JSON."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Console:
    """Answers by method and path; `requests` is what came. A list of answers is given one by one."""

    url: str
    answers: dict[str, Answer | list[Answer]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def on(self, method: str, path: str, *answers: Answer) -> None:
        self.answers[f"{method} {path}"] = list(answers)

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        found = self.answers.get(f"{request.method} {request.path}")
        if isinstance(found, list):
            found = found.pop(0) if len(found) > 1 else found[0]
        error = {"code": "not_found", "message": f"Nothing at {request.path}.", "hint": ""}
        return found or Answer({"error": error}, 404)


@pytest.fixture
def console(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Console]:
    """A running stand-in for the console, which the environment points at."""
    made = Console("")

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            answer = made.answer(Request(self.command, parts.path, query, dict(self.headers), body))
            content = answer.body
            if not isinstance(content, bytes):
                content = b"" if content is None else json.dumps(content).encode()
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(content)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815 - names of the standard library

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - likewise
            """Requests are recorded, not printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("BOTKEEP_URL", made.url)
    monkeypatch.setenv("BOTKEEP_TOKEN", TOKEN)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended and what it said."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[Any]:
        """The JSON objects on stdout."""
        return [json.loads(line) for line in self.out.splitlines()]


Botkeep = Callable[..., Result]


@pytest.fixture
def botkeep(capsys: pytest.CaptureFixture[str]) -> Botkeep:
    """Runs a command line in this process."""
    return command(capsys)


def command(capsys: pytest.CaptureFixture[str]) -> Botkeep:
    """What the fixture `botkeep` gives, for tests elsewhere."""

    def call(*arguments: str | Path) -> Result:
        status = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(status, captured.out, captured.err)

    return call


def items(*contents: dict[str, Any], following: str | None = None) -> Answer:
    """One page of a list."""
    return Answer({"items": list(contents), "next": following})
