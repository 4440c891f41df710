"""Asks a Redis-compatible server a few questions (RESP 2); standard library only.

Enough for readiness and for `doctor`: connect, authenticate, send commands, read replies. No pipelining
across calls, no subscriptions, no cluster.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass, field
from typing import BinaryIO, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

Reply: TypeAlias = "str | int | list[Reply] | None"


class ReplyError(Exception):
    """The server answered a command with an error; its first word is the kind."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is and how to log in; `repr` does not show the password."""

    path: str
    host: str
    port: int
    tls: bool
    user: str
    password: str = field(repr=False)


def parse_address(url: str) -> Address:
    """The address in `redis://`, `rediss://`, `unix://` or `redis+socket://`.

    Raises:
        ValueError: for any other address; its text is not in the message.
    """
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    password = password or query.get("password", [""])[0]
    if parts.scheme in ("unix", "redis+socket") and parts.path:
        return Address(unquote(parts.path), "", 0, False, user, password)
    if parts.scheme in ("redis", "rediss") and parts.hostname:
        return Address("", parts.hostname, parts.port or 6379, parts.scheme == "rediss", user, password)
    raise ValueError("The broker's address is none of redis://, rediss://, unix:// or redis+socket://.")


def ask(address: Address, *commands: tuple[str, ...], timeout: float = 3.0) -> list[Reply]:
    """The replies to commands, over one connection of its own.

    Raises:
        OSError: when the server cannot be reached or breaks off.
        ReplyError: when it refuses the password or a command.
    """
    login = ("AUTH", *([address.user] if address.user else []), address.password)
    with _connect(address, timeout=timeout) as connection, connection.makefile("rb") as replies:
        if address.password:
            _send(connection, login)
            _read(replies)
        answers: list[Reply] = []
        for command in commands:
            _send(connection, command)
            answers.append(_read(replies))
        return answers


def _connect(address: Address, *, timeout: float) -> socket.socket:
    if address.path:
        local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        local.settimeout(timeout)
        try:
            local.connect(address.path)
        except OSError:
            local.close()
            raise
        return local
    remote = socket.create_connection((address.host, address.port), timeout=timeout)
    if not address.tls:
        return remote
    return ssl.create_default_context().wrap_socket(remote, server_hostname=address.host)


def _send(connection: socket.socket, words: tuple[str, ...]) -> None:
    parts = [f"*{len(words)}\r\n".encode()]
    for word in words:
        content = word.encode()
        parts.append(f"${len(content)}\r\n".encode() + content + b"\r\n")
    connection.sendall(b"".join(parts))


def _read(replies: BinaryIO) -> Reply:
    line = replies.readline()
    if not line.endswith(b"\r\n"):
        raise ConnectionResetError("The broker closed the connection.")
    kind, rest = line[:1], line[1:-2].decode(errors="replace")
    if kind == b"-":
        raise ReplyError(rest)
    if kind == b"+":
        return rest
    if kind == b":":
        return int(rest)
    if kind == b"$":
        return _bulk(replies, int(rest))
    if kind == b"*":
        return [_read(replies) for _ in range(int(rest))] if int(rest) >= 0 else None
    raise ConnectionResetError("What answers there does not speak the broker's protocol.")


def _bulk(replies: BinaryIO, size: int) -> str | None:
    if size < 0:
        return None
    content = replies.read(size + 2)
    if len(content) < size + 2:
        raise ConnectionResetError("The broker closed the connection.")
    return content[:size].decode(errors="replace")
