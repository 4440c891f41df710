"""The commands of `botkeep local`: from options to what the host does, and its answer in words or JSON."""

from __future__ import annotations

import argparse
import json
import os
import pwd
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from runner import local_values
from runner.worker import memory_folder
from runner.worker.local import entering, journal, known, residence, showing
from runner.worker.local.custody import State
from runner.worker.local.errors import NotSet
from runner.worker.local.host import Host, Row
from runner.worker.local.settings import LocalSettings
from vault import db
from vault.errors import VaultError
from vault.names import AssetName, shown

#: Seconds that a command waits for the database, which it can do without.
_PATIENCE = 2


class Place:
    """Where a command works: the host, who asks, and how to hear what is declared."""

    def __init__(self, settings: LocalSettings, *, environ: Mapping[str, str]) -> None:
        """Touches nothing yet."""
        self.settings = settings
        in_memory = memory_folder.folder(environ, mounts=memory_folder.MOUNTS.read_text())
        further = [Path(one.memory) for one in known.read(settings.local_folder()).residents.values() if one.memory]
        found = residence.of(settings, in_memory=in_memory, further=[each for each in further if each.is_dir()])
        self.host = Host(settings.local_folder(), found.custody, actor=_person(environ))

    def hear(self) -> None:
        """Ask the database what is declared now; without it, what this host knows is what counts."""
        url = make_url(self.settings.database())
        if url.get_backend_name() == "sqlite":
            if not url.database or not Path(url.database).exists():
                return
        elif "connect_timeout" not in url.query:
            url = url.update_query_dict({"connect_timeout": str(_PATIENCE)})
        engine = db.engine(url)
        try:
            with db.reading(engine) as session:
                declared = local_values.definitions(session)
        except (VaultError, SQLAlchemyError):
            return
        finally:
            engine.dispose()
        if declared or self.host.folder.exists():
            known.write(self.host.folder, declared)

    def environment(self, chosen: str | None) -> str:
        """The environment that is meant: the chosen one, the only one that this host serves, or the default."""
        return chosen or self.host.known.environments[0]


def set_value(place: Place, options: argparse.Namespace) -> int:
    """Set a value."""
    place.hear()  # an asset that was declared again since the last beat has another id
    name, environment = _name(options.asset), place.environment(options.environment)
    definition = place.host.find(options.bot, name)
    first = not place.host.custody.exists
    content, dropped = entering.value(f"{name} in {environment}", file=options.file)
    entry, advice = place.host.set_value(definition, environment, content, now=_now())
    _say(
        options,
        {"bot": entry.bot, "asset": str(name), "environment": environment, "number": entry.number,
         "warnings": list(advice)},
        f"{name} of {options.bot} in {environment} is now local value {entry.number} of this host.",
    )  # fmt: skip
    if not options.json:
        if first:
            print(
                f"The key of this host is new: {place.host.custody.path}. To give it a passphrase: "
                "botkeep local protect --with passphrase",
                file=sys.stderr,
            )
        if dropped:
            print("One trailing newline was dropped; with --file every byte is kept.", file=sys.stderr)
        for sentence in advice:
            print(f"Warning: {sentence}", file=sys.stderr)
    return 0


def list_values(place: Place, options: argparse.Namespace) -> int:
    """List everything, or one bot's."""
    place.hear()
    rows = [row for row in place.host.rows() if options.bot in {None, row.definition.bot}]
    return _list(place, options, rows, empty=_nothing(place))


def orphans(place: Place, options: argparse.Namespace) -> int:
    """List what is not declared any more."""
    place.hear()
    rows = [row for row in place.host.rows() if row.orphan]
    return _list(place, options, rows, empty="No value of this host lacks a declared asset.")


def reveal(place: Place, options: argparse.Namespace) -> int:
    """Print one value."""
    name, environment = _name(options.asset), place.environment(options.environment)
    opened = place.host.reveal(options.bot, name, environment, now=_now())
    if options.json:
        print(json.dumps({"bot": options.bot, "asset": str(name), "environment": environment, "value": opened.text()}))
    else:
        sys.stdout.buffer.write(opened.reveal())
        sys.stdout.buffer.flush()
        if sys.stdout.isatty():
            print()
    return 0


def remove(place: Place, options: argparse.Namespace) -> int:
    """Take a value away."""
    environments = [place.environment(options.environment)]
    for entry in place.host.remove(options.bot, _name(options.asset), environments, now=_now()):
        _say(
            options,
            {"bot": entry.bot, "asset": str(entry.name), "environment": entry.environment, "removed": True},
            f"{entry} has no value on this host now.",
        )
    return 0


def adopt(place: Place, options: argparse.Namespace) -> int:
    """Give an orphan's values to a declared asset."""
    place.hear()
    name = _name(options.asset)
    found = (row for row in place.host.rows() if row.orphan and row.definition.bot == options.bot)
    orphan = next((row for row in found if row.definition.name == name), None)
    if orphan is None:
        raise NotSet(f"{name} of the bot {shown(options.bot)} is no orphan: see `botkeep local orphans`.")
    wanted = place.host.find(options.to_bot or options.bot, _name(options.wanted or str(name)))
    for entry in place.host.adopt(orphan, wanted, now=_now()):
        _say(
            options,
            {"bot": entry.bot, "asset": str(entry.name), "environment": entry.environment, "number": entry.number},
            f"{entry} has the orphan's value now, as number {entry.number}.",
        )
    return 0


