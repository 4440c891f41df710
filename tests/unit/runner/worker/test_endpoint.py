"""The job's endpoint: one token an attempt, its own assets only, refusals at once."""

import socket
import threading
from collections.abc import Callable, Generator, Iterator
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from runner.errors import Invalid, NotFound
from runner.worker.answering import OF_ONE
from runner.worker.endpoint import Endpoint
from runner.worker.failures import SourceFailed, Step
from runner.worker.grant import Grant, NotSeen
from runner.worker.questions import Question, Reply
from runner.worker.requested import LARGEST, TooMuch
from tests.support import wait_until
from vault.decrypt import Secret
from vault.errors import TamperedEnvelope
from vault.names import AssetName

PASSWORD, UNSET, BROKEN, FOREIGN = (AssetName("SAP", name) for name in ("PASSWORD", "UNSET", "BROKEN", "FOREIGN"))


def read(name: AssetName) -> Secret | None:
    if name == FOREIGN:
        raise NotSeen(f"This bot sees no asset {name}.")
    if name == BROKEN:
        raise TamperedEnvelope("The stored value was changed.")
    return Secret(b"value\0\xff") if name == PASSWORD else None


def mask(value: bytes) -> bool:
    if value == b"one too many":
        raise TooMuch("This job named enough values.")
    return len(value) >= 4


def noting(asked: list[bytes]) -> Callable[[bytes], bool]:
    def note(value: bytes) -> bool:
        asked.append(value)
        return True

    return note


GRANT = Grant(lambda: (PASSWORD, UNSET, BROKEN), read, mask)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    made.start()
    yield made
    made.close()


def ask(
    endpoint: Endpoint,
    path: str,
    token: str | None,
    *,
    method: str = "GET",
    host: str | None = None,
    body: bytes | None = None,
) -> tuple[int, bytes, dict[str, str]]:
    parts = urlsplit(endpoint.url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    connection.request(method, path, body, headers={**headers, **({} if host is None else {"Host": host})})
    answer = connection.getresponse()
    found = answer.status, answer.read(), dict(answer.getheaders())
    connection.close()
    return found


def test_a_token_reads_the_values_of_its_grant_as_bytes(endpoint: Endpoint) -> None:
    token = endpoint.admit(GRANT)
    status, body, headers = ask(endpoint, "/v1/assets/SAP/PASSWORD", token)
    assert (status, body) == (200, b"value\0\xff")
    assert headers["Cache-Control"] == "no-store"
    assert ask(endpoint, "/v1/assets/sap/password", token)[0] == 200


def test_a_token_lists_its_own_names_without_values(endpoint: Endpoint) -> None:
    token = endpoint.admit(GRANT)
    assert ask(endpoint, "/v1/assets", token)[:2] == (200, b"SAP.PASSWORD\nSAP.UNSET\nSAP.BROKEN")
    other = endpoint.admit(Grant(tuple, read, mask))
    assert ask(endpoint, "/v1/assets", other)[:2] == (200, b"")


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/v1/assets/SAP/FOREIGN", 404, b"sees no asset SAP.FOREIGN"),
        ("/v1/assets/SAP/UNSET", 409, b"SAP.UNSET has no value"),
        ("/v1/assets/SAP/BROKEN", 409, b"was changed"),
        ("/v1/assets/S%41P/PASSWORD", 409, b"cannot be the group"),
        ("/v1/assets/../assets/SAP/PASSWORD", 404, b"no such address"),
        ("/v1/assets/SAP/PASSWORD/", 404, b"no such address"),
        ("/v1/assets/SAP/PASSWORD?x=1", 409, b"cannot be the name"),
        ("/", 404, b"no such address"),
    ],
)
def test_a_refusal_says_why_at_once(endpoint: Endpoint, path: str, status: int, words: bytes) -> None:
    found, body, _ = ask(endpoint, path, endpoint.admit(GRANT))
    assert found == status
    assert words in body


@pytest.mark.parametrize("token", [None, "", "wrong", "bk_" + "A" * 43, "\xff\xfe"])
def test_without_a_valid_token_there_is_nothing(endpoint: Endpoint, token: str | None) -> None:
    endpoint.admit(GRANT)
    for path in ("/v1/assets", "/v1/assets/SAP/PASSWORD", "/nothing"):
        status, body, _ = ask(endpoint, path, token)
        assert status == 401
        assert b"value" not in body


