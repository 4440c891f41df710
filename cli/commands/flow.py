"""`botkeep queue` and `botkeep workflow`: save them, run them, and see where their runs are.

Both have the same commands. Where a command takes NAME or RUN, the id of a run means that run, and a name all of them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from cli.client import Client, Item, connected, path_of
from cli.commands.job import parameters
from cli.definitions import definition
from cli.errors import Unreachable
from cli.follow import FINAL, FIRST_LOOK, LAST_LOOK, PATIENCE
from cli.options import AsJson, Limit
from cli.render import badge, fields, moment, plain, word
from cli.screen import Column, Screen, screen, show_list

#: How much of the history a list shows when nobody says.
NEWEST = 50

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The name.")]
Subject = Annotated[str, typer.Argument(metavar="NAME|RUN", help="The name, or the id of a run.")]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="The id of the run.")]
StepArgument = Annotated[str, typer.Argument(metavar="STEP", help="The approval step.")]
Comment = Annotated[str | None, typer.Option("--comment", help="Why; it is kept with the answer.")]
DefinitionFile = Annotated[
    Path, typer.Option("--file", help="The definition, TOML or JSON.", exists=True, dir_okay=False)
]
Pairs = Annotated[list[str] | None, typer.Option("--param", metavar="K=V", help="A parameter of the run.")]
From = Annotated[str | None, typer.Option("--from", help="The step to begin from; otherwise those that failed.")]
Wait = Annotated[bool, typer.Option("--wait", help="Return when it ended; exit 1 unless it succeeded.")]
Follow = Annotated[bool, typer.Option("--follow", help="The same, and tell how its steps go.")]


def app(kind: str) -> typer.Typer:
    """The commands for one kind, `queue` or `workflow`."""
    made = typer.Typer(help=f"Save {kind}s, run them and see where their runs are.", no_args_is_help=True)
    for makers in (_saving(kind), _running(kind), _listing(kind), _changing(kind)):
        for name, command in makers.items():
            made.command(name)(command)
    if kind == "workflow":
        made.command("approve")(approve)
        made.command("refuse")(refuse)
    return made


def _saving(kind: str) -> dict[str, Callable[..., None]]:
    def add(
        name: NameArgument,
        *,
        file: Annotated[
            Path, typer.Option("--file", help="The definition, TOML or JSON.", exists=True, dir_okay=False)
        ],
        as_json: AsJson = False,
    ) -> None:
        """Save a definition; another one of the same name is its next version."""
        to = screen(as_json=as_json)
        body = definition(file)
        with connected() as client:
            answer = client.ask("POST", path_of(f"{kind}s"), query={"name": name}, body=body)
        if as_json:
            to.item(answer)
        else:
            same = "" if answer.get("new") else ", which says the same already"
            to.line(
                f"{kind} {plain(name)} version {answer.get('version')}{same}. Run it: botkeep {kind} run {plain(name)}"
            )

    def list_all(*, as_json: AsJson = False) -> None:
        """List what is in use."""
        to = screen(as_json=as_json)
        columns = (
            Column("NAME", lambda flow: plain(str(flow.get("name")))),
            Column("VERSION", lambda flow: str(flow.get("version"))),
            Column("STATE", lambda flow: "paused" if flow.get("pause_requested_at") else "ready"),
            Column("SAVED", lambda flow: moment(flow.get("created_at"), now=to.now)),
        )
        empty = f"No {kind}s yet. Save one: botkeep {kind} add NAME --file FILE"
        with connected() as client:
            show_list(to, client.pages(path_of(f"{kind}s")), columns, empty=empty)

    def remove(name: NameArgument, *, as_json: AsJson = False) -> None:
        """Take it out of use; its runs go on, and stay in history."""
        to = screen(as_json=as_json)
        with connected() as client:
            client.ask("DELETE", path_of(f"{kind}s", name))
        if as_json:
            to.item({"name": name, "removed": True})
        else:
            to.line(f"{kind} {plain(name)} removed. Its runs stay in history.")

    return {"add": add, "list": list_all, "remove": remove}


def _running(kind: str) -> dict[str, Callable[..., None]]:
    def run(
        name: NameArgument,
        *,
        environment: Annotated[
            str | None, typer.Option("--env", help="Where; otherwise what the definition says, else dev.")
        ] = None,
        param: Annotated[
            list[str] | None, typer.Option("--param", metavar="K=V", help="A parameter of the run.")
        ] = None,
        idempotency_key: Annotated[
            str | None, typer.Option("--idempotency-key", help="A second run with this key answers the first.")
        ] = None,
        wait: Wait = False,
        follow: Follow = False,
        as_json: AsJson = False,
    ) -> None:
        """Start a run and print its id."""
        to = screen(as_json=as_json)
        body: Item = {"parameters": parameters(param or [])}
        body |= {"environment": environment} if environment else {}
        body |= {"idempotency_key": idempotency_key} if idempotency_key else {}
        with connected() as client:
            made = client.ask("POST", path_of(f"{kind}s", name, "runs"), body=body)
            _begun(client, made, to, wait=wait, follow=follow)

    def restart(
        run_id: RunArgument,
        *,
        step: Annotated[
            str | None, typer.Option("--from", help="The step to begin from; otherwise those that failed.")
        ] = None,
        wait: Wait = False,
        follow: Follow = False,
        as_json: AsJson = False,
    ) -> None:
        """Do the rest of a run again, in a new one that takes over what succeeded before."""
        to = screen(as_json=as_json)
        with connected() as client:
            made = client.ask("POST", path_of("runs", run_id, "restart"), body={"from": step} if step else {})
            _begun(client, made, to, wait=wait, follow=follow)

    return {"run": run, "restart": restart}


def _listing(kind: str) -> dict[str, Callable[..., None]]:
    def runs(
        name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only of this one.")] = None,
        *,
        state: Annotated[str | None, typer.Option("--state", help="running, succeeded, failed or cancelled.")] = None,
        limit: Limit = NEWEST,
        as_json: AsJson = False,
    ) -> None:
        """List runs, the newest first."""
        to = screen(as_json=as_json)
        columns = (
            Column("RUN", lambda item: str(item.get("id"))),
            Column("NAME", lambda item: plain(str(item.get("name")))),
            Column("ENV", lambda item: badge(str(item.get("environment")), colour=to.colour)),
            Column("STATE", lambda item: word(_standing(item), colour=to.colour)),
            Column("CREATED", lambda item: moment(item.get("created_at"), now=to.now)),
        )
        query = {"kind": kind, "name": name, "state": state}
        with connected() as client:
            pages = client.pages(path_of("runs"), query=query, limit=limit)
            show_list(to, pages, columns, empty=f"No such runs. Start one: botkeep {kind} run NAME")

    return {"runs": runs}


def _changing(kind: str) -> dict[str, Callable[..., None]]:
    def show(subject: Subject, *, as_json: AsJson = False) -> None:
        """Show a definition, or a run with its steps."""
        to = screen(as_json=as_json)
        with connected() as client:
            item = client.ask("GET", _path(kind, subject))
        if as_json:
            to.item(item)
        elif _is_run(subject):
            _show_run(to, item)
        else:
            _show_definition(to, item)

    def pause(subject: Subject, *, as_json: AsJson = False) -> None:
        """Let it begin nothing more; what runs is finished."""
        to = screen(as_json=as_json)
        with connected() as client:
            item = client.ask("PUT", _path(kind, subject, "pause"))
        _said(to, item, f"{plain(subject)} is paused. It goes on with: botkeep {kind} resume {plain(subject)}")

    def resume(subject: Subject, *, as_json: AsJson = False) -> None:
        """Let it go on."""
        to = screen(as_json=as_json)
        with connected() as client:
            item = client.ask("DELETE", _path(kind, subject, "pause"))
        _said(to, item, f"{plain(subject)} goes on.")

    def cancel(run_id: RunArgument, *, as_json: AsJson = False) -> None:
        """Let a run begin nothing more, and end what runs."""
        to = screen(as_json=as_json)
        with connected() as client:
            item = client.ask("POST", path_of("runs", run_id, "cancellation"))
        _said(to, item, f"Run {run_id} is being cancelled.")

    return {"show": show, "pause": pause, "resume": resume, "cancel": cancel}


def approve(run_id: RunArgument, step: StepArgument, *, comment: Comment = None, as_json: AsJson = False) -> None:
    """Allow what a run asks; whoever started it may not."""
    _answer(run_id, step, decision="allow", comment=comment, as_json=as_json)


def refuse(run_id: RunArgument, step: StepArgument, *, comment: Comment = None, as_json: AsJson = False) -> None:
    """Refuse what a run asks."""
    _answer(run_id, step, decision="refuse", comment=comment, as_json=as_json)


def _answer(run_id: str, step: str, *, decision: str, comment: str | None, as_json: bool) -> None:
    to = screen(as_json=as_json)
    body: Item = {"decision": decision, **({"comment": comment} if comment else {})}
    with connected() as client:
        item = client.ask("PUT", path_of("runs", run_id, "approvals", step), body=body)
    _said(to, item, f"{plain(step)} is {'allowed' if decision == 'allow' else 'refused'}.")


def _said(to: Screen, item: Item, sentence: str) -> None:
    if to.json:
        to.item(item)
    else:
        to.line(sentence)


def _is_run(subject: str) -> bool:
    return bool(_ID.fullmatch(subject))


def _path(kind: str, subject: str, *more: str) -> str:
    return path_of("runs" if _is_run(subject) else f"{kind}s", subject, *more)


def _begun(client: Client, run: Item, to: Screen, *, wait: bool, follow: bool) -> None:
    run_id = str(run.get("id"))
    if not to.json:
        to.lines([run_id])
    elif not (wait or follow):
        to.item(run)
    if not (wait or follow):
        return
    try:
        ended = _watched(client, run_id, to, tell=follow)
    except KeyboardInterrupt:
        to.remark(f"\nThe run goes on. To stop it: botkeep {run.get('kind')} cancel {run_id}")
        raise
    if to.json:
        to.item(ended)
    else:
        reason = plain(str(ended.get("detail") or ""))
        to.line(f"Run {run_id} {word(str(ended.get('state')), colour=to.colour)}{f': {reason}' if reason else ''}")
    if ended.get("state") != "succeeded":
        raise typer.Exit(1)


def _watched(client: Client, run_id: str, to: Screen, *, tell: bool) -> Item:
    """The run at its end; tells each change of a step on the way."""
    pause, away_since, known = FIRST_LOOK, 0.0, dict[str, str]()
    while True:
        try:
            run = client.ask("GET", path_of("runs", run_id))
            away_since = 0.0
        except Unreachable:
            away_since = away_since or time.monotonic()
            if time.monotonic() - away_since > PATIENCE:
                raise
        else:
            for step in run.get("steps") or [] if tell else []:
                name, state = str(step.get("name")), str(step.get("state"))
                if known.get(name, "waiting") != state:
                    pause = FIRST_LOOK
                    _tell_step(to, step)
                known[name] = state
            if run.get("state") in FINAL:
                return run
        time.sleep(pause)
        pause = min(pause * 1.5, LAST_LOOK)


def _tell_step(to: Screen, step: Item) -> None:
    if to.json:
        to.item({"step": step.get("name"), "state": step.get("state"), "detail": step.get("detail")})
    else:
        detail = plain(str(step.get("detail") or ""))
        to.line(f"{plain(str(step.get('name')))} {word(str(step.get('state')), colour=to.colour)}  {detail}".rstrip())
    to.out.flush()


def _standing(run: Item) -> str:
    if run.get("state") != "running":
        return str(run.get("state"))
    return "cancelling" if run.get("cancel_requested_at") else "paused" if run.get("pause_requested_at") else "running"


def _show_definition(to: Screen, flow: Item) -> None:
    definition = flow.get("definition") or {}
    steps = definition.get("steps") or {str(place): item for place, item in enumerate(definition.get("items") or [], 1)}
    to.lines(
        fields(
            (
                ("name", plain(str(flow.get("name")))),
                ("version", str(flow.get("version"))),
                ("environment", str(definition.get("environment") or "dev, unless a run says otherwise")),
                ("group", plain(str(definition.get("group") or ""))),
                ("parameters", plain(", ".join(definition.get("parameters") or {}))),
                ("paused by", plain(str(flow.get("pause_requested_by") or ""))),
                ("saved", moment(flow.get("created_at"), now=to.now)),
            )
        )
    )
    for name, step in steps.items():
        edges = [f"{edge.get('step')} ({edge.get('on', 'success')})" for edge in step.get("after") or []]
        what = f"bot {step['bot']}" if step.get("bot") else "approval"
        how = f" on failure: {step['on_failure']}" if step.get("on_failure") else ""
        to.line(plain(f"  {name}: {what}{how}{' after ' + ', '.join(edges) if edges else ''}"))


def _show_run(to: Screen, run: Item) -> None:
    cause = run.get("cause") or {}
    to.lines(
        fields(
            (
                ("run", str(run.get("id"))),
                (str(run.get("kind")), f"{plain(str(run.get('name')))} version {run.get('version')}"),
                ("environment", badge(str(run.get("environment")), colour=to.colour)),
                ("state", word(_standing(run), colour=to.colour)),
                ("detail", plain(str(run.get("detail") or ""))),
                ("created", moment(run.get("created_at"), now=to.now)),
                ("finished", moment(run.get("finished_at"), now=to.now) if run.get("finished_at") else ""),
                ("cause", plain(" ".join(str(cause[key]) for key in ("kind", "name") if cause.get(key)))),
                ("asked for by", plain(str(run.get("requested_by") or ""))),
                ("restart of", str(run.get("restart_of") or "")),
            )
        )
    )
    for step in run.get("steps") or []:
        _show_step(to, step, str(run.get("id")))


def _show_step(to: Screen, step: Item, run_id: str) -> None:
    detail = plain(str(step.get("detail") or step.get("reason") or ""))
    to.line(f"  {plain(str(step.get('name')))}  {word(str(step.get('state')), colour=to.colour)}  {detail}".rstrip())
    for element in step.get("items") or []:
        for made in element.get("tries") or []:
            reused = " (of the run before)" if made.get("reused") else ""
            job = f"job {made.get('job_id')}" if made.get("job_id") else "no job"
            to.line(f"    {element.get('item')}.{made.get('number')}  {job}  {made.get('state')}{reused}")
    question = step.get("approval")
    if question and question.get("allowed") is None and step.get("state") == "approval":
        words = plain(f"{question.get('question') or 'May it go on?'}")
        to.line(f"    {words} Answer: botkeep workflow approve {run_id} {plain(str(step.get('name')))}")
