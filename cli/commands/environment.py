"""`botkeep environment`: the policy of each environment."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.client import connected, path_of
from cli.errors import Misused
from cli.options import AsJson, Environment, Isolation, Unset
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
        Column("ISOLATION", lambda item: plain(str(item.get("isolation") or "any"))),
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
    unset: Annotated[
        Unset | None, typer.Option("--unset", help="Warn when an asset has no value, or refuse to start.")
    ] = None,
    isolation: Annotated[
        Isolation | None, typer.Option("--isolation", help="What a runner must give before it may start a bot.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what happens to jobs whose asset has no value here, and how bots must be kept apart."""
    decided = {name: choice for name, choice in (("unset", unset), ("isolation", isolation)) if choice is not None}
    if not decided:
        raise Misused("Nothing was to be set.", hint="Give --unset, --isolation or both.")
    to = screen(as_json=as_json)
    with connected() as client:
        answer = client.ask("PUT", path_of("environments", environment), body=decided)
    if as_json:
        to.item(answer)
        return
    here = badge(environment, colour=to.colour)
    if unset is not None:
        what = (
            "starts with an empty value and a warning" if unset is Unset.WARN else "is refused before anything starts"
        )
        to.line(f"{here} A job whose asset has no value {what}.")
    if isolation is not None:
        to.line(f"{here} {_ISOLATION[isolation]}")


_ISOLATION = {
    Isolation.ANY: "Bots start on every runner, kept apart as well as its kernel can.",
    Isolation.LANDLOCK: "Bots start only on runners whose kernel has Landlock.",
    Isolation.USER: "Bots start only on runners that give each a user of its own.",
    Isolation.SANDBOX: "Bots start only in a sandbox, on runners that have bubblewrap.",
}