def test_a_token_ends_with_its_attempt_and_no_other_does(endpoint: Endpoint) -> None:
    one, two = endpoint.admit(GRANT), endpoint.admit(GRANT)
    assert one != two
    endpoint.revoke(one)
    assert ask(endpoint, "/v1/assets", one)[0] == 401
    assert ask(endpoint, "/v1/assets", two)[0] == 200
    endpoint.revoke(one)


def test_a_page_of_another_site_is_refused_whatever_it_knows(endpoint: Endpoint) -> None:
    token = endpoint.admit(GRANT)
    port = urlsplit(endpoint.url).port
    for host in ("evil.example", f"evil.example:{port}", "169.254.169.254", ""):
        assert ask(endpoint, "/v1/assets", token, host=host)[0] == 401
    assert ask(endpoint, "/v1/assets", token, host=f"localhost:{port}")[0] == 200


@pytest.mark.parametrize(("method", "status"), [("POST", 404), ("PUT", 403), ("DELETE", 403), ("OPTIONS", 405)])
def test_no_value_can_be_written_without_leave(endpoint: Endpoint, method: str, status: int) -> None:
    assert ask(endpoint, "/v1/assets/SAP/PASSWORD", endpoint.admit(GRANT), method=method)[0] == status


@pytest.mark.parametrize(
    ("value", "status", "words"),
    [
        (b"a token of a session", 200, b"masked from now on"),
        (b"\0\xff" * 4_096, 200, b"masked from now on"),
        (b"471", 422, b"too short to be masked"),
        (b"", 422, b"too short to be masked"),
        (b"one too many", 429, b"named enough"),
        (b"x" * (LARGEST + 1), 413, b"at most 8,192 bytes"),
        (b"x" * (1 << 20), 413, b"at most 8,192 bytes"),
    ],
)
def test_a_value_that_a_bot_names_is_masked_or_refused_with_a_reason(
    endpoint: Endpoint, value: bytes, status: int, words: bytes
) -> None:
    found, body, _ = ask(endpoint, "/v1/masks", endpoint.admit(GRANT), method="POST", body=value)
    assert found == status
    assert words in body


def test_without_a_valid_token_nothing_is_masked(endpoint: Endpoint) -> None:
    asked: list[bytes] = []
    endpoint.admit(Grant(tuple, read, noting(asked)))
    assert ask(endpoint, "/v1/masks", "wrong", method="POST", body=b"a token of a session")[0] == 401
    assert asked == []


