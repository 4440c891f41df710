"""`botkeep runner`: the process itself (`botkeep runner --environment prod`), and the list of those there
are.
"""

from __future__ import annotations

import os
from typing import Annotated

import typer

from cli.client import connected, path_of
from cli.errors import Misused
from cli.options import AsJson, Environment
from cli.processes import become
from cli.render import badge, moment, plain, word
from cli.screen import Column, screen, show_list

app = typer.Typer(help="Run a runner here, or list runners.")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The runner.")]


@app.callback(invoke_without_command=True)
def runner(
    context: typer.Context,
    *,
    environment: Annotated[
        list[Environment] | None,
        typer.Option("--environment", help="An environment that this runner serves."),
    ] = None,
    group: Annotated[list[str] | None, typer.Option("--group", help="A group that it serves.")] = None,
    concurrency: Annotated[int | None, typer.Option("--concurrency", min=1, help="How many bots at once.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Its name; by default the host's.")] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="NAME=VALUE", help="What the list of runners says about it."),
    ] = None,
) -> None:
    """Run a runner here, or list runners."""
    arguments = [part for each in environment or [] for part in ("--environment", each.value)]
    arguments += [part for each in group or [] for part in ("--group", each)]
    arguments += ["--concurrency", str(concurrency)] if concurrency else []
    arguments += ["--name", name] if name is not None else []
    arguments += [f"--label={each}" for each in label or []]
    if context.invoked_subcommand:
        if arguments:
            raise Misused(
                f"`botkeep runner {context.invoked_subcommand}` asks the console and starts no runner.",
                hint="Leave out the options before it.",
            )
        return
    if not environment and not os.environ.get("BOTKEEP_ENVIRONMENTS"):
        raise Misused(
            "A runner serves at least one environment.",
            hint="Write `botkeep runner --environment prod`, or set BOTKEEP_ENVIRONMENTS; or: botkeep runner list",
        )
    become("runner.worker", arguments)


@app.command("list")
def list_runners(*, as_json: AsJson = False) -> None:
    """List the runners."""
    to = screen(as_json=as_json)

    def environments(item: dict[str, object]) -> str:
        names = item.get("environments")
        return " ".join(badge(str(name), colour=to.colour) for name in names) if isinstance(names, list) else ""

    columns = (
        Column("NAME", lambda item: plain(str(item.get("name")))),
        Column("STATE", lambda item: word(str(item.get("state")), colour=to.colour)),
        Column("SERVES", environments),
        Column("GROUPS", lambda item: plain(" ".join(map(str, item.get("groups") or [])))),
        Column("LOAD", lambda item: f"{item.get('running', '?')} of {item.get('concurrency', '?')}"),
        Column("LABELS", lambda item: plain(" ".join(f"{n}={v}" for n, v in (item.get("labels") or {}).items()))),
        Column("HOST", lambda item: plain(str(item.get("host") or ""))),
        Column("VERSION", lambda item: plain(str(item.get("version") or ""))),
        Column(
            "LAST HEARD OF",
            lambda item: moment(item.get("heartbeat_at"), now=to.now),
        ),
    )
    with connected() as client:
        show_list(
            to,
            client.pages(path_of("runners")),
            columns,
            empty="No runners yet. Start one on a host with keys: botkeep runner --environment dev",
        )


@app.command()
def drain(name: NameArgument, *, as_json: AsJson = False) -> None:
    """Let a runner finish what it has and take nothing new."""
    to = screen(as_json=as_json)
    with connected() as client:
        answer = client.ask("PUT", path_of("runners", name, "drain"))
    if as_json:
        to.item(answer)
    else:
        to.line(f"{plain(name)} takes no new jobs.")


@app.command()
def remove(name: NameArgument, *, as_json: AsJson = False) -> None:
    """Forget a runner that is gone."""
    to = screen(as_json=as_json)
    with connected() as client:
        client.ask("DELETE", path_of("runners", name))
    if as_json:
        to.item({"name": name, "removed": True})
    else:
        to.line(f"{plain(name)} removed.")
