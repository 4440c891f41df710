"""What a bot says to its runner, without one and with one that refuses."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import botkeep
import pytest


class Desk(BaseHTTPRequestHandler):
    """Answers what the test wants and keeps what it was told."""

    answers: list[tuple[int, bytes]]
    heard: list[tuple[str, str, Any]]

    def do_POST(self) -> None:
        self._take()

    def do_PUT(self) -> None:
        self._take()

    def _take(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.heard.append((self.command, self.path, json.loads(body)))
        status, content = self.answers.pop(0)
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Desk]]:
    Desk.answers, Desk.heard = [], []

    server = HTTPServer(("127.0.0.1", 0), Desk)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("BOTKEEP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("BOTKEEP_TOKEN", "t")
    yield Desk
    server.shutdown()
    thread.join()
    server.server_close()


ITEM = json.dumps({"id": "i", "data": {"n": 1}, "reference": "r", "tries": 2, "deadline": None}).encode()


def test_outside_of_botkeep_there_is_nobody_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BOTKEEP_ENDPOINT", raising=False)
    with pytest.raises(botkeep.OutsideBotkeep, match="not started by Botkeep"):
        botkeep.output("a", 1)
    with pytest.raises(botkeep.OutsideBotkeep, match="not started by Botkeep"):
        botkeep.work_items.reserve("t")


def test_a_result_goes_out_under_its_key_and_what_is_no_json_does_not(desk: type[Desk]) -> None:
    desk.answers.append((204, b""))
    botkeep.output("a b", {"n": [1, None]})
    assert desk.heard == [("PUT", "/v1/results/a%20b", {"n": [1, None]})]
    with pytest.raises(botkeep.Refused, match="no JSON"):
        botkeep.output("a", {1, 2})


@pytest.mark.parametrize(
    ("status", "error"), [(422, botkeep.Refused), (409, botkeep.Refused), (503, botkeep.EndpointUnreachable)]
)
def test_a_refusal_is_an_error_with_the_runners_sentence(desk: type[Desk], status: int, error: type[Exception]) -> None:
    desk.answers.append((status, b"The sentence."))
    with pytest.raises(error) as caught:
        botkeep.output("a", 1)
    assert ("The sentence." in str(caught.value)) is (status != 503)


def test_a_block_that_ends_completes_its_item(desk: type[Desk]) -> None:
    desk.answers += [(200, ITEM), (204, b""), (204, b"")]
    done = []
    for item in botkeep.work_items.each("t"):
        with item:
            done.append((item.data, item.reference, item.tries))
    assert done == [({"n": 1}, "r", 2)]
    assert [path for _, path, _ in desk.heard] == [
        "/v1/work-items/reservation",
        "/v1/work-items/i/completion",
        "/v1/work-items/reservation",
    ]


@pytest.mark.parametrize(
    ("error", "kind", "passes"),
    [(botkeep.BusinessError("x"), "business", False), (ValueError("x"), "application", True)],
)
def test_a_block_that_raises_fails_its_item(
    desk: type[Desk],
    error: Exception,
    kind: str,
    passes: bool,  # noqa: FBT001
) -> None:
    desk.answers += [(200, ITEM), (204, b"")]
    item = botkeep.work_items.reserve("t")
    assert item is not None
    raised = None
    try:
        with item:
            raise error
    except ValueError as caught:
        raised = caught
    assert (raised is not None) is passes
    body = {"kind": kind, "message": f"{type(error).__name__}: x"}
    assert desk.heard[1] == ("PUT", "/v1/work-items/i/failure", body)


def test_an_item_that_was_spoken_of_is_not_spoken_of_again(desk: type[Desk]) -> None:
    desk.answers += [(200, ITEM), (204, b"")]
    item = botkeep.work_items.reserve("t")
    assert item is not None
    with item:
        item.complete({"ok": 1})
    assert len(desk.heard) == 2
