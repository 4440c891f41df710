"""`botkeep log`: how long logs, the files of jobs and records are kept, and what that lets go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from cli.client import Item, connected, path_of
from cli.errors import Misused
from cli.options import AsJson, MaybeEnvironment
from cli.render import badge, plain
from cli.screen import Column, Screen, screen, show_list

app = typer.Typer(help="See and set how long logs and the files of jobs are kept.", no_args_is_help=True)


@app.command("retention")
def retention(
    *,
    bot: Annotated[str | None, typer.Option("--bot", help="Only for this bot.")] = None,
    environment: MaybeEnvironment = None,
    age: Annotated[
        str | None, typer.Option("--age", metavar="AGE", help="30d, 12h, forever, or default: as wider rules say.")
    ] = None,
    size: Annotated[
        str | None,
        typer.Option("--size", metavar="SIZE", help="500MB for each bot and environment, forever, or default."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the rules, or make one: --age 90d --env prod. The narrowest rule that says something counts."""
    to = screen(as_json=as_json)
    with connected() as client:
        if age is None and size is None:
            if bot is not None or environment is not None:
                raise Misused("Nothing was to be set.", hint="Give --age, --size or both.")
            _show(to, client.pages(path_of("retention")))
            return
        body: Item = {"age": age or "default", "size": size or "default"}
        body |= {"bot": bot} if bot else {}
        body |= {"environment": environment} if environment else {}
        answer = client.ask("PUT", path_of("retention"), body=body)
    if as_json:
        to.item(answer)
        return
    of = f"{plain(bot) if bot else 'all bots'} in {environment or 'every environment'}"
    to.line(f"Logs of {of}: age {plain(str(answer.get('age')))}, size {plain(str(answer.get('size')))}.")


@app.command("prune")
def prune(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go; the scheduler prunes.")] = False,
    environment: MaybeEnvironment = None,
    as_json: AsJson = False,
) -> None:
    """Say what the scheduler removes in its next round."""
    if not dry_run:
        raise Misused(
            "The scheduler prunes by itself.", hint="See what it will remove with --dry-run; set rules with retention."
        )
    to = screen(as_json=as_json)
    columns = (
        Column("BOT", lambda item: plain(str(item.get("bot")))),
        Column("ENV", lambda item: badge(str(item.get("environment")), colour=to.colour)),
        Column("ATTEMPTS", lambda item: f"{int(item.get('attempts') or 0):,}"),
        Column("BYTES", lambda item: f"{int(item.get('bytes') or 0):,}"),
        Column("RULE", lambda item: plain(str(item.get("rule")))),
    )
    with connected() as client:
        pages = client.pages(path_of("retention", "due"), query={"environment": environment})
        show_list(to, pages, columns, empty="Nothing is to be pruned now.")


@app.command("records")
def records(
    kind: Annotated[
        str | None, typer.Argument(metavar="[KIND]", help="firings, runs, results, items or dead (work items).")
    ] = None,
    *,
    age: Annotated[str | None, typer.Option("--age", metavar="AGE", help="30d, 12h, forever, or default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show how long firings, runs, results and work items are kept and how many are due to go, or change one kind."""
    to = screen(as_json=as_json)
    if (kind is None) != (age is None):
        raise Misused("Nothing was to be set.", hint="Give both, for example: botkeep log records firings --age 30d")
    columns = (
        Column("KIND", lambda item: plain(str(item.get("kind")))),
        Column("AGE", lambda item: plain(str(item.get("age")))),
        Column("DUE", lambda item: f"{int(item.get('due') or 0):,}"),
        Column("SET BY", lambda item: plain(str(item.get("set_by") or "Botkeep"))),
    )
    with connected() as client:
        if kind is None:
            show_list(to, client.pages(path_of("retention", "records")), columns, empty="")
            return
        answer = client.ask("PUT", path_of("retention", "records", kind), body={"age": age or ""})
    if as_json:
        to.item(answer)
        return
    to.line(f"Records of {plain(kind)} are kept: {plain(str(answer.get('age')))}.")


def _show(to: Screen, pages: Iterator[list[Item]]) -> None:
    columns = (
        Column("BOT", lambda item: plain(str(item.get("bot") or "all"))),
        Column("ENV", lambda item: plain(str(item.get("environment") or "all"))),
        Column("AGE", lambda item: plain(str(item.get("age")))),
        Column("SIZE", lambda item: plain(str(item.get("size")))),
        Column("SET BY", lambda item: plain(str(item.get("set_by") or "Botkeep"))),
    )
    show_list(to, pages, columns, empty="")
