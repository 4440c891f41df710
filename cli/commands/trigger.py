"""`botkeep trigger`: what starts bots by time and by events."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from cli import values
from cli.client import Item, connected, path_of
from cli.commands.job import parameters
from cli.definitions import definition
from cli.errors import Refused
from cli.options import AsJson, Limit, MaybeEnvironment
from cli.render import badge, fields, moment, plain, word
from cli.screen import Column, Screen, screen, show_list

app = typer.Typer(help="Start bots by schedules, webhooks, files and the ends of others.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The trigger.")]


@app.command()
def add(
    name: NameArgument,
    *,
    file: Annotated[Path, typer.Option("--file", help="Its definition, TOML or JSON.")],
    as_json: AsJson = False,
) -> None:
    """Save a trigger, or change one that exists."""
    to = screen(as_json=as_json)
    with connected() as client:
        saved = client.ask("POST", path_of("triggers"), body={"name": name, "definition": definition(file)})
    if as_json:
        to.item(saved)
        return
    to.line(f"{plain(name)} saved. {_what_next(saved, to)}")


@app.command("list")
def list_triggers(*, limit: Limit = 0, as_json: AsJson = False) -> None:
    """List the triggers."""
    to = screen(as_json=as_json)
    columns = (
        Column("NAME", lambda item: plain(str(item.get("name")))),
        Column("KIND", lambda item: plain(str(item.get("kind")))),
        Column("STARTS", _starts),
        Column("ENV", lambda item: badge(str(item.get("environment")), colour=to.colour)),
        Column("STATE", lambda item: word(_state(item), colour=to.colour)),
        Column("LAST", lambda item: _last(item, now=to.now)),
        Column("NEXT", lambda item: moment(item.get("next_fire_at"), now=to.now)),
    )
    with connected() as client:
        pages = client.pages(path_of("triggers"), limit=limit)
        show_list(to, pages, columns, empty="No triggers yet. Save one: botkeep trigger add NAME --file FILE")


@app.command()
def show(name: NameArgument, *, as_json: AsJson = False) -> None:
    """Show a trigger and its latest firing."""
    to = screen(as_json=as_json)
    with connected() as client:
        item = client.ask("GET", path_of("triggers", name))
        url = client.url
    if as_json:
        to.item(item)
        return
    last = item.get("last_firing") or {}
    to.lines(
        fields(
            [
                ("name", plain(name)),
                ("kind", plain(str(item.get("kind")))),
                ("starts", _starts(item)),
                ("environment", badge(str(item.get("environment")), colour=to.colour)),
                ("state", word(_state(item), colour=to.colour)),
                ("address", f"{url}{item['hook']}" if item.get("hook") else ""),
                ("next", moment(item.get("next_fire_at"), now=to.now) if item.get("next_fire_at") else ""),
                ("last firing", f"{moment(last.get('instant'), now=to.now)} {_outcome(last)}" if last else ""),
                ("definition", plain(_compact(item.get("definition") or {}))),
            ]
        )
    )


@app.command()
def pause(name: NameArgument, *, as_json: AsJson = False) -> None:
    """Let a trigger fire no more until it is resumed."""
    _change("PUT", name, "fires no more until it is resumed.", as_json=as_json)


@app.command()
def resume(name: NameArgument, *, as_json: AsJson = False) -> None:
    """Let a paused trigger fire again, from now on."""
    _change("DELETE", name, "fires again.", as_json=as_json)


@app.command()
def remove(name: NameArgument, *, as_json: AsJson = False) -> None:
    """Take a trigger out of use; what it started stays in history."""
    to = screen(as_json=as_json)
    with connected() as client:
        client.ask("DELETE", path_of("triggers", name))
    if as_json:
        to.item({"name": name, "removed": True})
    else:
        to.line(f"{plain(name)} removed.")


@app.command()
def key(
    name: NameArgument,
    *,
    given: Annotated[
        bool, typer.Option("--given", help="Take the key that the sender made: from stdin, or a prompt without echo.")
    ] = False,
    file: Annotated[Path | None, typer.Option("--file", help="Take it from this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Give a webhook a key: a new one, printed once, or the one that its sender made."""
    to = screen(as_json=as_json)
    chosen = _given_key(name, file) if given or file else None
    with connected() as client:
        place = path_of("triggers", name, "key")
        item = client.ask("POST", place) if chosen is None else client.ask("PUT", place, body={"key": chosen})
        url = client.url
    if as_json:
        to.item(item)
    elif chosen is None:
        to.line(str(item.get("key")))
        to.remark(f"This key is shown once. Deliveries go to {url}{item.get('hook')}")
    else:
        to.line(f"{plain(name)} verifies deliveries to {url}{item.get('hook')} by this key.")


