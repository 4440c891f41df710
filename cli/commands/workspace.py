"""`botkeep workspace`: what holds for all bots."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.client import connected, path_of
from cli.errors import Misused
from cli.options import AsJson
from cli.render import plain
from cli.screen import Screen, screen

app = typer.Typer(help="See and set what holds for all bots.", no_args_is_help=True)

#: Limits whose numbers are bytes, and all of them, in the order of the manual.
_SIZES = ("memory", "output", "disk")
_NAMES = ("memory", "cpu_time", "open_files", "processes", "output", "disk")


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
