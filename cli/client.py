"""The HTTP client of the console: asks, pages, streams, and turns every failure into a `CliError`.

It follows no redirect (a token goes to the configured address only) and uses no proxy for the loopback
address. A name becomes one quoted path segment, so no name can reach another resource.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote, urlsplit

from cli.connection import Connection, connection
from cli.errors import CliError, Denied, NotFound, Refused, Unreachable
from cli.home import locate

if TYPE_CHECKING:
    import httpx

#: A JSON object of the API.
Item: TypeAlias = dict[str, Any]

#: A query; what is `None` is left out.
Query: TypeAlias = Mapping[str, str | int | None]

#: Items asked for at once when a list is read page by page.
PAGE = 100

#: Seconds: a console that is there accepts at once, and a large package takes a while to be stored.
CONNECT_TIMEOUT, ANSWER_TIMEOUT = 5.0, 60.0

#: Seconds without a byte after which a log stream is opened anew.
STREAM_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event: its name, the id to resume after, its data."""

    name: str
    id: str
    data: str


@dataclass(frozen=True, slots=True)
class Probe:
    """An answer looked at for its status: the code, the body if it was JSON, the server's clock."""

    status: int
    body: Item
    at: datetime | None


class Client:
    """A connection to the console; `close` ends it."""

    def __init__(self, target: Connection, *, timeout: float = ANSWER_TIMEOUT) -> None:
        import httpx  # noqa: PLC0415 - it takes longer to import than everything else, and `--help` needs none of it

        self.url, parts = target.url, urlsplit(target.url)
        local = parts.hostname in ("127.0.0.1", "localhost", "::1")
        self._http = httpx.Client(
            base_url=target.url,
            headers={"Authorization": f"Bearer {target.token}", "Accept": "application/json"},
            timeout=httpx.Timeout(timeout, connect=CONNECT_TIMEOUT),
            trust_env=not local,
            # The machine's certificates take longer to read than the answer, and no certificate will be shown.
            verify=not (local and parts.scheme == "http"),
        )
        self._failures: tuple[type[Exception], ...] = (httpx.HTTPError, httpx.InvalidURL)
        self._silence: type[Exception] = httpx.ReadTimeout

    def close(self) -> None:
        """End the connection."""
        self._http.close()

    def ask(self, method: str, path: str, *, query: Query | None = None, body: Item | None = None) -> Item:
        """The answer to a request whose body, if any, is JSON; an empty answer is an empty object."""
        with self._translated():
            response = self._http.request(method, path, params=_given(query), json=body)
        return _object(response)

    def send(self, method: str, path: str, content: bytes, *, kind: str, query: Query | None = None) -> Item:
        """The answer to a request whose body is bytes of the media type `kind`."""
        with self._translated():
            headers = {"Content-Type": kind}
            response = self._http.request(method, path, params=_given(query), content=content, headers=headers)
        return _object(response)

    def pages(self, path: str, *, query: Query | None = None, limit: int = 0) -> Iterator[list[Item]]:
        """A list page by page, at most `limit` items (0: all)."""
        after: str | int | None = None
        left = limit
        while True:
            size = min(PAGE, left) if limit else PAGE
            answer = self.ask("GET", path, query={**(query or {}), "limit": size, "after": after})
            items: list[Item] = answer.get("items") or []
            yield items[:left] if limit else items
            after, left = answer.get("next"), left - len(items)
            if after is None or (limit and left <= 0):
                return

    def events(self, path: str, *, query: Query | None = None) -> Iterator[Event]:
        """Server-sent events until the server ends the stream or falls silent."""
        headers = {"Accept": "text/event-stream"}
        options = (CONNECT_TIMEOUT, STREAM_TIMEOUT, CONNECT_TIMEOUT, CONNECT_TIMEOUT)
        try:
            with (
                self._translated(),
                self._http.stream("GET", path, params=_given(query), headers=headers, timeout=options) as response,
            ):
                if response.is_error:
                    response.read()
                    _object(response)
                yield from parse_events(response.iter_lines())
        except _SilentError:
            return

    def blocks(self, path: str, *, query: Query | None = None) -> Iterator[bytes]:
        """The content of a resource, block by block as it arrives."""
        with self._translated(), self._http.stream("GET", path, params=_given(query)) as response:
            if response.is_error:
                response.read()
                _object(response)
            yield from response.iter_bytes()

    def probe(self, path: str) -> Probe:
        """The status of a resource, whatever it is.

        Raises:
            Unreachable: when there is no answer at all.
        """
        with self._translated():
            response = self._http.get(path)
        return Probe(response.status_code, _json(response), _clock(response))

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._silence:
            raise _SilentError(
                f"Botkeep at {self.url} did not answer in time.",
                hint="Try again; `botkeep status` says more.",
            ) from None
        except self._failures as error:
            raise Unreachable(
                f"Botkeep at {self.url} cannot be reached ({type(error).__name__}).",
                hint="Start it with `botkeep up`, or check BOTKEEP_URL.",
            ) from None


class _SilentError(Unreachable):
    """The server accepted the request and then said nothing for too long."""


@contextlib.contextmanager
def connected() -> Iterator[Client]:
    """A client of the console that the environment and the home name."""
    client = Client(connection(os.environ, locate(os.environ)))
    try:
        yield client
    finally:
        client.close()


def path_of(*names: str) -> str:
    """The API path of a resource, every name quoted as one segment.

    Raises:
        Refused: for a name that cannot be a segment.
    """
    for name in names:
        if name in ("", ".", ".."):
            raise Refused(f"{name!r} is not a name.", hint="Use the list command to see the names there are.")
    return "/api/v1/" + "/".join(quote(name, safe="") for name in names)


def parse_events(lines: Iterator[str]) -> Iterator[Event]:
    """The events in a stream of lines (WHATWG HTML, section 9.2: server-sent events)."""
    name, identifier, data = "message", "", list[str]()
    for line in lines:
        if not line:
            if data or name != "message":
                yield Event(name, identifier, "\n".join(data))
            name, data = "message", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "id":
            identifier = value
        elif field == "data":
            data.append(value)


def _given(query: Query | None) -> dict[str, str | int]:
    return {key: value for key, value in (query or {}).items() if value is not None}


def _json(response: httpx.Response) -> Item:
    try:
        content = response.json()
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _object(response: httpx.Response) -> Item:
    if not response.is_success:
        raise _error(response)
    return _json(response)


def _error(response: httpx.Response) -> CliError:
    content = _json(response).get("error")
    error = content if isinstance(content, dict) else {}
    status = response.status_code
    message = str(error.get("message") or f"The server answered with HTTP status {status}.")
    hint = str(error.get("hint") or ("" if error else "Is this the address of a Botkeep console? Check BOTKEEP_URL."))
    kind: type[CliError] = Unreachable
    if status in (401, 403):
        kind = Denied
    elif status == 404:
        kind = NotFound
    elif 300 <= status < 500:
        kind = Refused
    elif error.get("code") == "damaged":
        kind = CliError  # nothing is away, and waiting mends nothing
    made = kind(message, hint=hint)
    if error.get("code"):
        made.code = str(error["code"])
    return made


def _clock(response: httpx.Response) -> datetime | None:
    try:
        return parsedate_to_datetime(response.headers["date"])
    except (KeyError, ValueError):
        return None
