"""`botkeep source`: data sources, whose definitions hold references to assets and never a value."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.client import Client, Item, connected, path_of
from cli.documents import read_document
from cli.errors import CliError
from cli.options import AsJson, Environment, InEnvironment
from cli.render import badge, fields, moment, plain
from cli.screen import Column, Screen, screen, show_list

app = typer.Typer(help="Define where bots get their data from.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The data source.")]

#: Seconds between two looks for the answer to a check, and how long one is waited for: the server says what
#: happened before.
PAUSE, PATIENCE = 0.2, 90.0


class Kind(StrEnum):
    """What a data source is."""

    SQL = "sql"
    IMAP = "imap"


@app.command()
def add(
    name: NameArgument,
    *,
    kind: Annotated[Kind, typer.Option("--kind", help="What it is.")],
    config: Annotated[Path, typer.Option("--config", help="The definition: TOML, or JSON in a .json file.")],
    environment: Annotated[
        list[Environment] | None, typer.Option("--env", help="Open it in this environment only; may be repeated.")
    ] = None,
    bot: Annotated[list[str] | None, typer.Option("--bot", help="Only this bot may use it; may be repeated.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Change the one of that name.")] = False,
    as_json: AsJson = False,
) -> None:
    """Save a data source. Write {{ASSET.GROUP.NAME}} where a user, a password or anything else is to be filled in."""
    to = screen(as_json=as_json)
    order: Item = {"kind": kind, "definition": read_document(config), "bots": bot or None}
    if environment:
        order["environments"] = [str(each) for each in environment]
    with connected() as client:
        if replace:
            answer = client.ask("PUT", path_of("sources", name), body=order)
        else:
            answer = client.ask("POST", path_of("sources"), body={"name": name, **order})
    if as_json:
        to.item(answer)
        return
    to.line(f"{plain(name)} saved. Try it: botkeep source check {plain(name)} --env {_first(answer)}")


@app.command("list")
def list_sources(*, as_json: AsJson = False) -> None:
    """List the data sources."""
    to = screen(as_json=as_json)
    columns = (
        Column("NAME", lambda item: plain(str(item.get("name")))),
        Column("KIND", lambda item: plain(str(item.get("kind")))),
        Column("OPEN IN", lambda item: _badges(to, item)),
        Column("BOTS", _bots),
        Column("CHANGED", lambda item: moment(item.get("updated_at"), now=to.now)),
    )
    with connected() as client:
        show_list(
            to,
            client.pages(path_of("sources")),
            columns,
            empty="No data sources yet. Add one: botkeep source add NAME --kind sql --config FILE",
        )


@app.command()
def show(name: NameArgument, *, as_json: AsJson = False) -> None:
    """Show a data source: its definition as it is stored, and who may use it."""
    to = screen(as_json=as_json)
    with connected() as client:
        source = client.ask("GET", path_of("sources", name))
    if as_json:
        to.item(source)
        return
    definition: dict[str, Any] = source.get("definition") or {}
    written = [(key, plain(str(value))) for key, value in definition.items() if value not in (None, "", [], {})]
    to.lines(
        fields(
            (
                ("name", plain(str(source.get("name")))),
                ("kind", plain(str(source.get("kind")))),
                ("open in", _badges(to, source)),
                ("bots", _bots(source)),
                (
                    "changed",
                    f"{moment(source.get('updated_at'), now=to.now)} by {plain(str(source.get('updated_by')))}",
                ),
                *written,
            )
        )
    )


@app.command()
def check(name: NameArgument, *, environment: InEnvironment, as_json: AsJson = False) -> None:
    """Let a runner of the environment open a data source, and say in one sentence how far it came."""
    to = screen(as_json=as_json)
    with connected() as client:
        found = client.ask("POST", path_of("sources", name, "checks"), body={"environment": environment})
        found = _answered(client, name, found)
    if as_json:
        to.item(found)
    elif found.get("state") == "ok":
        to.line(plain(str(found.get("sentence"))))
    if found.get("state") != "ok":
        if as_json:
            raise typer.Exit(CliError.status)
        raise CliError(plain(str(found.get("sentence"))))


@app.command()
def cancel(
    name: NameArgument,
    fan_out: Annotated[str, typer.Argument(metavar="ID", help="The id that `botkeep run BOT --source NAME` said.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Cancel a fan-out: it starts nothing more, and those of its jobs that have not ended are cancelled."""
    to = screen(as_json=as_json)
    with connected() as client:
        found = client.ask("POST", path_of("sources", name, "fan-outs", fan_out, "cancellation"))
    if as_json:
        to.item(found)
    else:
        to.line(f"Cancelled; {found.get('jobs')} jobs had been started. See what became of them: botkeep job list")


@app.command()
def remove(name: NameArgument, *, as_json: AsJson = False) -> None:
    """Forget a data source; the assets that it refers to stay."""
    to = screen(as_json=as_json)
    with connected() as client:
        client.ask("DELETE", path_of("sources", name))
    if as_json:
        to.item({"name": name, "removed": True})
    else:
        to.line(f"{plain(name)} removed. The assets that it referred to stay.")


def _answered(client: Client, name: str, found: Item) -> Item:
    until = time.monotonic() + PATIENCE
    while found.get("state") in ("waiting", "running"):
        if time.monotonic() > until:
            raise CliError("The check was not answered in time.", hint="See what the runners do: botkeep runner list")
        time.sleep(PAUSE)
        found = client.ask("GET", path_of("sources", name, "checks", str(found.get("id"))))
    return found


def _first(item: Item) -> str:
    environments = item.get("environments")
    return plain(str(environments[0])) if isinstance(environments, list) and environments else "dev"


def _badges(to: Screen, item: Item) -> str:
    return " ".join(badge(str(each), colour=to.colour) for each in item.get("environments") or [])


def _bots(item: Item) -> str:
    bots = item.get("bots")
    return "every bot" if bots is None else plain(", ".join(map(str, bots)) or "none")
