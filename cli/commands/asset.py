"""`botkeep asset`: named slots with one value per environment; a value goes in and never comes out."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import values
from cli.asking import Yes, agreed
from cli.client import Item, connected, path_of
from cli.options import AsJson, AssetArgument, Environment, InEnvironment, OfBot, asset_parts
from cli.render import badge, fields, moment, plain, word
from cli.screen import Column, Screen, screen, show_list

app = typer.Typer(help="Set values per environment, and see what is set.", no_args_is_help=True)


@app.command("set")
def set_value(
    asset: AssetArgument,
    *,
    environment: InEnvironment,
    bot: OfBot = None,
    file: Annotated[Path | None, typer.Option("--file", help="Take the bytes of this file, exactly.")] = None,
    description: Annotated[str | None, typer.Option("--description", help="What it is for.")] = None,
    as_json: AsJson = False,
) -> None:
    """Set the value of an asset in an environment.

    Without --file the value comes from stdin, or from a prompt without echo. From stdin exactly one trailing
    newline is dropped; use --file where every byte counts. A value is never taken from the command line.
    """
    to = screen(as_json=as_json)
    group, name = asset_parts(asset)
    save_value(
        to,
        (group, name),
        environment,
        content=read_value(to, asset, file=file),
        bot=bot,
        description=description,
    )


def read_value(to: Screen, what: str, *, file: Path | None) -> bytes:
    """The value for an asset, from where the caller and the terminal say."""
    if file is not None:
        return values.from_file(file)
    if sys.stdin.isatty():
        return values.from_prompt(what, err=to.err)
    content, dropped = values.from_pipe(sys.stdin.buffer)
    if dropped:
        to.remark("One trailing newline was dropped; with --file every byte is kept.")
    return content


def save_value(
    to: Screen,
    asset: tuple[str, str],
    environment: Environment,
    *,
    content: bytes,
    bot: str | None,
    description: str | None,
) -> None:
    """Send a value, and show its number and what to know about it."""
    path = path_of("assets", *asset, "values", environment)
    query = {"bot": bot, "description": description}
    with connected() as client:
        answer = client.send("PUT", path, content, kind="application/octet-stream", query=query)
    if to.json:
        to.item(answer)
        return
    shown = badge(environment, colour=to.colour)
    to.line(f"{plain(str(answer.get('asset')))} {shown} is now value {answer.get('number')}.")
    for warning in answer.get("warnings") or []:
        to.remark(f"Warning: {plain(str(warning))}")


@app.command()
def local(
    asset: AssetArgument,
    *,
    bot: Annotated[str, typer.Option("--bot", help="The bot that it belongs to.")],
    description: Annotated[str | None, typer.Option("--description", help="What it is for.")] = None,
    as_json: AsJson = False,
) -> None:
    """Declare an asset of one bot whose values live on the hosts of runners, never here."""
    to = screen(as_json=as_json)
    path = path_of("assets", *asset_parts(asset), "local")
    with connected() as client:
        answer = client.ask("PUT", path, query={"bot": bot, "description": description})
    if as_json:
        to.item(answer)
    else:
        name = plain(str(answer.get("asset")))
        to.line(f"{name} of {plain(bot)} is local. Set it on each host: botkeep local set {plain(bot)} {name}")


@app.command()
def unset(asset: AssetArgument, *, environment: InEnvironment, bot: OfBot = None, as_json: AsJson = False) -> None:
    """Leave an asset without a value in an environment; the numbered values stay for a rollback."""
    to = screen(as_json=as_json)
    group, name = asset_parts(asset)
    with connected() as client:
        client.ask("DELETE", path_of("assets", group, name, "values", environment), query={"bot": bot})
    if as_json:
        to.item({"asset": asset, "environment": environment, "unset": True})
    else:
        to.line(f"{asset} {badge(environment, colour=to.colour)} has no value now.")


@app.command()
def rollback(
    asset: AssetArgument,
    *,
    environment: InEnvironment,
    number: Annotated[int, typer.Option("--to", min=1, metavar="N", help="The number of the value to return to.")],
    bot: OfBot = None,
    as_json: AsJson = False,
) -> None:
    """Make an earlier value the current one again, by its number."""
    to = screen(as_json=as_json)
    group, name = asset_parts(asset)
    path = path_of("assets", group, name, "values", environment, "rollback")
    with connected() as client:
        answer = client.ask("POST", path, query={"bot": bot}, body={"number": number})
    if as_json:
        to.item(answer)
    else:
        shown = badge(environment, colour=to.colour)
        to.line(f"{asset} {shown} is value {answer.get('number', number)} again.")


@app.command("list")
def list_assets(*, bot: OfBot = None, as_json: AsJson = False) -> None:
    """List assets and which environments have a value; never the values."""
    to = screen(as_json=as_json)
    with connected() as client:
        show_list(
            to,
            client.pages(path_of("assets"), query={"bot": bot}),
            asset_columns(to),
            empty="No assets yet. Set one: botkeep asset set GROUP.NAME --env dev",
        )


def asset_columns(to: Screen) -> tuple[Column, ...]:
    """The columns of a list of assets."""

    def state(environment: Environment) -> Column:
        return Column(
            environment.upper(),
            lambda asset: (
                "local" if asset.get("local") else _value((asset.get("environments") or {}).get(environment), to.now)
            ),
        )

    return (
        Column("ASSET", lambda asset: plain(str(asset.get("asset")))),
        Column("SCOPE", lambda asset: plain(str(asset.get("scope")))),
        *(state(environment) for environment in Environment),
        Column("DESCRIPTION", lambda asset: plain(str(asset.get("description") or ""))),
    )


def _value(value: dict[str, Any] | None, now: datetime) -> str:
    if not value:
        return "-"
    empty = " empty" if value.get("empty") else ""
    return f"#{value.get('number')}{empty} {moment(value.get('set_at'), now=now)}"


@app.command()
def show(asset: AssetArgument, *, bot: OfBot = None, as_json: AsJson = False) -> None:
    """Show an asset and the history of its values, by number."""
    to = screen(as_json=as_json)
    group, name = asset_parts(asset)
    with connected() as client:
        found = client.ask("GET", path_of("assets", group, name), query={"bot": bot})
    if as_json:
        to.item(found)
    else:
        _show_asset(to, found)


def _show_asset(to: Screen, asset: Item) -> None:
    to.lines(
        fields(
            (
                ("asset", plain(str(asset.get("asset")))),
                ("scope", plain(str(asset.get("scope")))),
                ("description", plain(str(asset.get("description") or ""))),
            )
        )
    )
    for environment in Environment:
        values_of = (asset.get("history") or {}).get(environment) or []
        to.line(f"{badge(environment, colour=to.colour)} {'' if values_of else 'no value'}".rstrip())
        for value in values_of:
            mark = "*" if value.get("current") else " "
            by = plain(str(value.get("created_by") or ""))
            at = moment(value.get("created_at"), now=to.now)
            to.line(f"  {mark} #{value.get('number')}  {at}  {by}".rstrip())


@app.command()
def remove(asset: AssetArgument, *, bot: OfBot = None, yes: Yes = False, as_json: AsJson = False) -> None:
    """Remove an asset with its values in every environment."""
    to = screen(as_json=as_json)
    group, name = asset_parts(asset)
    agreed(f"Remove {plain(asset)} with its values in every environment?", yes=yes)
    with connected() as client:
        client.ask("DELETE", path_of("assets", group, name), query={"bot": bot})
    if as_json:
        to.item({"asset": asset, "removed": True})
    else:
        to.line(f"{asset} removed in every environment.")


@app.command()
def coverage(*, bot: OfBot = None, as_json: AsJson = False) -> None:
    """Show which assets are set, empty or missing in each environment."""
    to = screen(as_json=as_json)
    columns = (
        Column("ASSET", lambda asset: plain(str(asset.get("asset")))),
        Column("SCOPE", lambda asset: plain(str(asset.get("scope")))),
        Column("DEV", lambda asset: word(str(asset.get("dev")), colour=to.colour)),
        Column("STAGING", lambda asset: word(str(asset.get("staging")), colour=to.colour)),
        Column("PROD", lambda asset: word(str(asset.get("prod")), colour=to.colour)),
    )
    with connected() as client:
        show_list(
            to,
            client.pages(path_of("coverage"), query={"bot": bot}),
            columns,
            empty="No assets yet. Set one: botkeep asset set GROUP.NAME --env dev",
        )
        if not as_json:
            for page in client.pages(path_of("coverage", "refusals"), query={"bot": bot}):
                for one in page:
                    to.remark(_refusal(one))


def _refusal(item: Item) -> str:
    missing = item.get("missing")
    names = ", ".join(plain(str(name)) for name in missing) if isinstance(missing, list) else "an asset"
    bot, environment = plain(str(item.get("bot"))), plain(str(item.get("environment")))
    used_by = item.get("used_by")
    flows = [plain(str(name)) for name in used_by] if isinstance(used_by, list) else []
    also = f" So would be {', '.join(flows)}." if flows else ""
    return f"{bot} would be refused in {environment}: no value for {names}.{also}"
