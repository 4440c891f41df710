"""`botkeep secret`: assets of the group GLOBAL, in the words of Roboto's command.

`read` shows a plaintext, so it works only where private keys are: it becomes `python -m vault`, which audits
it. No other command shows one, so it takes the name of any asset.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from cli.asking import Yes, agreed
from cli.client import Item, connected, path_of
from cli.commands.asset import asset_columns, read_value, save_value
from cli.errors import Refused
from cli.options import AsJson, Environment, InEnvironment, asset_parts
from cli.processes import become
from cli.screen import screen, show_list

app = typer.Typer(help="GLOBAL assets, in Roboto's words.", no_args_is_help=True)

#: The group that these commands mean.
GROUP = "GLOBAL"

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The asset GLOBAL.NAME.")]


def _full(name: str) -> str:
    group, dot, rest = name.partition(".")
    if dot and group.upper() != GROUP:
        raise Refused(
            f"{name!r} is not the name of an asset of the group {GROUP}.",
            hint="Leave its group out, or see `botkeep asset --help` for the assets of other groups.",
        )
    return f"{GROUP}.{rest if dot else name}"


@app.command()
def write(
    name: NameArgument,
    *,
    environment: InEnvironment = Environment.DEV,
    file: Annotated[Path | None, typer.Option("--file", help="Take the bytes of this file, exactly.")] = None,
    as_json: AsJson = False,
) -> None:
    """Set GLOBAL.NAME from stdin, from a prompt without echo, or from a file."""
    to = screen(as_json=as_json)
    asset = asset_parts(_full(name))
    content = read_value(to, _full(name), file=file)
    save_value(to, asset, environment, content=content, bot=None, description=None)


@app.command("list")
def list_global(*, as_json: AsJson = False) -> None:
    """List the assets of the group GLOBAL; never their values."""
    to = screen(as_json=as_json)
    with connected() as client:
        show_list(
            to,
            _of_group(client.pages(path_of("assets"))),
            asset_columns(to),
            empty="No GLOBAL assets yet. Write one: botkeep secret write NAME",
        )


def _of_group(pages: Iterable[list[Item]]) -> Iterator[list[Item]]:
    for page in pages:
        yield [asset for asset in page if str(asset.get("asset", "")).startswith(f"{GROUP}.")]


@app.command()
def read(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The asset GLOBAL.NAME; another one as GROUP.NAME.")],
    *,
    environment: InEnvironment = Environment.DEV,
    bot: Annotated[str | None, typer.Option("--bot", help="The value that belongs to this bot alone.")] = None,
    workspace: Annotated[str | None, typer.Option("--workspace", help="Which, where several have such one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the value of an asset; on a key host only, and audited."""
    full = name if "." in name else _full(name)
    asset_parts(full)
    chosen = [] if bot is None else ["--bot", bot]
    chosen += [] if workspace is None else ["--workspace", workspace]
    become("vault", ["read", full, "--env", environment, *chosen, *(["--json"] if as_json else [])])


@app.command()
def delete(name: NameArgument, *, yes: Yes = False, as_json: AsJson = False) -> None:
    """Remove GLOBAL.NAME with its values in every environment."""
    to = screen(as_json=as_json)
    group, asset = asset_parts(_full(name))
    agreed(f"Remove {group}.{asset} with its values in every environment?", yes=yes)
    with connected() as client:
        client.ask("DELETE", path_of("assets", group, asset))
    if as_json:
        to.item({"asset": f"{group}.{asset}", "removed": True})
    else:
        to.line(f"{group}.{asset} removed in every environment.")
