"""The outermost layer of the application: headers, counting, limits, and the last net for errors.

Promises that every answer carries the security headers, that each is counted by its route's template (never
by a path that a client chose), that no body grows beyond its route's limit in memory, and that no exception
leaves the application: the server's own log would show its message, and that may quote a request.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.deps import Console
from console.errors import TooLarge, answer, unforeseen
from console.pages.refusals import as_page
from vault import assets

#: Bytes of a body where a route needs no more: the largest value, and more than a job's parameters.
MAX_BODY = assets.MAX_VALUE_BYTES

#: What a page may load and do: our own files, and nothing that stands in its text. Styles set by our script are no
#: inline styles in this sense (https://www.w3.org/TR/CSP3/#directive-style-src).
PAGE_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    b"font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

#: What answers for programs may do, were a browser to show them: nothing.
DATA_POLICY = b"default-src 'none'; frame-ancestors 'none'"

#: No answer may be kept, sniffed or framed.
_HEADERS = [
    (b"cache-control", b"no-store"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    # With `no-referrer` a form would name no origin (Fetch, section 4.7), and a sign-in is checked by that.
    (b"referrer-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
]


class Edge:
    """ASGI middleware around the whole application; `larger` are the routes whose bodies may exceed `MAX_BODY`."""

    def __init__(self, app: ASGIApp, *, console: Console, larger: Mapping[tuple[str, str], int]) -> None:
        self._app = app
        self._console = console
        self._larger = larger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0

        async def finished(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = dict(message["headers"])
                policy = (b"content-security-policy", _policy(scope, given.get(b"content-type", b"")))
                message["headers"] += [pair for pair in (policy, *_HEADERS) if pair[0] not in given]
            await send(message)

        try:
            await self._serve(scope, receive, finished)
        except Exception as error:
            response = as_page(scope, unforeseen(error))
            if not status:
                await response(scope, receive, finished)
        self._count(scope, status)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Databases cannot store NUL in text, and no name may hold it.
        if b"%00" in scope["raw_path"] or b"%00" in scope["query_string"]:
            response = as_page(scope, answer(422, "invalid", "The address holds a NUL character; remove it."))
            await response(scope, receive, send)
            return
        await self._app(scope, self._limited(scope, receive), send)

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """Refuses a body by its declared length before reading it, else as soon as it is too long."""
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        size = 0

        async def received() -> Message:
            nonlocal size
            # Whoever reads the body was chosen by the router before.
            route = getattr(scope.get("route"), "path", "")
            largest = self._larger.get((scope["method"], route), MAX_BODY)
            if int(declared) > largest:
                raise TooLarge(largest)
            message = await receive()
            size += len(message.get("body", b""))
            if size > largest:
                raise TooLarge(largest)
            return message

        return received

    def _count(self, scope: Scope, status: int) -> None:
        route = getattr(scope.get("route"), "path", None)
        method = scope["method"] if route else "any"
        self._console.requests[method, route or "none", status] += 1


def _policy(scope: Scope, kind: bytes) -> bytes:
    """A page's policy only for pages: what the API answers is never one, whatever its type."""
    is_page = kind.startswith(b"text/html") and not scope["path"].startswith("/api/")
    return PAGE_POLICY if is_page else DATA_POLICY
