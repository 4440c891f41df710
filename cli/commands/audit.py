"""`botkeep audit`: who did what."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from cli.client import Client, Item, connected, path_of
from cli.commands.history import instant
from cli.errors import Refused
from cli.home import locate
from cli.options import AsJson, Limit, MaybeEnvironment
from cli.render import badge, moment, plain
from cli.screen import Column, Screen, screen, show_list

app = typer.Typer(help="See who did what.", no_args_is_help=True)

#: How much a list shows when nobody says.
NEWEST = 50


@app.command("list")
def list_entries(
    *,
    actor: Annotated[str | None, typer.Option("--actor", help="Only what this one did.")] = None,
    action: Annotated[str | None, typer.Option("--action", help="Only asset.set, or asset for all of it.")] = None,
    environment: MaybeEnvironment = None,
    refused: Annotated[bool, typer.Option("--refused", help="Only what was refused.")] = False,
    about: Annotated[str | None, typer.Option("--about", help="Only objects that hold this text.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="Done at most so long ago (2h, 7d), or from this time on.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="Done before: 2h, 7d, or a time.")] = None,
    limit: Limit = NEWEST,
    as_json: AsJson = False,
) -> None:
    """List what people, tokens and runners did, the newest first."""
    to = screen(as_json=as_json)

    def where(item: Item) -> str:
        name = item.get("environment")
        return badge(str(name), colour=to.colour) if name else ""

    columns = (
        Column("AT", lambda item: moment(item.get("at"), now=to.now)),
        Column("ACTOR", lambda item: plain(str(item.get("actor")))),
        Column("ACTION", lambda item: plain(str(item.get("action")))),
        Column("OUTCOME", lambda item: plain(str(item.get("outcome")))),
        Column("ENV", where),
        Column("OBJECT", lambda item: plain(str(item.get("object")))),
        Column("ADDRESS", lambda item: plain(str(item.get("address") or "-"))),
    )
    query = {
        "actor": actor,
        "action": action,
        "environment": environment,
        "outcome": "refused" if refused else None,
        "about": about,
        "since": None if since is None else instant(since, now=to.now).isoformat(),
        "until": None if until is None else instant(until, now=to.now).isoformat(),
    }
    with connected() as client:
        pages = client.pages(path_of("audit"), query=query, limit=limit)
        count = show_list(to, pages, columns, empty="Nothing has happened yet.")
    if limit and count == limit == NEWEST:
        to.remark(f"These are the newest {NEWEST}; --limit 0 shows all.")


@app.command()
def verify(
    *,
    anchors: Annotated[
        Path | None,
        typer.Option("--anchors", help="The file of heads that the scheduler writes.  [default: that of the home]"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check that no audit row was edited, removed, moved or put in.

    Exit status 1 when something is wrong. The chain is also compared with the heads that were written down outside
    of the database, which tell when all of it was written anew.
    """
    to = screen(as_json=as_json)
    file = anchors or locate(os.environ).path / "audit" / "heads.jsonl"
    findings: list[Item] = []
    with connected() as client:
        checked, last = 0, Item()
        for last in _verified(client):
            checked += int(last.get("checked") or 0)
            findings += last.get("findings") or []
        compared = _compare(client, file, findings, required=anchors is not None)
    result = {
        "ok": not findings,
        "checked": checked,
        "seq": last.get("seq"),
        "hash": last.get("hash"),
        "anchors": compared,
        "unsealed": last.get("unsealed"),
        "unsealed_since": last.get("unsealed_since"),
        "findings": findings,
    }
    if as_json:
        to.item(result)
    else:
        _show(to, result, file)
    if findings:
        raise typer.Exit(1)


@app.command()
def export(
    *,
    file: Annotated[Path | None, typer.Option("--file", help="Write there instead of to stdout; must be new.")] = None,
    as_json: AsJson = False,  # noqa: ARG001 - the lines are JSON in any case, an error only with it
) -> None:
    """Print everything, oldest first: one JSON object a line, with its place in the chain, its digest and its hash."""
    with connected() as client:
        blocks = client.blocks(path_of("audit", "export"))
        if file is None:
            for block in blocks:
                sys.stdout.buffer.write(block)
            sys.stdout.buffer.flush()
            return
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise Refused(f"{file} cannot be written: {error.strerror}.", hint="Name a file that is new.") from None
        with os.fdopen(descriptor, "wb") as target:
            for block in blocks:
                target.write(block)


def _verified(client: Client) -> Iterator[Item]:
    after: object = 0
    while after is not None:
        answer = client.ask("GET", path_of("audit", "verification"), query={"after": int(str(after)), "limit": 2000})
        yield answer
        after = answer.get("next")


def _compare(client: Client, file: Path, findings: list[Item], *, required: bool) -> int:
    """Compare with the heads in the file; answers how many there were."""
    try:
        lines = file.read_text().splitlines()
    except OSError as error:
        if required:
            raise Refused(f"{file} cannot be read: {error.strerror}.", hint="Name the scheduler's file.") from None
        return 0
    try:
        heads = [json.loads(line) for line in lines if line.strip()]
        known = [(str(head["workspace"]), {"seq": head["seq"], "hash": head["hash"]}) for head in heads]
    except (ValueError, KeyError, TypeError):
        raise Refused(f"{file} is no file of heads.", hint="Name the file that the scheduler writes.") from None
    path = path_of("audit", "comparisons")
    workspace = client.ask("POST", path, body={"anchors": []}).get("workspace")
    ours = [anchor for owner, anchor in known if owner == workspace]
    for start in range(0, len(ours), 1000):
        findings += client.ask("POST", path, body={"anchors": ours[start : start + 1000]}).get("findings") or []
    return len(ours)


def _show(to: Screen, result: Item, file: Path) -> None:
    for finding in result["findings"]:
        to.line(plain(f"{finding.get('kind')}: {finding.get('sentence')}"))
    verdict = "The chain holds" if result["ok"] else "The chain is broken"
    to.line(f"{verdict}: {result['checked']} rows checked, {result['anchors']} anchored heads compared.")
    if not result["anchors"]:
        to.remark(f"There are no anchored heads in {file}; name the scheduler's file with --anchors.")
    if result["unsealed"]:
        to.remark(f"{result['unsealed']} of the newest rows have no place in the chain yet; is the scheduler running?")
