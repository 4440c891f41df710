"""`botkeep calendar`: named days on which schedules do not fire."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.client import connected, path_of
from cli.definitions import days
from cli.options import AsJson
from cli.render import moment, plain
from cli.screen import Column, screen, show_list

app = typer.Typer(help="Days on which schedules do not fire.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The calendar.")]


@app.command("set")
def set_days(
    name: NameArgument,
    *,
    file: Annotated[Path, typer.Option("--file", help="An .ics file, or text with one day a line: 2027-12-25.")],
    as_json: AsJson = False,
) -> None:
    """Make a calendar of the days in a file, or replace its days."""
    to = screen(as_json=as_json)
    with connected() as client:
        item = client.ask("PUT", path_of("calendars", name), body={"days": days(file)})
    if as_json:
        to.item(item)
    else:
        to.line(f"{plain(name)} has {len(item.get('days') or [])} days.")


@app.command("list")
def list_calendars(*, as_json: AsJson = False) -> None:
    """List the calendars."""
    to = screen(as_json=as_json)
    columns = (
        Column("NAME", lambda item: plain(str(item.get("name")))),
        Column("DAYS", lambda item: str(len(item.get("days") or []))),
        Column("CHANGED", lambda item: moment(item.get("changed_at"), now=to.now)),
    )
    with connected() as client:
        pages = client.pages(path_of("calendars"))
        show_list(to, pages, columns, empty="No calendars yet. Make one: botkeep calendar set NAME --file FILE")


@app.command()
def show(name: NameArgument, *, as_json: AsJson = False) -> None:
    """Show a calendar's days."""
    to = screen(as_json=as_json)
    with connected() as client:
        item = client.ask("GET", path_of("calendars", name))
    if as_json:
        to.item(item)
    else:
        to.lines(plain(str(day)) for day in item.get("days") or [])


@app.command()
def remove(name: NameArgument, *, as_json: AsJson = False) -> None:
    """Forget a calendar that no trigger names."""
    to = screen(as_json=as_json)
    with connected() as client:
        client.ask("DELETE", path_of("calendars", name))
    if as_json:
        to.item({"name": name, "removed": True})
    else:
        to.line(f"{plain(name)} removed.")
