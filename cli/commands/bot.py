"""`botkeep bot`: register programs and look at their versions."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from cli import completion
from cli.archive import archive
from cli.asking import Yes, agreed
from cli.client import Item, connected, path_of
from cli.diff import written
from cli.errors import Misused
from cli.options import AsJson
from cli.render import duration, fields, moment, plain, table
from cli.screen import Column, Screen, screen, show_list

app = typer.Typer(help="Register bots and look at their versions.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The bot.", autocompletion=completion.bots)]


@app.command()
def add(
    name: NameArgument,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A .py file, or a folder with bot.toml or robot.yaml.")],
    *,
    task: Annotated[str | None, typer.Option("--task", help="Which task of the robot.yaml.")] = None,
    as_json: AsJson = False,
) -> None:
    """Register a bot, or a new version of one."""
    to = screen(as_json=as_json)
    with connected() as client:
        answer = client.send(
            "POST", path_of("bots"), archive(path, task=task), kind="application/zip", query={"name": name}
        )
    if as_json:
        to.item(answer)
    else:
        digest = str(answer.get("digest"))[:12]
        to.line(f"{plain(str(answer.get('name')))} version {answer.get('version')} ({digest})")


@app.command("list")
def list_bots(*, as_json: AsJson = False) -> None:
    """List the bots."""
    to = screen(as_json=as_json)
    columns = (
        Column("NAME", lambda bot: plain(str(bot.get("name")))),
        Column("VERSION", lambda bot: str(bot.get("version"))),
        Column("DIGEST", lambda bot: str(bot.get("digest"))[:12]),
        Column("REGISTERED", lambda bot: moment(bot.get("created_at"), now=to.now)),
    )
    with connected() as client:
        show_list(
            to,
            client.pages(path_of("bots")),
            columns,
            empty="No bots yet. Register one: botkeep bot add NAME PATH",
        )


@app.command()
def show(
    name: NameArgument,
    *,
    version: Annotated[
        int | None, typer.Option("--version", min=1, help="One version with its files, not the newest of the bot.")
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", metavar="PATH", help="What this file of the version says.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a bot: what it declares, and its versions; or one version, or a file of it."""
    to = screen(as_json=as_json)
    with connected() as client:
        if version is None and file is None:
            _show_bot(to, client.ask("GET", path_of("bots", name)))
            return
        number = version or int(client.ask("GET", path_of("bots", name)).get("version") or 1)
        at = ("bots", name, "versions", str(number))
        if file is None:
            _show_version(to, client.ask("GET", path_of(*at)))
        else:
            _show_file(to, client.ask("GET", path_of(*at, "source"), query={"file": file}))


@app.command()
def diff(
    name: NameArgument,
    old: Annotated[
        int | None, typer.Argument(metavar="[OLD", min=1, help="A version; else the newest but one.")
    ] = None,
    new: Annotated[int | None, typer.Argument(metavar="NEW]", min=1, help="Else the newest.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show what changed between two versions of a bot, line by line."""
    to = screen(as_json=as_json)
    with connected() as client:
        newest = new or int(client.ask("GET", path_of("bots", name)).get("version") or 1)
        before = old or newest - 1
        if before < 1:
            raise Misused(f"{plain(name)} has one version only; there is nothing to compare it with.")
        answer = client.ask("GET", path_of("bots", name, "diff"), query={"before": before, "after": newest})
    if as_json:
        to.item(answer)
    else:
        to.lines(written(answer, colour=to.colour))


def _show_bot(to: Screen, bot: Item) -> None:
    if to.json:
        to.item(bot)
        return
    to.lines(fields(_facts(bot, now=to.now)))
    for version in bot.get("versions") or []:
        number = version.get("version")
        digest = str(version.get("digest", ""))[:12]
        to.line(f"version {number}  {digest}  {moment(version.get('created_at'), now=to.now)}")


def _show_version(to: Screen, version: Item) -> None:
    if to.json:
        to.item(version)
        return
    to.lines(fields(_facts(version, now=to.now)))
    files = version.get("files")
    if files is None:
        to.remark("This version was added before its files were listed; add it again to see them.")
        return
    to.line("")
    rows = [[plain(str(file["name"])), str(file["size"]), str(file["digest"])[:12]] for file in files]
    to.lines(table(["FILE", "BYTES", "DIGEST"], [rows]))


def _show_file(to: Screen, file: Item) -> None:
    if to.json:
        to.item(file)
    elif file.get("text") is None:
        to.remark(plain(str(file.get("note"))))
    else:
        to.lines(plain(line) for line in str(file["text"]).removesuffix("\n").split("\n"))


def _facts(bot: Item, *, now: datetime) -> list[tuple[str, str]]:
    manifest = bot.get("manifest") or {}
    assets = bot.get("assets", manifest.get("assets"))
    return [
        ("name", plain(str(bot.get("name") or ""))),
        ("version", str(bot.get("version"))),
        ("digest", str(bot.get("digest") or "")),
        ("entry", plain(str(manifest.get("entry") or manifest.get("command") or ""))),
        ("timeout", duration(float(manifest.get("timeout") or 0)) if manifest.get("timeout") else ""),
        ("assets", "every workspace asset" if assets is None else plain(", ".join(map(str, assets)) or "none")),
        ("parameters", plain(", ".join(manifest.get("parameters") or {}))),
        ("registered", moment(bot.get("created_at"), now=now)),
    ]


@app.command()
def remove(name: NameArgument, *, yes: Yes = False, as_json: AsJson = False) -> None:
    """Remove a bot with its own assets; its jobs stay in history."""
    to = screen(as_json=as_json)
    agreed(f"Take the bot {plain(name)} out of use, and remove its own assets?", yes=yes)
    with connected() as client:
        client.ask("DELETE", path_of("bots", name))
    if as_json:
        to.item({"name": name, "removed": True})
    else:
        to.line(f"{plain(name)} removed with its own assets. Its jobs stay in history.")
