"""`python -m console`: the HTTP API and the pages; `python -m console token` and `link`: made on this host.

Before anything else this process locks itself out of what decrypts or selects ciphertexts: importing one of these
modules is an error from here on, whoever tries and however.
"""
# ruff: noqa: E402 - the fence stands before every other import, which is its point

import sys

for _closed in (
    "vault.decrypt",
    "vault.reader",
    "vault.sights",
    "vault.readings",
    "vault.identities",
    "vault.keyhost",
    "vault.rotation",
    "vault.canary",
    "runner.worker",
):
    sys.modules[_closed] = None  # type: ignore[assignment]

from runner import loading

if __name__ == "__main__":
    loading.begin()

import argparse
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from console import minting
from console.settings import ConsoleSettings
from runner import logging, schema
from runner.errors import RunnerError
from vault import db
from vault.errors import Unavailable, VaultError
from vault.settings import load

#: Exit statuses, the same as the client's: conflict or invalid, and out of reach.
INVALID, UNREACHABLE = 5, 6


def main(argv: Sequence[str] | None = None) -> int:
    """Serve, or make a token or a sign-in link."""
    arguments = _parser().parse_args(argv)
    os.umask(0o077)
    try:
        settings = load(ConsoleSettings)
        made = {"token": _token, "link": _link}.get(arguments.command, _serve)
        return made(settings, arguments)
    except Unavailable as error:
        print(error, file=sys.stderr)
        return UNREACHABLE
    except (RunnerError, VaultError) as error:
        print(error, file=sys.stderr)
        return INVALID


def _serve(settings: ConsoleSettings, arguments: argparse.Namespace) -> int:
    from console import server  # noqa: PLC0415 - making a token takes a third of the time without it

    logging.configure("console", level=settings.log_level)
    console = server.build(settings)
    server.check(console)
    try:
        if arguments.fd is not None:
            listener = server.inherited(arguments.fd)
        else:
            host = arguments.host or settings.console_host
            port = settings.console_port if arguments.port is None else arguments.port
            listener = server.listen(host, port)
    except OSError as error:
        print(f"The console cannot listen: {error.strerror}. Choose with --host and --port.", file=sys.stderr)
        return INVALID
    server.serve(console, listener, settings=settings)
    return 0


def _token(settings: ConsoleSettings, arguments: argparse.Namespace) -> int:
    wanted = minting.Wanted(
        name=arguments.name,
        role=arguments.role,
        environments=arguments.environment,
        client_file=arguments.client_file,
        url=arguments.url or f"http://{settings.console_host}:{settings.console_port}",
        if_missing=arguments.if_missing,
    )
    with db.writing(db.engine(settings.database())) as session:
        schema.require(session)
        token = minting.mint(session, wanted, now=datetime.now(UTC))
    if token is not None:
        print(token)
    return 0


def _link(settings: ConsoleSettings, arguments: argparse.Namespace) -> int:
    url = settings.public_url or arguments.url or f"http://{settings.console_host}:{settings.console_port}"
    with db.writing(db.engine(settings.database())) as session:
        schema.require(session)
        token = minting.mint_link(session, arguments.name, now=datetime.now(UTC))
    print(f"{url.rstrip('/')}/sign-in/link?token={token}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m console", description="The console: Botkeep's HTTP API.")
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", type=int, help="port to listen on; 0 takes a free one")
    parser.add_argument("--fd", type=int, metavar="N", help="serve on this inherited listening socket")
    commands = parser.add_subparsers(dest="command", metavar="token|link")
    token = commands.add_parser("token", help="make a token on this host")
    token.add_argument("--name", required=True)
    token.add_argument("--role", required=True)
    token.add_argument("--environment", action="append", default=[], help="limit it to this environment")
    token.add_argument("--client-file", type=Path, help="write address and token there, and print nothing")
    token.add_argument("--if-missing", action="store_true", help="do nothing when there is one already")
    token.add_argument("--url", help="the console's address, for the client's file")
    link = commands.add_parser("link", help="make a link that signs a user in once, whatever else they may do")
    link.add_argument("--name", required=True)
    link.add_argument("--url", help="the console's address, for the link")
    return parser


if __name__ == "__main__":
    sys.exit(main())
