"""`python -m vault`: the work of a key host, where private keys are. Nothing here runs in the console.

    python -m vault keygen --env prod | --all [--if-missing]   make key pairs; never overwrites one
    python -m vault list                                       which keys exist, and how many values each wraps
    python -m vault rotate --env prod [--prepare]              a new key pair; data keys are wrapped again
    python -m vault forget --env prod --key ID                 remove an old private key that wraps nothing
    python -m vault verify [--env prod]                        open every stored value, report what does not
    python -m vault read GROUP.NAME --env prod [--bot BOT]     print one value; audited

Every command takes `--json`. Exit status: 0 done, 1 something did not verify, 2 usage, 3 not found,
5 conflict or invalid, 6 the database cannot be reached.
"""

from __future__ import annotations

from vault.hardening import harden

if __name__ == "__main__":
    harden()  # before anything that will hold a key is loaded

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine

from vault import db, errors, keyhost, rotation
from vault.names import ENVIRONMENTS, AssetName
from vault.settings import VaultSettings, load


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; errors are one sentence on stderr."""
    options = _parser().parse_args(argv)
    try:
        settings = load(VaultSettings)
        engine = db.engine(settings.database())
        return int(options.run(options, settings, engine))
    except errors.VaultError as error:
        print(error, file=sys.stderr)
        if options.json:
            print(json.dumps({"error": {"code": errors.code_of(error), "message": str(error), "hint": ""}}))
        return _STATUS[errors.code_of(error)]
    except KeyboardInterrupt:
        print("Stopped; run the same command again to go on.", file=sys.stderr)
        return 130


_STATUS = {"not_found": 3, "conflict": 5, "invalid": 5, "unavailable": 6, "failed": 1}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m vault", description="Keys and values on a key host.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    keygen = _command(commands, "keygen", _keygen, "make the key pair of an environment")
    which = keygen.add_mutually_exclusive_group(required=True)
    which.add_argument("--env", choices=ENVIRONMENTS, action="append", dest="environments")
    which.add_argument("--all", action="store_const", const=list(ENVIRONMENTS), dest="environments")
    keygen.add_argument("--if-missing", action="store_true", help="do nothing where a key pair exists")
    keygen.add_argument("--protect", action="store_true", help="protect the key file with a passphrase")
    _command(commands, "list", _list, "list keys")
    rotate = _command(commands, "rotate", _rotate, "give an environment a new key pair")
    rotate.add_argument("--env", choices=ENVIRONMENTS, required=True, dest="environment")
    rotate.add_argument(
        "--prepare", action="store_true", help="only add the new key to the key file, so that runners can get it first"
    )
    forget = _command(commands, "forget", _forget, "remove an old private key that wraps nothing")
    forget.add_argument("--env", choices=ENVIRONMENTS, required=True, dest="environment")
    forget.add_argument("--key", required=True, metavar="ID", help="the key's id, as `list` shows it")
    verify = _command(commands, "verify", _verify, "open every stored value")
    verify.add_argument("--env", choices=ENVIRONMENTS, action="append", dest="environments")
    read = _command(commands, "read", _read, "print one value")
    read.add_argument("asset", help="GROUP.NAME, or NAME of group GLOBAL")
    read.add_argument("--env", choices=ENVIRONMENTS, required=True, dest="environment")
    read.add_argument("--bot", help="read the value that belongs to this bot alone")
    read.add_argument("--workspace", help="which workspace's, where several have such an asset")
    return parser


def _command(commands: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:  # noqa: ANN401 - argparse
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.add_argument("--json", action="store_true", help="answer in JSON")
    parser.set_defaults(run=run)
    return parser


def _keygen(options: argparse.Namespace, settings: VaultSettings, engine: Engine) -> int:
    for environment in options.environments:
        made = keyhost.make_key(
            engine,
            environment,
            settings=settings,
            protect=options.protect,
            if_missing=options.if_missing,
            now=datetime.now(UTC),
        )
        word = "made" if made.new else "exists"
        _say(
            options,
            {"environment": environment, "key": made.key_id, "path": str(made.path), "new": made.new},
            text=f"{environment}: key {made.key_id} {word} in {made.path}",
        )
    return 0


def _list(options: argparse.Namespace, _settings: VaultSettings, engine: Engine) -> int:
    for key in keyhost.describe_keys(engine):
        state = "current" if key.retired_at is None else f"retired {key.retired_at:%Y-%m-%d}"
        _say(
            options,
            {
                "environment": key.environment,
                "key": key.key_id,
                "current": key.retired_at is None,
                "created_at": key.created_at.isoformat(),
                "values": key.values,
            },
            text=f"{key.environment:8} {key.key_id}  {state:20} wraps {key.values} values",
        )
    return 0


def _rotate(options: argparse.Namespace, settings: VaultSettings, engine: Engine) -> int:
    if options.prepare:
        key_id = rotation.prepare(engine, options.environment, settings=settings)
        _say(
            options,
            {"environment": options.environment, "prepared": key_id},
            text=f"{options.environment}: key {key_id} is in the key file and not used yet. Give the file to every "
            f"runner of {options.environment}, then run: python -m vault rotate --env {options.environment}",
        )
        return 0
    failures: list[keyhost.Failure] = []
    steps = rotation.rotate(engine, options.environment, settings=settings, failures=failures, now=datetime.now(UTC))
    done = _progress(steps, f"wrapping the values of {options.environment} again")
    _tell_failures(options, failures)
    left = f" {len(failures)} do not open and stay as they are." if failures else ""
    _say(
        options,
        {"environment": options.environment, "rewrapped": done, "failed": len(failures)},
        text=f"{options.environment}: {done} values are wrapped for the new key.{left} Give every runner of "
        f"{options.environment} the new key file; keep the old key in it until `list` shows 0 values for it.",
    )
    return 1 if failures else 0


def _forget(options: argparse.Namespace, settings: VaultSettings, engine: Engine) -> int:
    rotation.forget(engine, options.environment, key_id=options.key, settings=settings, now=datetime.now(UTC))
    _say(
        options,
        {"environment": options.environment, "forgotten": options.key},
        text=f"{options.environment}: key {options.key} is no longer in the key file.",
    )
    return 0


def _verify(options: argparse.Namespace, settings: VaultSettings, engine: Engine) -> int:
    failures: list[keyhost.Failure] = []
    with_keys = {key.environment for key in keyhost.describe_keys(engine)}
    environments = options.environments or [each for each in ENVIRONMENTS if each in with_keys]
    checked = 0
    for environment in environments:
        verification = keyhost.verify(engine, environment, settings=settings, failures=failures, now=datetime.now(UTC))
        checked += _progress(verification, f"opening the values of {environment}")
    _tell_failures(options, failures)
    _say(
        options,
        {"checked": checked, "failed": len(failures)},
        text=f"{checked} values checked, {len(failures)} do not open.",
    )
    return 1 if failures else 0


def _tell_failures(options: argparse.Namespace, failures: list[keyhost.Failure]) -> None:
    for failure in failures:
        _say(
            options,
            {"environment": failure.environment, "asset": failure.asset, "number": failure.number,
             "problem": failure.problem},
            text=f"{failure.environment} {failure.asset} number {failure.number}: {failure.problem}",
        )  # fmt: skip


def _read(options: argparse.Namespace, settings: VaultSettings, engine: Engine) -> int:
    name = AssetName.parse(options.asset if "." in options.asset else f"GLOBAL.{options.asset}")
    opened = keyhost.read(
        engine,
        name,
        environment=options.environment,
        bot=options.bot,
        workspace=options.workspace,
        settings=settings,
        now=datetime.now(UTC),
    )
    if options.json:
        print(json.dumps({"asset": str(name), "value": opened.text()}))
    else:
        sys.stdout.buffer.write(opened.reveal())
        sys.stdout.buffer.flush()
        if sys.stdout.isatty():
            print()
    return 0


def _progress(steps: Iterator[keyhost.Step], what: str) -> int:
    """Follow long work on stderr, on one line of a terminal; answers how many were done."""
    done = 0
    for step in steps:
        done = step.done
        if sys.stderr.isatty():
            print(f"\r{what}: {step.done} of {step.total}", end="", file=sys.stderr)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    return done


def _say(options: argparse.Namespace, record: dict[str, Any], *, text: str) -> None:
    print(json.dumps(record) if options.json else text)


if __name__ == "__main__":
    sys.exit(main())
