"""Serves the application with uvicorn until a signal asks to stop.

On SIGTERM or SIGINT it takes no new connection, lets open requests end, tells followers of logs to come back
later, and leaves with status 0.
"""

from __future__ import annotations

import logging as stdlib_logging
import signal
import socket
import sys
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from threading import Event
from types import FrameType
from typing import NoReturn

import uvicorn

from console import app, openid
from console.deps import Console
from console.health import database_problem
from console.hook_keys import HookRing
from console.key_file import KeyFile
from console.live import Live
from console.sessions import Lifetimes
from console.settings import ConsoleSettings
from runner import lanes, loading
from runner.errors import Conflict
from runner.logging import logger
from vault import db

log = logger()

#: Connections that wait for us while we are busy.
BACKLOG = 512


class _Server(uvicorn.Server):
    """Tells the console at once that it is being stopped, so that streams end."""

    def __init__(self, config: uvicorn.Config, console: Console) -> None:
        super().__init__(config)
        self._console = console

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._console.stopping.set()
        super().handle_exit(sig, frame)


def build(settings: ConsoleSettings) -> Console:
    """What the console works with.

    Raises:
        Invalid, InvalidDatabase: when a store's address is missing or cannot be used.
    """
    broker, key_file = settings.broker(), KeyFile(settings.hook_keys())
    transport, stopping = lanes.transport(broker), Event()
    return Console(
        engine=db.engine(settings.database()),
        transport=transport,
        broker_url=broker,
        store=settings.log_store(),
        live=Live(transport, stopping=stopping),
        stopping=stopping,
        now=lambda: datetime.now(UTC),
        version=version("botkeep"),
        hooks=HookRing(key_file),
        key_file=key_file,
        public_url=settings.public_url,
        openid=openid.provider(settings),
        lifetimes=Lifetimes(timedelta(seconds=settings.session_idle), timedelta(seconds=settings.session_lasts)),
    )


def check(console: Console) -> None:
    """Go on only with a database that has this version's schema, and a broker that is no cluster.

    Raises:
        Unavailable: when the database cannot be reached.
        Conflict: when it has another schema.
        Invalid: when the broker is a Redis Cluster.
    """
    with db.reading(console.engine) as session:
        db.ready(session)
    problem = database_problem(console)
    if problem is not None:
        raise Conflict(problem)
    lanes.refuse_cluster(console.transport)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at this address.

    Raises:
        OSError: when the address is taken or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


def inherited(descriptor: int) -> socket.socket:
    """The listening socket that the process which started us left open.

    Raises:
        OSError: when there is none.
    """
    listener = socket.socket(fileno=descriptor)
    listener.set_inheritable(False)
    return listener


def configured(console: Console, settings: ConsoleSettings) -> uvicorn.Config:
    """How uvicorn serves the console: without its own log of requests, its name, or a client's word for its address."""
    return uvicorn.Config(
        app.create(console),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_graceful_shutdown=settings.shutdown_grace,
        backlog=BACKLOG,
        ws="none",
    )


def serve(console: Console, listener: socket.socket, *, settings: ConsoleSettings) -> None:
    """Serve until a signal asks to stop."""
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn stops in an orderly way and then raises the signal again, for us to leave as we like.
        signal.signal(number, _leave)
    # Accepted connections inherit it. Without it the second half of an answer waits 40 ms for the first one's
    # acknowledgement; asyncio sets it only where the socket names its protocol.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    host, port = listener.getsockname()[:2]
    log.info("console.started", host=host, port=port, version=console.version)
    stdlib_logging.getLogger("uvicorn").setLevel(stdlib_logging.WARNING)
    try:
        server = _Server(configured(console, settings), console)
        loading.end()
        server.run(sockets=[listener])
    finally:
        log.info("console.stopped")


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(0)
