"""`botkeep concurrency`: how many jobs of an environment, a bot or an asset run at the same time."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.client import Item, connected, path_of
from cli.errors import Misused
from cli.options import AsJson, Environment, InEnvironment
from cli.render import badge, plain
from cli.screen import Column, screen, show_list

app = typer.Typer(help="Limit how many jobs run at the same time.", no_args_is_help=True)

OfTheBot = Annotated[str | None, typer.Option("--bot", metavar="NAME", help="Count the jobs of this bot.")]
OfTheAsset = Annotated[
    str | None, typer.Option("--asset", metavar="GROUP.NAME", help="Count the jobs whose bot may see this asset.")
]


OfTheQueue = Annotated[str | None, typer.Option("--queue", metavar="NAME", help="Count the jobs of this queue.")]
OfTheWorkflow = Annotated[
    str | None, typer.Option("--workflow", metavar="NAME", help="Count the jobs of this workflow.")
]


@app.command("set")
def set_limit(
    at_once: Annotated[int, typer.Argument(metavar="NUMBER", min=1, help="How many at the same time.")],
    *,
    environment: InEnvironment,
    bot: OfTheBot = None,
    asset: OfTheAsset = None,
    queue: OfTheQueue = None,
    workflow: OfTheWorkflow = None,
    as_json: AsJson = False,
) -> None:
    """Let at most NUMBER jobs run at the same time: of the environment, or only those that an option counts.

    One account that may be logged in once: botkeep concurrency set 1 --env prod --asset SAP.PASSWORD
    """
    kind, target = _target(bot=bot, asset=asset, queue=queue, workflow=workflow)
    to = screen(as_json=as_json)
    with connected() as client:
        answer = client.ask(
            "PUT", path_of("concurrency", environment, kind), body={"at_once": at_once, "target": target}
        )
    if as_json:
        to.item(answer)
        return
    here = badge(environment, colour=to.colour)
    to.line(f"{here} {_jobs(at_once)} of {_whose(kind, target)} at the same time; {answer.get('running')} run now.")


@app.command("list")
def list_limits(*, as_json: AsJson = False) -> None:
    """List the limits, and how many jobs each counts now."""
    to = screen(as_json=as_json)
    columns = (
        Column("ENV", lambda item: badge(str(item.get("environment")), colour=to.colour)),
        Column("COUNTS", lambda item: plain(_whose(str(item.get("kind")), str(item.get("target"))))),
        Column("AT ONCE", lambda item: plain(str(item.get("at_once")))),
        Column("RUNNING", lambda item: plain(str(item.get("running")))),
        Column("BY", lambda item: plain(str(item.get("created_by") or ""))),
    )
    with connected() as client:
        show_list(
            to,
            client.pages(path_of("concurrency")),
            columns,
            empty="No limits yet. Set one: botkeep concurrency set 1 --env prod --asset GROUP.NAME",
        )


@app.command()
def remove(
    *,
    environment: InEnvironment,
    bot: OfTheBot = None,
    asset: OfTheAsset = None,
    queue: OfTheQueue = None,
    workflow: OfTheWorkflow = None,
    as_json: AsJson = False,
) -> None:
    """Take a limit away; what waits for it starts."""
    kind, target = _target(bot=bot, asset=asset, queue=queue, workflow=workflow)
    to = screen(as_json=as_json)
    with connected() as client:
        client.ask("DELETE", path_of("concurrency", environment, kind), query={"target": target or None})
    if as_json:
        to.item(_removed(environment, kind, target))
    else:
        to.line(f"{badge(environment, colour=to.colour)} The limit of {_whose(kind, target)} is removed.")


def _removed(environment: Environment, kind: str, target: str) -> Item:
    return {"environment": environment.value, "kind": kind, "target": target, "removed": True}


def _target(**targets: str | None) -> tuple[str, str]:
    given = [(kind, target) for kind, target in targets.items() if target is not None]
    if len(given) > 1:
        raise Misused("A limit counts the jobs of one thing.", hint="Set two limits.")
    return given[0] if given else ("environment", "")


def _whose(kind: str, target: str) -> str:
    return "all jobs" if kind == "environment" else f"{kind} {plain(target)}"


def _jobs(count: int) -> str:
    return "At most 1 job" if count == 1 else f"At most {count} jobs"
