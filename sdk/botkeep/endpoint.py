"""The job's endpoint on this machine, as the bot's side sees it.

Promises that the token goes to a loopback address only, past every proxy and redirect, and that a broken
answer never ends up in an error.
"""

from __future__ import annotations

import difflib
import os
from http.client import HTTPConnection, HTTPException, HTTPResponse
from urllib.parse import urlsplit

from botkeep import local
from botkeep.errors import EndpointUnreachable, MaskRefused, NoValue, OutsideBotkeep, Refused, UnknownAsset

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Hosts that the token may be sent to.
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

#: Seconds to wait for an answer, which takes the runner milliseconds.
_TIMEOUT = 30.0


def value(asset: str, *, written: str) -> bytes:
    """The value of `GROUP.NAME`; asked for as it was `written`, by which the runner can tell a value from a name.

    Raises:
        UnknownAsset, NoValue, EndpointUnreachable: as `botkeep.assets` says.
    """
    if (standing := local.stand()) is not None:
        return standing.value(asset)
    status, body = _ask(f"/v1/assets/{written.replace('.', '/')}")
    if status == 200:
        return body
    if status == 404:
        raise UnknownAsset(_unknown(asset))
    if status == 409:
        raise NoValue(body.decode(errors="replace"))
    raise EndpointUnreachable(_refused(status))


def names() -> list[str]:
    """The names of all assets that this bot sees, sorted.

    Raises:
        EndpointUnreachable: when the runner does not answer.
    """
    if (standing := local.stand()) is not None:
        return standing.names()
    status, body = _ask("/v1/assets")
    if status != 200:
        raise EndpointUnreachable(_refused(status))
    return sorted(body.decode().split())


def write(asset: str, content: bytes) -> None:
    """Set the value of `GROUP.NAME` for the environment of this job.

    Raises:
        Refused: when bot.toml does not have it in `writes`, or the value cannot be stored.
        EndpointUnreachable: when the runner does not answer.
    """
    if (standing := local.stand()) is not None:
        standing.write(asset, content)
        return
    status, body = _ask(f"/v1/assets/{asset.replace('.', '/')}", method="PUT", body=content)
    if status in {403, 404, 409, 413, 422, 429}:
        raise Refused(body.decode(errors="replace"))
    if status != 204:
        raise EndpointUnreachable(_refused(status))


def mask(value: bytes) -> bool:
    """Whether the runner masks `value` from now on; false for one too short.

    Raises:
        MaskRefused, EndpointUnreachable: as `botkeep.mask` says.
    """
    if (standing := local.stand()) is not None:
        return standing.mask(value)
    status, body = _ask("/v1/masks", method="POST", body=value)
    if status in {413, 429}:
        raise MaskRefused(body.decode(errors="replace"))
    if status not in {200, 422}:
        raise EndpointUnreachable(_refused(status))
    return status == 200


def ask(path: str, *, method: str = "GET", body: bytes = b"") -> HTTPResponse:
    """The beginning of an answer that may be long; whoever gets it reads or closes it. A source may take its time.

    Raises:
        EndpointUnreachable: when the runner does not answer, or does not answer this attempt any more.
    """
    host, port = _address()
    headers = {"Authorization": f"Bearer {os.environ.get('BOTKEEP_TOKEN', '')}", "Connection": "close"}
    connection = HTTPConnection(host, port)
    try:
        connection.request(method, path, body=body or None, headers=headers)
        answer = connection.getresponse()
    except OSError as error:
        problem = error.strerror or type(error).__name__
    except HTTPException as error:
        problem = type(error).__name__
    else:
        if answer.status != 401:
            return answer
        connection.close()
        raise EndpointUnreachable(_refused(401))
    connection.close()
    raise EndpointUnreachable(_silent(problem))


def tell(method: str, path: str, body: object) -> Any:  # noqa: ANN401 - any JSON
    """Say something to the runner; its answer, or `None` where there is none.

    Raises:
        Refused: when the runner does not take it, or `body` is no JSON.
        OutsideBotkeep: when there is no runner.
        EndpointUnreachable: when it does not answer.
    """
    import json  # noqa: PLC0415 - values are asked for without it

    standing = local.stand()
    if standing is None and "BOTKEEP_ENDPOINT" not in os.environ:
        raise OutsideBotkeep(
            "There is no runner to tell: this program was not started by Botkeep. Run it with `botkeep run`."
        )
    try:
        text = json.dumps(body, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        problem = type(error).__name__
    else:
        if standing is not None:
            return standing.tell(path, json.loads(text))
        status, answer = _ask(path, method=method, body=text)
        if status in {200, 201, 204}:
            return json.loads(answer) if answer else None
        if status in {404, 409, 413, 422}:
            raise Refused(answer.decode(errors="replace"))
        raise EndpointUnreachable(_refused(status))
    raise Refused(
        f"This is no JSON ({problem}): give text, numbers, true, false, null, lists and dictionaries of them."
    )


def _ask(path: str, *, method: str = "GET", body: bytes | None = None) -> tuple[int, bytes]:
    host, port = _address()
    headers = {"Authorization": f"Bearer {os.environ.get('BOTKEEP_TOKEN', '')}"}
    connection = HTTPConnection(host, port, timeout=_TIMEOUT)
    try:
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except OSError as error:
        problem = error.strerror or type(error).__name__
    except HTTPException as error:  # an answer that breaks off is kept in the error: it ends here
        problem = type(error).__name__
    finally:
        connection.close()
    raise EndpointUnreachable(_silent(problem))


def _address() -> tuple[str, int]:
    url = os.environ.get("BOTKEEP_ENDPOINT")
    if url is None:
        raise EndpointUnreachable(
            "The value was not delivered at the start, and there is no runner to ask: this program was not "
            "started by Botkeep. Run it with `botkeep run`; to try it by hand, write the value into "
            "botkeep.local.toml, or set KLANGO_ASSET_GROUP_NAME."
        )
    try:
        parsed = urlsplit(url)
        host, port = parsed.hostname, parsed.port
    except ValueError:
        host, port = None, None
    if host not in _LOOPBACK or port is None:
        raise EndpointUnreachable(
            "BOTKEEP_ENDPOINT does not name a port of this machine, so nothing was sent there; leave the variable "
            "as the runner set it."
        )
    return host, port


def _unknown(asset: str) -> str:
    try:
        near = difflib.get_close_matches(asset, names(), 3)
    except EndpointUnreachable:
        near = []
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return (
        f"This bot sees no asset {asset}.{hint} An asset must exist and, where bot.toml has a list `assets`, match it."
    )


def _silent(problem: str) -> str:
    return (
        f"The runner of this job does not answer ({problem}); it was stopped, or the job has ended. Run the job again."
    )


def _refused(status: int) -> str:
    if status == 401:
        return "The runner does not answer this attempt any more: its token ended with it. Run the job again."
    if status == 503:
        return "The runner cannot reach its database now, and nothing was changed; try again in a moment."
    return f"The runner gave an unexpected answer (HTTP {status}); look at the runner's log."
