"""`botkeep bot`: register programs and look at their versions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli import completion
from cli.archive import archive
from cli.client import connected, path_of
from cli.options import AsJson
from cli.render import duration, fields, moment, plain
from cli.screen import Column, screen, show_list

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
def show(name: NameArgument, *, as_json: AsJson = False) -> None:
    """Show a bot: what it declares, and its versions."""
    to = screen(as_json=as_json)
    with connected() as client:
        bot = client.ask("GET", path_of("bots", name))
    if as_json:
        to.item(bot)
        return
    manifest = bot.get("manifest") or {}
    assets = bot.get("assets", manifest.get("assets"))
    to.lines(
        fields(
            (
                ("name", plain(str(bot.get("name")))),
                ("version", str(bot.get("version"))),
                ("digest", str(bot.get("digest") or "")),
                ("entry", plain(str(manifest.get("entry") or manifest.get("command") or ""))),
                ("timeout", duration(float(manifest.get("timeout") or 0)) if manifest.get("timeout") else ""),
                (
                    "assets",
                    "every workspace asset" if assets is None else plain(", ".join(map(str, assets)) or "none"),
                ),
                ("parameters", plain(", ".join(manifest.get("parameters") or {}))),
                ("registered", moment(bot.get("created_at"), now=to.now)),
            )
        )
    )
    for version in bot.get("versions") or []:
        number = version.get("version")
        digest = str(version.get("digest", ""))[:12]
        to.line(f"version {number}  {digest}  {moment(version.get('created_at'), now=to.now)}")


@app.command()
def remove(name: NameArgument, *, as_json: AsJson = False) -> None:
    """Remove a bot; its jobs stay in history."""
    to = screen(as_json=as_json)
    with connected() as client:
        client.ask("DELETE", path_of("bots", name))
    if as_json:
        to.item({"name": name, "removed": True})
    else:
        to.line(f"{plain(name)} removed. Its jobs stay in history.")
