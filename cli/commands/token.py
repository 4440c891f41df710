"""`botkeep token`: what other programs and people show to the console; a token is shown once."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.client import Item, connected, path_of
from cli.options import AsJson, Environment, NarrowedIn, Role, narrowed
from cli.render import badge, moment, plain
from cli.screen import Column, screen, show_list

app = typer.Typer(help="Create, list and remove tokens.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The token.")]


@app.command()
def create(
    name: NameArgument,
    *,
    role: Annotated[Role, typer.Option("--role", help="What it may do.")],
    environment: Annotated[
        list[Environment] | None, typer.Option("--env", help="An environment it may touch; without it, all.")
    ] = None,
    lower: NarrowedIn = None,
    as_json: AsJson = False,
) -> None:
    """Create a token and print it, once."""
    to = screen(as_json=as_json)
    body: Item = {"name": name, "role": role}
    if environment:
        body["environments"] = [each.value for each in environment]
    if lower:
        body["narrowed"] = narrowed(lower)
    with connected() as client:
        answer = client.ask("POST", path_of("tokens"), body=body)
    if as_json:
        to.item(answer)
        return
    to.line(str(answer.get("token")))
    to.remark("This is the only time it is shown; keep it where its user finds it.")


@app.command("list")
def list_tokens(*, as_json: AsJson = False) -> None:
    """List tokens; never what they are."""
    to = screen(as_json=as_json)

    def environments(item: Item) -> str:
        names, lower = item.get("environments"), item.get("narrowed")
        where = " ".join(badge(str(name), colour=to.colour) for name in names) if isinstance(names, list) else ""
        pairs = lower.items() if isinstance(lower, dict) else ()
        but = " ".join(f"{badge(str(name), colour=to.colour)} {plain(str(role))}" for name, role in pairs)
        return f"{where or 'all'}{f', {but}' if but else ''}"

    columns = (
        Column("NAME", lambda item: plain(str(item.get("name")))),
        Column("ROLE", lambda item: plain(str(item.get("role")))),
        Column("ENVIRONMENTS", environments),
        Column("CREATED", lambda item: moment(item.get("created_at"), now=to.now)),
        Column("BY", lambda item: plain(str(item.get("created_by") or ""))),
    )
    with connected() as client:
        show_list(
            to,
            client.pages(path_of("tokens")),
            columns,
            empty="No tokens yet. Create one: botkeep token create NAME --role viewer",
        )


@app.command()
def remove(name: NameArgument, *, as_json: AsJson = False) -> None:
    """Remove a token; whoever holds it is refused from now on."""
    to = screen(as_json=as_json)
    with connected() as client:
        client.ask("DELETE", path_of("tokens", name))
    if as_json:
        to.item({"name": name, "removed": True})
    else:
        to.line(f"{plain(name)} removed.")