def unlock(place: Place, options: argparse.Namespace) -> int:
    """Unlock."""
    passphrase = entering.passphrase("of the local values of this host", file=options.passphrase_file)
    where = place.host.unlock(passphrase, now=_now())
    _say(options, {"locked": False}, f"Unlocked until `botkeep local lock` or the next boot ({where.parent}).")
    return 0


def lock(place: Place, options: argparse.Namespace) -> int:
    """Lock."""
    place.host.lock(now=_now())
    _say(options, {"locked": True}, "Locked; bots that need a local value are refused until it is unlocked.")
    return 0


def protect(place: Place, options: argparse.Namespace) -> int:
    """Protect the key in another way."""
    passphrase = None
    if options.protection == "passphrase":
        what = "for the local values of this host"
        passphrase = entering.passphrase(what, file=options.passphrase_file, new=True)
    place.host.protect(options.protection, passphrase, now=_now())
    further = " Unlock them for the runner: botkeep local unlock" if passphrase is not None else ""
    _say(options, {"protection": options.protection}, f"Protected: {options.protection}.{further}")
    return 0


def export(place: Place, options: argparse.Namespace) -> int:
    """Write an export."""
    place.host.custody.key()  # before anybody types a passphrase for nothing
    passphrase = entering.passphrase("for the export", file=options.passphrase_file, new=True)
    count = place.host.export(options.file, bot=options.bot, passphrase=passphrase, now=_now())
    _say(options, {"file": str(options.file), "values": count}, f"{count} values are in {options.file}.")
    return 0


def take_in(place: Place, options: argparse.Namespace) -> int:
    """Save what an export carries."""
    place.hear()
    passphrase = entering.passphrase("of the export", file=options.passphrase_file)
    done = place.host.take_in(options.file, passphrase=passphrase, replacing=options.replace, now=_now())
    found = {"saved": len(done.saved), "kept": [str(one) for one in done.kept], "orphans": len(done.orphans)}
    _say(options, found, f"{len(done.saved)} values saved on this host.")
    if not options.json:
        for entry in done.kept:
            print(f"{entry} stays as it is here; with --replace it is replaced.", file=sys.stderr)
        if done.orphans:
            print(f"{len(done.orphans)} of them are of no declared asset: botkeep local orphans", file=sys.stderr)
    return 0


def verify(place: Place, options: argparse.Namespace) -> int:
    """Open every value."""
    count = place.host.verify()
    _say(options, {"values": count}, f"{count} values open.")
    return 0


def audit(place: Place, options: argparse.Namespace) -> int:
    """Show the journal."""
    for line in journal.read(place.host.folder):
        text = " ".join(showing.plain(str(line.get(part, ""))) for part in ("at", "actor", "action", "object"))
        _say(options, line, text + ("" if line.get("outcome") == "done" else f" {str(line.get('outcome')).upper()}"))
    broken = journal.broken(place.host.folder)
    if broken is not None:
        print(f"Line {broken} of the journal is not what was written after the one before it.", file=sys.stderr)
    return 0 if broken is None else 1


def status(place: Place, options: argparse.Namespace) -> int:
    """Say how the key is protected and what is missing."""
    host = place.host
    state = host.custody.state() if host.custody.exists or host.store.signature() else State("none", "", locked=False)
    rows, environments = host.rows(), host.known.environments
    declared = [row for row in rows if not row.orphan]
    missing = sum(name not in row.entries for row in declared for name in environments)
    waiting = sorted({row.definition.bot for row in declared if row.entries}) if state.locked else []
    found = {
        "protection": state.protection,
        "locked": state.locked,
        "set": sum(len(row.entries) for row in declared),
        "missing": missing,
        "orphans": len(rows) - len(declared),
        "waiting": waiting,
    }
    text = (
        f"Key: {state.protection}{', locked' if state.locked else ''}. {found['set']} values set, {missing} missing, "
    )
    text += f"{found['orphans']} orphans."
    _say(options, found, text + (f" Bots that wait: {', '.join(waiting)}." if waiting else ""))
    return 0


def window(place: Place, options: argparse.Namespace) -> int:
    """Show the window."""
    from runner.worker.local.window import Window  # noqa: PLC0415 - it takes longer to load than every other command

    del options
    place.hear()
    Window(place.host, now=_now, hear=place.hear).run()
    return 0


def _list(place: Place, options: argparse.Namespace, rows: list[Row], *, empty: str) -> int:
    environments, now = place.host.known.environments, _now()
    if options.json:
        for row in rows:
            print(json.dumps(showing.item(row, environments, now=now)))
        return 0
    for line in showing.lines(rows, environments, now=now):
        print(line)
    if not rows:
        print(empty, file=sys.stderr)
    return 0


def _nothing(place: Place) -> str:
    if place.host.known.heard:
        return "No asset is declared local. Declare one: botkeep asset local GROUP.NAME --bot BOT"
    return (
        "No runner of this host has heard of a local asset yet. Declare one: botkeep asset local GROUP.NAME --bot BOT"
    )


def _name(text: str) -> AssetName:
    return AssetName.parse(text if "." in text else f"GLOBAL.{text}")


def _say(options: argparse.Namespace, record: dict[str, Any], text: str) -> None:
    print(json.dumps(record) if options.json else text)


def _person(environ: Mapping[str, str]) -> str:
    """The account that this runs as, and who it says called it through sudo."""
    try:
        account = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        account = str(os.getuid())
    return f"{account} (sudo by {environ['SUDO_USER']})" if environ.get("SUDO_USER") else account


def _now() -> datetime:
    return datetime.now(UTC)
