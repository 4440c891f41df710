"""`botkeep history`, which is also `botkeep job list`: jobs, the newest first."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from cli.client import Item, connected, path_of
from cli.options import AsJson, Limit, MaybeEnvironment
from cli.render import badge, moment, plain, word
from cli.screen import Column, screen, show_list

#: How much of a list is shown when nobody says.
NEWEST = 50

_AGO = re.compile(r"([0-9]{1,6})([smhdw])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

OfOneBot = Annotated[str | None, typer.Option("--bot", help="Only jobs of this bot.")]
InState = Annotated[
    str | None,
    typer.Option("--state", help="Only jobs that are queued, running, paused, succeeded, failed or cancelled."),
]
OfCause = Annotated[str | None, typer.Option("--cause", help="Only jobs started by this: trigger, or trigger:nightly.")]
OnRunner = Annotated[str | None, typer.Option("--runner", help="Only jobs that this runner took.")]
Since = Annotated[str | None, typer.Option("--since", help="Made at most so long ago (2h, 7d), or from this time on.")]
Until = Annotated[str | None, typer.Option("--until", help="Made before: 2h, 7d, or a time.")]
WithText = Annotated[
    str | None, typer.Option("--text", help="With this in the bot's name, the cause, the detail or the parameters.")
]


def list_jobs(
    *,
    bot: OfOneBot = None,
    environment: MaybeEnvironment = None,
    state: InState = None,
    cause: OfCause = None,
    runner: OnRunner = None,
    since: Since = None,
    until: Until = None,
    text: WithText = None,
    limit: Limit = NEWEST,
    as_json: AsJson = False,
) -> None:
    """List jobs, the newest first."""
    to = screen(as_json=as_json)
    columns = (
        Column("ID", lambda job: str(job.get("id"))),
        Column("BOT", lambda job: plain(str(job.get("bot")))),
        Column("ENV", lambda job: badge(str(job.get("environment")), colour=to.colour)),
        Column("STATE", lambda job: word(standing(job), colour=to.colour)),
        Column("REASON", lambda job: plain(str(job.get("reason") or ""))),
        Column("CREATED", lambda job: moment(job.get("created_at"), now=to.now)),
    )
    query = {
        "bot": bot,
        "environment": environment,
        "state": state,
        "cause": cause,
        "runner": runner,
        "since": None if since is None else instant(since, now=to.now).isoformat(),
        "until": None if until is None else instant(until, now=to.now).isoformat(),
        "text": text,
    }
    with connected() as client:
        pages = client.pages(path_of("jobs"), query=query, limit=limit)
        count = show_list(to, pages, columns, empty="No such jobs. Start one: botkeep run BOT --env dev")
    if limit and count == limit == NEWEST:
        to.remark(f"These are the newest {NEWEST}; --limit 0 shows all.")


def standing(job: Item) -> str:
    """The state of a job, or what a pause makes of it: `pausing` until its bot stands, `resuming` until it goes."""
    state = str(job.get("state"))
    wanted, so = job.get("pause_requested_at"), job.get("paused_at")
    if state == "queued" and wanted:
        return "paused"
    if state == "running" and (wanted or so):
        return "paused" if wanted and so else "pausing" if wanted else "resuming"
    return state


def instant(text: str, *, now: datetime) -> datetime:
    """`2h` ago, or a time of ISO 8601, in UTC unless it says otherwise.

    Raises:
        typer.BadParameter: for anything else.
    """
    if match := _AGO.fullmatch(text):
        return now - timedelta(**{_UNITS[match[2]]: int(match[1])})
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time; write 2h, 7d, or 2026-11-26T09:30.") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
