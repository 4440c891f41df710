"""`botkeep workspace`: tenants, and what holds for all bots of one."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.client import connected, path_of
from cli.errors import Misused
from cli.options import AsJson
from cli.render import moment, plain
from cli.screen import Column, Screen, screen, show_list

app = typer.Typer(help="Add and list workspaces, and set what holds for all bots of one.", no_args_is_help=True)

#: Limits whose numbers are bytes, and all of them, in the order of the manual.
_SIZES = ("memory", "output", "disk")
_NAMES = ("memory", "cpu_time", "open_files", "processes", "output", "disk")


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new workspace.")], *, as_json: AsJson = False
) -> None:
    """Add an empty workspace, and print a token that administers it, once.

    For admins of the workspace `default`. With the token in BOTKEEP_TOKEN every command is about the new workspace.
    """
    to = screen(as_json=as_json)
    with connected() as client:
        answer = client.ask("POST", path_of("workspaces"), body={"name": name})
    if as_json:
        to.item(answer)
        return
    to.line(str(answer.get("token")))
    to.remark(
        f"This token administers {plain(name)} and is shown this once. Next: BOTKEEP_TOKEN=… botkeep user add NAME"
    )


@app.command("list")
def list_workspaces(*, as_json: AsJson = False) -> None:
    """List the workspaces that this token or person belongs to."""
    to = screen(as_json=as_json)
    columns = (
        Column("NAME", lambda item: plain(str(item.get("name")))),
        Column("MADE", lambda item: moment(item.get("created_at"), now=to.now)),
        Column("CURRENT", lambda item: "yes" if item.get("current") else ""),
    )
    with connected() as client:
        show_list(to, client.pages(path_of("workspaces")), columns, empty="No workspaces.")


@app.command("limits")
def limits(
    changes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME=VALUE]...", help="Limits to change; `default` goes back to Botkeep's own."),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show the limits of every bot, or change some: memory=2GB cpu_time=10m processes=default.

    The names are memory, cpu_time, open_files, processes, output and disk; a bot.toml can narrow them.
    """
    to = screen(as_json=as_json)
    with connected() as client:
        path = path_of("workspace", "limits")
        answer = client.ask("PATCH", path, body=_parsed(changes)) if changes else client.ask("GET", path)
    if as_json:
        to.item(answer)
        return
    _show(to, answer)


@app.command("connections")
def connections(
    changes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=A,B]...",
            help="Lists to replace: allow, deny or paths; `default` goes back to Botkeep's own.",
        ),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show where data sources may connect to, or change it: allow=*.corp.example,10.0.0.0/8 paths=/srv/data.

    `allow` and `deny` hold hosts, patterns, addresses and networks, `deny` goes first; `paths` holds folders of
    SQLite files on the runners. Link-local and metadata addresses are refused unless a network in `allow` names them.
    """
    to = screen(as_json=as_json)
    with connected() as client:
        path = path_of("workspace", "connections")
        answer = client.ask("PATCH", path, body=_lists(changes)) if changes else client.ask("GET", path)
    if as_json:
        to.item(answer)
        return
    for name in ("allow", "deny", "paths"):
        to.line(f"{name:<6} {plain(', '.join(map(str, answer.get(name) or [])) or 'nothing')}")


def _lists(changes: list[str]) -> dict[str, object]:
    parsed: dict[str, object] = {}
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals or not name:
            raise Misused(
                f"{change!r} is no list.", hint="Write NAME=A,B, such as allow=*.corp.example, or deny=default."
            )
        parsed[name] = None if value == "default" else [part.strip() for part in value.split(",") if part.strip()]
    return parsed


def _parsed(changes: list[str]) -> dict[str, object]:
    parsed: dict[str, object] = {}
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals or not name or not value:
            raise Misused(f"{change!r} is no limit.", hint="Write NAME=VALUE, such as memory=2GB or memory=default.")
        parsed[name] = None if value == "default" else int(value) if value.isascii() and value.isdigit() else value
    return parsed


def _show(to: Screen, answer: dict[str, object]) -> None:
    chosen, holding = answer.get("chosen"), answer.get("limits")
    if not isinstance(chosen, dict) or not isinstance(holding, dict):
        return
    for name in _NAMES:
        value = holding.get(name)
        by = "this workspace" if chosen.get(name) is not None else "Botkeep"
        to.line(f"{name:<12} {plain(_words(name, value)):>10}  by {by}")


def _words(name: str, value: object) -> str:
    if not isinstance(value, (int, float)):
        return "no limit"
    if name in _SIZES:
        return f"{value / (1 << 20):,.6g} MB"
    return f"{value:g} s" if name == "cpu_time" else f"{value:,}"
