"""`botkeep key`: the key pairs of the environments, as the console lists them; rotating needs the private ones."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from cli.client import Item, connected, path_of
from cli.connection import connection
from cli.errors import Unreachable
from cli.home import locate
from cli.options import AsJson, InEnvironment
from cli.processes import become
from cli.render import badge, moment, plain
from cli.screen import Column, screen, show_list

#: What to do where there is no key.
NONE = "No key pair yet. Make them: python -m vault keygen --all --if-missing"

app = typer.Typer(help="List keys, and rotate them on a key host.", no_args_is_help=True)


@app.command("list")
def list_keys(*, as_json: AsJson = False) -> None:
    """List keys: what each wraps, which runners hold it, what to do next.

    On a key host that knows no console it lists the keys that the database knows, and what each wraps.
    """
    if not _knows_console():
        become("vault", ["list", *(["--json"] if as_json else [])])
    to = screen(as_json=as_json)
    columns = (
        Column("ENVIRONMENT", lambda item: badge(str(item.get("environment")), colour=to.colour)),
        Column("KEY", lambda item: plain(str(item.get("key")))),
        Column("STATE", _state),
        Column("WRAPS", lambda item: f"{item.get('values')} of {item.get('total')}"),
        Column("SINCE", lambda item: moment(item.get("created_at"), now=to.now)),
        Column("HELD BY", lambda item: _runners(item, holds=True)),
        Column("NOT BY", lambda item: _runners(item, holds=False)),
    )
    advice: list[str] = []
    with connected() as client:

        def noted(page: list[Item]) -> list[Item]:
            advice.extend(
                f"{item.get('environment')}: {plain(str(item.get('advice')))}" for item in page if item.get("advice")
            )
            return page

        show_list(
            to,
            map(noted, client.pages(path_of("keys"))),
            columns,
            empty=NONE,
        )
    for sentence in () if as_json else advice:
        to.remark(sentence)


@app.command()
def rotate(
    *,
    environment: InEnvironment,
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Only add the next key to the key file, so that runners get it first.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Give an environment a new key and wrap its values for it, without re-entering them.

    An interrupted rotation goes on when it is started again.
    """
    flags = (*(["--prepare"] if prepare else []), *(["--json"] if as_json else []))
    become("vault", ["rotate", "--env", environment, *flags])


def _knows_console() -> bool:
    try:
        connection(os.environ, locate(os.environ))
    except Unreachable:
        return False
    return True


def _state(item: Item) -> str:
    if item.get("prepared"):
        return "prepared"
    return "in force" if item.get("current") else "former"


def _runners(item: Item, *, holds: bool) -> str:
    runners = item.get("runners")
    found = [one for one in runners if isinstance(one, dict)] if isinstance(runners, list) else []
    return ", ".join(plain(str(one.get("name"))) for one in found if bool(one.get("holds")) is holds) or "-"
