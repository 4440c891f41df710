"""`botkeep audit`: who did what."""

from __future__ import annotations

import typer

from cli.client import Item, connected, path_of
from cli.options import AsJson, Limit
from cli.render import badge, moment, plain
from cli.screen import Column, screen, show_list

app = typer.Typer(help="See who did what.", no_args_is_help=True)

#: How much a list shows when nobody says.
NEWEST = 50


@app.command("list")
def list_entries(*, limit: Limit = NEWEST, as_json: AsJson = False) -> None:
    """List what people, tokens and runners did, the newest first."""
    to = screen(as_json=as_json)

    def environment(item: Item) -> str:
        name = item.get("environment")
        return badge(str(name), colour=to.colour) if name else ""

    columns = (
        Column("AT", lambda item: moment(item.get("at"), now=to.now)),
        Column("ACTOR", lambda item: plain(str(item.get("actor")))),
        Column("ACTION", lambda item: plain(str(item.get("action")))),
        Column("OUTCOME", lambda item: plain(str(item.get("outcome")))),
        Column("ENV", environment),
        Column("OBJECT", lambda item: plain(str(item.get("object")))),
    )
    with connected() as client:
        count = show_list(to, client.pages(path_of("audit"), limit=limit), columns, empty="Nothing has happened yet.")
    if limit and count == limit == NEWEST:
        to.remark(f"These are the newest {NEWEST}; --limit 0 shows all.")
