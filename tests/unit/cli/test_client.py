"""The client turns answers into results or into errors with the exit status that interface.md fixes."""

import socket
from pathlib import Path

import pytest

from cli.client import Client, parse_events, path_of
from cli.connection import Connection
from cli.errors import Refused
from tests.unit.cli.conftest import TOKEN, Answer, Botkeep, Console, items


def refusal(code: str) -> dict[str, object]:
    return {"error": {"code": code, "message": "That cannot be.", "hint": "Do this instead."}}


@pytest.mark.parametrize(
    ("http", "status"),
    [(401, 4), (403, 4), (404, 3), (409, 5), (422, 5), (400, 5), (413, 5), (500, 6), (502, 6), (503, 6)],
)
def test_each_http_status_has_its_exit_status(console: Console, botkeep: Botkeep, http: int, status: int) -> None:
    console.on("GET", "/api/v1/bots/x", Answer(refusal("some_code"), http))
    result = botkeep("bot", "show", "x", "--json")
    assert result.status == status
    assert result.err == "botkeep: That cannot be. Do this instead.\n"
    assert result.lines == [refusal("some_code")]


def test_without_json_an_error_leaves_stdout_empty(console: Console, botkeep: Botkeep) -> None:
    result = botkeep("bot", "show", "x")
    assert (result.status, result.out) == (3, "")


def test_an_answer_that_is_no_json_says_where_to_look(console: Console, botkeep: Botkeep) -> None:
    console.on("GET", "/api/v1/bots", Answer(b"<html>Bad gateway</html>", 502))
    result = botkeep("bot", "list")
    assert result.status == 6
    assert "BOTKEEP_URL" in result.err


def test_a_server_that_is_not_there_is_exit_status_6(
    botkeep: Botkeep, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("BOTKEEP_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setenv("BOTKEEP_TOKEN", TOKEN)
        result = botkeep("bot", "list", "--json")
    assert result.status == 6
    assert "botkeep up" in result.err
    assert result.lines[0]["error"]["code"] == "unavailable"
    assert "Traceback" not in result.err


def test_a_redirect_is_not_followed_so_the_token_stays_with_its_address(console: Console, botkeep: Botkeep) -> None:
    console.on("GET", "/api/v1/bots", Answer(None, 307, {"Location": f"{console.url}/elsewhere"}))
    assert botkeep("bot", "list").status == 5
    assert [request.path for request in console.requests] == ["/api/v1/bots"]


def test_the_token_travels_as_a_bearer_and_is_in_no_repr(console: Console, botkeep: Botkeep) -> None:
    console.on("GET", "/api/v1/bots", items())
    botkeep("bot", "list")
    assert console.requests[0].headers["Authorization"] == f"Bearer {TOKEN}"
    assert TOKEN not in repr(Connection(console.url, TOKEN))


def test_a_list_is_read_page_by_page_to_its_end(console: Console, botkeep: Botkeep) -> None:
    console.on("GET", "/api/v1/bots", items({"name": "a"}, following="p2"), items({"name": "b"}))
    result = botkeep("bot", "list", "--json")
    assert [item["name"] for item in result.lines] == ["a", "b"]
    assert [request.query.get("after") for request in console.requests] == [None, "p2"]


def test_the_first_page_is_shown_even_when_the_second_fails(console: Console, botkeep: Botkeep) -> None:
    console.on("GET", "/api/v1/bots", items({"name": "a"}, following="p2"), Answer(refusal("down"), 503))
    result = botkeep("bot", "list", "--json")
    assert result.status == 6
    assert result.lines[0] == {"name": "a"}


def test_a_limit_asks_for_no_more_and_shows_no_more(console: Console) -> None:
    console.on("GET", "/x", items({"n": 1}, {"n": 2}, {"n": 3}, following="p"))
    client = Client(Connection(console.url, TOKEN))
    pages = list(client.pages("/x", limit=2))
    client.close()
    assert pages == [[{"n": 1}, {"n": 2}]]
    assert console.requests[0].query["limit"] == "2"


@pytest.mark.parametrize("name", ["a/b", "a b", "a?b", "a#b", "%2e%2e", "é", "a\nb"])
def test_a_name_is_one_segment_of_the_path(name: str) -> None:
    path = path_of("bots", name)
    assert path.removeprefix("/api/v1/bots/").count("/") == 0
    assert path.isascii()
    assert not set("?# \n") & set(path)


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_name_that_would_climb_is_refused(name: str) -> None:
    with pytest.raises(Refused):
        path_of("bots", name)


def test_events_carry_their_name_their_id_and_every_data_line() -> None:
    stream = [": hello", "", "event: line", "id: 7", "data: a", "data: b", "", "event:end", "data: {}", ""]
    events = [(event.name, event.id, event.data) for event in parse_events(iter(stream))]
    assert events == [("line", "7", "a\nb"), ("end", "7", "{}")]


def test_a_proxy_never_sees_what_goes_to_the_loopback_address(
    console: Console, botkeep: Botkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    console.on("GET", "/api/v1/bots", items())
    assert botkeep("bot", "list").status == 0