def _given_key(name: str, file: Path | None) -> str:
    if file is not None:
        content = values.from_file(file)
    elif sys.stdin.isatty():
        content = values.from_prompt(f"the key of {name}", err=sys.stderr)
    else:
        content = values.from_pipe(sys.stdin.buffer)[0]
    try:
        return content.decode().strip()
    except UnicodeDecodeError:
        raise Refused("The key is not text.", hint="Give it as the sender shows it.") from None


@app.command()
def run(
    name: NameArgument,
    *,
    environment: MaybeEnvironment = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="K=V", help="A parameter, which goes before the trigger's own."),
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option("--idempotency-key", help="A second run with this key answers the first.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start what a trigger starts, now; prints the id of the job or run."""
    to = screen(as_json=as_json)
    body: Item = {"environment": environment, "parameters": parameters(param or [])}
    body |= {"idempotency_key": idempotency_key} if idempotency_key else {}
    with connected() as client:
        fired = client.ask("POST", path_of("triggers", name, "runs"), body=body)
    if as_json:
        to.item(fired)
    else:
        to.line(str((fired.get("started") or {}).get("id")))


@app.command()
def preview(
    name: NameArgument,
    *,
    count: Annotated[int, typer.Option("--count", min=1, max=500, help="How many instants.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Show when a schedule fires next, with the nights marked in which the clock changes."""
    to = screen(as_json=as_json)
    columns = (
        Column("LOCAL", lambda item: plain(str(item.get("local")))),
        Column("FIRES", lambda item: moment(item.get("due_at"), now=to.now)),
        Column("CLOCK", lambda item: plain(str(item.get("note") or ""))),
    )
    with connected() as client:
        coming = client.ask("GET", path_of("triggers", name, "preview"), query={"count": count})
    show_list(to, [coming.get("items") or []], columns, empty=f"{plain(name)} has no further instant.")


@app.command()
def firings(name: NameArgument, *, limit: Limit = 50, as_json: AsJson = False) -> None:
    """Show what a trigger started and what it did not, the newest first."""
    to = screen(as_json=as_json)
    columns = (
        Column("INSTANT", lambda item: moment(item.get("instant"), now=to.now)),
        Column("STATE", lambda item: word(str(item.get("state")), colour=to.colour)),
        Column("STARTED", lambda item: plain(str((item.get("started") or {}).get("id") or "-"))),
        Column("WHY", lambda item: plain(str(item.get("why") or ""))),
    )
    with connected() as client:
        pages = client.pages(path_of("triggers", name, "firings"), limit=limit)
        show_list(to, pages, columns, empty=f"{plain(name)} has not fired yet.")


def _change(method: str, name: str, words: str, *, as_json: bool) -> None:
    to = screen(as_json=as_json)
    with connected() as client:
        item = client.ask(method, path_of("triggers", name, "pause"))
    if as_json:
        to.item(item)
    else:
        to.line(f"{plain(name)} {words}")


def _what_next(item: Item, to: Screen) -> str:
    if item.get("hook") and not item.get("key_set"):
        return f"Give it a key before anything can be delivered: botkeep trigger key {plain(str(item.get('name')))}"
    if item.get("next_fire_at"):
        return f"It fires {moment(item.get('next_fire_at'), now=to.now)}."
    if item.get("kind") == "file" and _state(item) == "ready":
        return "Runners whose BOTKEEP_WATCH_FOLDERS allows its folder watch it."
    return f"It is {_state(item)}."


def _starts(item: Item) -> str:
    target = item.get("target") or {}
    return plain(f"{target.get('kind')} {target.get('name')}")


def _state(item: Item) -> str:
    if not item.get("enabled"):
        return "disabled"
    return "paused" if item.get("paused_at") else "ready"


def _last(item: Item, *, now: datetime) -> str:
    last = item.get("last_firing")
    return f"{moment(last.get('instant'), now=now)}, {plain(str(last.get('state')))}" if last else "never"


def _outcome(firing: Item) -> str:
    return plain(f"{firing.get('state')}{': ' + str(firing['why']) if firing.get('why') else ''}")


def _compact(content: Item) -> str:
    return ", ".join(
        f"{key} = {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in content.items()
    )
