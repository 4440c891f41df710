"""`botkeep item`: work items in trays, which bots reserve one by one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.client import Item, connected, path_of
from cli.commands.history import NEWEST
from cli.commands.job import Priority
from cli.errors import Refused
from cli.options import AsJson, Environment, InEnvironment, Limit, MaybeEnvironment
from cli.render import badge, fields, moment, plain, word
from cli.screen import Column, screen, show_list

app = typer.Typer(help="Put work items into trays and see what became of them.", no_args_is_help=True)

ItemArgument = Annotated[str, typer.Argument(metavar="ID", help="The work item.")]


@app.command()
def add(
    tray: Annotated[
        str, typer.Argument(metavar="TRAY", help="The tray, which exists as soon as something lies in it.")
    ],
    *,
    environment: InEnvironment = Environment.DEV,
    file: Annotated[Path | None, typer.Option("--file", help="The data, JSON; otherwise standard input.")] = None,
    reference: Annotated[
        str | None, typer.Option("--reference", help="Taken once in this tray and environment.")
    ] = None,
    priority: Annotated[Priority | None, typer.Option("--priority", help="Which are reserved first.")] = None,
    deadline: Annotated[str | None, typer.Option("--deadline", help="For example 2026-08-31T17:00:00Z.")] = None,
    retries: Annotated[int | None, typer.Option("--retries", help="Further tries after a failure (3).")] = None,
    as_json: AsJson = False,
) -> None:
    """Put an item into a tray."""
    to = screen(as_json=as_json)
    text = file.read_text(encoding="utf-8") if file else sys.stdin.read()
    try:
        data = json.loads(text)
    except ValueError:
        raise Refused(
            "The data is not JSON.", hint='Write for example \'{"invoice": 12}\', or "12" in quotes.'
        ) from None
    body: Item = {"tray": tray, "environment": environment, "data": data}
    given = {"reference": reference, "priority": priority, "deadline": deadline, "retries": retries}
    body |= {key: value for key, value in given.items() if value is not None}
    with connected() as client:
        item = client.ask("POST", path_of("work-items"), body=body)
    if as_json:
        to.item(item)
    else:
        to.line(str(item.get("id")))


@app.command("list")
def list_items(
    tray: Annotated[str | None, typer.Argument(metavar="[TRAY]", help="Only of this tray.")] = None,
    *,
    state: Annotated[str | None, typer.Option("--state", help="waiting, reserved, done, failed or dead.")] = None,
    environment: MaybeEnvironment = None,
    limit: Limit = NEWEST,
    as_json: AsJson = False,
) -> None:
    """List work items, the newest first."""
    to = screen(as_json=as_json)
    columns = (
        Column("ID", lambda item: str(item.get("id"))),
        Column("TRAY", lambda item: plain(str(item.get("tray")))),
        Column("ENV", lambda item: badge(str(item.get("environment")), colour=to.colour)),
        Column("REFERENCE", lambda item: plain(str(item.get("reference") or ""))),
        Column("STATE", lambda item: word(str(item.get("state")), colour=to.colour)),
        Column("TRIES", lambda item: str(item.get("tries"))),
        Column("ADDED", lambda item: moment(item.get("created_at"), now=to.now)),
    )
    query = {"tray": tray, "state": state, "environment": environment}
    with connected() as client:
        pages = client.pages(path_of("work-items"), query=query, limit=limit)
        show_list(to, pages, columns, empty="No such work items. Add one: botkeep item add TRAY --file FILE")


@app.command()
def show(item_id: ItemArgument, *, as_json: AsJson = False) -> None:
    """Show an item and what became of it."""
    to = screen(as_json=as_json)
    with connected() as client:
        item = client.ask("GET", path_of("work-items", item_id))
    if as_json:
        to.item(item)
        return
    to.lines(
        fields(
            (
                ("item", str(item.get("id"))),
                ("tray", plain(str(item.get("tray")))),
                ("environment", badge(str(item.get("environment")), colour=to.colour)),
                ("reference", plain(str(item.get("reference") or ""))),
                ("state", word(str(item.get("state")), colour=to.colour)),
                ("reason", plain(str(item.get("reason") or ""))),
                ("detail", plain(str(item.get("detail") or ""))),
                ("tries", f"{item.get('tries')} of {int(item.get('retries') or 0) + 1}"),
                ("deadline", moment(item.get("deadline"), now=to.now) if item.get("deadline") else ""),
                ("job", str(item.get("job_id") or "")),
                ("added by", plain(str(item.get("created_by") or ""))),
                ("data", plain(json.dumps(item.get("data"), ensure_ascii=False))),
                ("result", plain(json.dumps(item["result"])) if item.get("result") is not None else ""),
            )
        )
    )


@app.command()
def retry(item_id: ItemArgument, *, as_json: AsJson = False) -> None:
    """Put a failed item or a dead letter back into its tray, with all its tries."""
    to = screen(as_json=as_json)
    with connected() as client:
        item = client.ask("POST", path_of("work-items", item_id, "retry"))
    if as_json:
        to.item(item)
    else:
        to.line(f"Work item {item_id} waits in {plain(str(item.get('tray')))} again.")


@app.command()
def remove(item_id: ItemArgument, *, as_json: AsJson = False) -> None:
    """Take an item that no bot holds out of its tray."""
    to = screen(as_json=as_json)
    with connected() as client:
        client.ask("DELETE", path_of("work-items", item_id))
    if as_json:
        to.item({"id": item_id, "removed": True})
    else:
        to.line(f"Work item {item_id} removed.")