@pytest.mark.parametrize("length", ["", "Content-Length: -1", "Content-Length: 1e3", "Content-Length: 99999999999"])
def test_a_body_of_unknown_length_is_refused(endpoint: Endpoint, length: str) -> None:
    token, parts = endpoint.admit(GRANT), urlsplit(endpoint.url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as connection:
        head = ["POST /v1/masks HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {token}", *filter(None, [length])]
        connection.sendall("\r\n".join([*head, "", ""]).encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 411 ")


def test_a_body_that_breaks_off_is_not_masked(endpoint: Endpoint) -> None:
    asked: list[bytes] = []
    token, parts = endpoint.admit(Grant(tuple, read, noting(asked))), urlsplit(endpoint.url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as connection:
        head = (
            f"POST /v1/masks HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nContent-Length: 20\r\n\r\n"
        )
        connection.sendall(head.encode() + b"half")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""
    assert asked == []


def test_it_listens_on_loopback_only(endpoint: Endpoint) -> None:
    assert urlsplit(endpoint.url).hostname == "127.0.0.1"


def test_a_stalled_request_stops_nobody_else(endpoint: Endpoint) -> None:
    token = endpoint.admit(GRANT)
    parts = urlsplit(endpoint.url)
    with socket.create_connection((parts.hostname or "", parts.port or 0)) as stalled:
        stalled.sendall(b"GET /v1/assets HTTP/1.1\r\nHost: 127")
        assert ask(endpoint, "/v1/assets", token)[0] == 200


def test_the_endpoint_keeps_no_token(endpoint: Endpoint) -> None:
    token = endpoint.admit(GRANT)
    assert token not in repr(vars(endpoint))


def opened(endpoint: Endpoint, token: str | None = None) -> tuple[HTTPConnection, int]:
    """A connection that stays, and the status of a first question by it, 0 where none was asked."""
    parts = urlsplit(endpoint.url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    if token is None:
        connection.connect()
        return connection, 0
    connection.request("GET", "/v1/assets", headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    answer.read()
    return connection, answer.status


def test_a_bot_has_so_many_connections_and_another_one_its_own(endpoint: Endpoint) -> None:
    greedy, other = endpoint.admit(GRANT), endpoint.admit(GRANT)
    kept = [opened(endpoint, greedy) for _ in range(OF_ONE)]
    assert {status for _connection, status in kept} == {200}
    refused, status = opened(endpoint, greedy)
    refused.close()
    assert status == 429
    assert ask(endpoint, "/v1/assets", other)[0] == 200
    kept.pop()[0].close()
    wait_until(lambda: ask(endpoint, "/v1/assets", greedy)[0] == 200, what="the place of the one that was closed")
    for connection, _status in kept:
        connection.close()


def test_silent_connections_keep_nobody_out(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.worker.answering.OF_ALL", 20)
    token = endpoint.admit(GRANT)
    talking, _status = opened(endpoint, token)
    silent = [opened(endpoint)[0] for _ in range(40)]
    assert ask(endpoint, "/v1/assets", token)[0] == 200
    assert silent[0].sock.recv(1) == b"", "the oldest was closed"
    talking.request("GET", "/v1/assets", headers={"Authorization": f"Bearer {token}"})
    assert talking.getresponse().status == 200, "one that has said its token is left alone"
    for connection in (talking, *silent):
        connection.close()


class Source:
    """One source that never ends, as the endpoint asks it."""

    def __init__(self) -> None:
        self.given = 0
        self.ended = threading.Event()
        self.failure: SourceFailed | None = None

    def names(self) -> list[str]:
        return ["endless"]

    def ask(self, name: str, question: Question) -> Reply:
        if name != "endless":
            raise NotFound("There is no data source of that name.")
        if question.options:
            raise Invalid("There is no such format.")
        return Reply("application/test", self._chunks())

    def sentence(self, name: str, failure: SourceFailed) -> str:
        return failure.sentence(name, "dev")

    def _chunks(self) -> Generator[bytes]:
        try:
            if self.failure is not None:
                raise self.failure
            while True:
                self.given += 1
                yield bytes(1 << 16)
        finally:
            self.ended.set()


def test_a_bot_that_does_not_read_lets_the_source_wait_and_one_that_leaves_ends_it(endpoint: Endpoint) -> None:
    source = Source()
    token = endpoint.admit(Grant(tuple, read, noting([]), source))
    with socket.create_connection((urlsplit(endpoint.url).hostname or "", urlsplit(endpoint.url).port or 0)) as bot:
        bot.sendall(
            f"GET /v1/sources/endless HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        )
        seen: list[int] = []

        def stands() -> bool:
            seen.append(source.given)
            return len(seen) > 10 and seen[-1] == seen[-10] > 0

        wait_until(stands, 20, "the source to wait for the bot")
        assert source.given < 500  # what the sockets of this host hold, at 64 KiB each
        assert not source.ended.is_set()
    assert source.ended.wait(10)


def test_what_a_source_answers_instead(endpoint: Endpoint) -> None:
    source = Source()
    token = endpoint.admit(Grant(tuple, read, noting([]), source))
    assert ask(endpoint, "/v1/sources", token)[:2] == (200, b"endless")
    assert ask(endpoint, "/v1/sources/other", token)[0] == 404
    assert ask(endpoint, "/v1/sources/endless?format=x", token)[:2] == (422, b"There is no such format.")
    assert ask(endpoint, "/v1/sources/a/b/c", token)[0] == 404
    source.failure = SourceFailed(Step.REACHABLE, "db port 1: refused", field="connection: host")
    status, body, _ = ask(endpoint, "/v1/sources/endless", token)
    assert (status, body) == (502, b"endless in dev: not reachable: db port 1: refused (field `connection: host`).")
    assert ask(endpoint, "/v1/sources/endless", endpoint.admit(GRANT))[0] == 404
