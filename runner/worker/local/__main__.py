"""`botkeep local`: values that live on this host alone. Works without any connection.

    botkeep local                              a full-screen window (in a terminal)
    botkeep local set BOT NAME [--env ENV]     a value, from a prompt without echo, a pipe or --file
    botkeep local list [--bot BOT]             what is declared, what is set and how old it is
    botkeep local reveal BOT NAME [--env ENV]  print one value; written into the journal first
    botkeep local remove BOT NAME [--env ENV]  take a value away, an orphan's too
    botkeep local orphans                      values whose asset is not declared any more
    botkeep local adopt BOT NAME --as NAME     give an orphan's values to a declared asset
    botkeep local unlock | lock                where a passphrase protects the key of this host
    botkeep local protect --with passphrase    or keyring, or file
    botkeep local export FILE [--bot BOT]      encrypted, for a second host: botkeep local import FILE
    botkeep local verify | audit | status

NAME is GROUP.NAME, or a NAME of group GLOBAL. Every command takes `--json`. Exit status: 0 done, 1 failed, 2 usage,
3 not found, 4 locked or a wrong passphrase, 5 conflict or invalid.
"""

from __future__ import annotations

from vault.hardening import harden

if __name__ == "__main__":
    harden()  # before anything that will hold a key is loaded

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runner.worker.local import commands
from runner.worker.local.custody import PROTECTIONS
from runner.worker.local.errors import Locked
from runner.worker.local.settings import LocalSettings
from vault import errors
from vault.names import ENVIRONMENTS
from vault.settings import load

_STATUS = {"not_found": 3, "locked": 4, "conflict": 5, "invalid": 5, "unavailable": 6, "failed": 1}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; errors are one sentence on stderr."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words:
        words = ["window"] if sys.stdin.isatty() and sys.stdout.isatty() else ["--help"]
    options = _parser().parse_args(words)
    try:
        return int(options.run(commands.Place(load(LocalSettings), environ=os.environ), options))
    except errors.VaultError as error:
        print(error, file=sys.stderr)
        if options.json:
            print(json.dumps({"error": {"code": _code(error), "message": str(error), "hint": ""}}))
        return _STATUS[_code(error)]
    except KeyboardInterrupt:
        print("Stopped; nothing was saved that was not said to be.", file=sys.stderr)
        return 130


def _code(error: errors.VaultError) -> str:
    return "locked" if isinstance(error, Locked) else errors.code_of(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="botkeep local", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    group = parser.add_subparsers(required=True, metavar="COMMAND")
    _command(group, "window", commands.window, "show everything in a full-screen window")
    for name, run, text in (
        ("set", commands.set_value, "set a value on this host"),
        ("reveal", commands.reveal, "print one value"),
        ("remove", commands.remove, "take a value away"),
    ):
        one = _command(group, name, run, text)
        one.add_argument("bot")
        one.add_argument("asset", help="GROUP.NAME, or NAME of group GLOBAL")
        one.add_argument("--env", choices=ENVIRONMENTS, dest="environment", help="by default the one this host serves")
        if name == "set":
            one.add_argument("--file", type=Path, help="take the bytes of this file, exactly")
    listed = _command(group, "list", commands.list_values, "list what is declared and what is set")
    listed.add_argument("--bot", help="only this bot's")
    _command(group, "orphans", commands.orphans, "list values whose asset is not declared any more")
    adopt = _command(group, "adopt", commands.adopt, "give an orphan's values to a declared asset")
    adopt.add_argument("bot")
    adopt.add_argument("asset", help="the orphan's name")
    adopt.add_argument("--as", dest="wanted", metavar="NAME", help="the declared asset; by default of the same name")
    adopt.add_argument("--to-bot", metavar="BOT", help="its bot; by default of the same name")
    _with_passphrase(_command(group, "unlock", commands.unlock, "unlock the values until `lock` or the next boot"))
    _command(group, "lock", commands.lock, "lock the values")
    protect = _with_passphrase(_command(group, "protect", commands.protect, "protect the key of this host"))
    protect.add_argument("--with", choices=PROTECTIONS, required=True, dest="protection")
    export = _with_passphrase(_command(group, "export", commands.export, "write an encrypted file for a second host"))
    export.add_argument("file", type=Path)
    export.add_argument("--bot", help="only this bot's")
    taken = _with_passphrase(_command(group, "import", commands.take_in, "save what an export carries"))
    taken.add_argument("file", type=Path)
    taken.add_argument("--replace", action="store_true", help="in the place of values that are here")
    _command(group, "verify", commands.verify, "open every value, showing none")
    _command(group, "audit", commands.audit, "show the journal, and whether it is whole")
    _command(group, "status", commands.status, "say how the key is protected and what is missing")
    return parser


def _command(group: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:  # noqa: ANN401 - argparse
    parser: argparse.ArgumentParser = group.add_parser(name, help=text, description=text)
    parser.add_argument("--json", action="store_true", help="answer in JSON")
    parser.set_defaults(run=run)
    return parser


def _with_passphrase(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--passphrase-file", type=Path, help="file (0600) whose first line is the passphrase")
    return parser


if __name__ == "__main__":
    sys.exit(main())
