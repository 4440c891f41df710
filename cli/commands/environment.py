"""`botkeep environment`: the policy of each environment."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.client import connected, path_of
from cli.options import AsJson, Environment, Unset
from cli.render import badge, plain
from cli.screen import Column, screen, show_list

app = typer.Typer(help="See and set the policy of each environment.", no_args_is_help=True)


@app.command("list")
def list_environments(*, as_json: AsJson = False) -> None:
    """List the environments and their policies."""
    to = screen(as_json=as_json)
    columns = (
        Column("ENV", lambda item: badge(str(item.get("environment")), colour=to.colour)),
        Column("UNSET ASSETS", lambda item: plain(str(item.get("unset")))),
        Column("RECIPIENT", lambda item: plain(str(item.get("recipient") or "-"))),
    )
    with connected() as client:
        show_list(
            to,
            client.pages(path_of("environments")),
            columns,
            empty="No environments yet. Make their keys on a key host: python -m vault keygen --all",
        )


@app.command("set")
def set_policy(
    environment: Annotated[Environment, typer.Argument(metavar="ENV", help="The environment.")],
    *,
    unset: Annotated[Unset, typer.Option("--unset", help="Warn when an asset has no value, or refuse to start.")],
    as_json: AsJson = False,
) -> None:
    """Say what happens to a job whose asset has no value here."""
    to = screen(as_json=as_json)
    with connected() as client:
        answer = client.ask("PUT", path_of("environments", environment), body={"unset": unset})
    if as_json:
        to.item(answer)
        return
    what = "starts with an empty value and a warning" if unset is Unset.WARN else "is refused before anything starts"
    to.line(f"{badge(environment, colour=to.colour)} A job whose asset has no value {what}.")
