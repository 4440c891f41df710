"""`botkeep up`, `down`, `status`, `doctor`, and the processes by themselves: `console`, `scheduler`, `migrate`."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from cli import background, installation
from cli.client import Client
from cli.connection import connection
from cli.doctor import examine, jobs_wait
from cli.errors import CliError, Unreachable, unusable
from cli.home import Home, locate
from cli.options import AsJson, HomeOption, seconds
from cli.processes import become
from cli.render import badge, fields, word
from cli.screen import Screen, screen
from cli.up import Ready, serve, warn_about_root

#: Queued jobs that `status` counts one by one; more are shown as "more than".
COUNTED = 100


def up(
    *,
    detach: Annotated[bool, typer.Option("--detach", help="Return once everything is ready.")] = False,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="The console's port; 0 takes a free one.")
    ] = 8400,
    home: HomeOption = None,
    report: Annotated[int | None, typer.Option("--report", hidden=True)] = None,
    as_json: AsJson = False,
) -> None:
    """Start everything on this machine.

    That is a broker (unless BOTKEEP_REDIS_URL names one), the console, the scheduler and one runner that serves
    every environment. The first start makes the database and one key pair per environment.
    """
    to = screen(as_json=as_json)
    place = locate(os.environ, override=home)

    def announce(ready: Ready) -> None:
        nonlocal report
        if report is not None:
            # What a detached process prints is a log, and the link is for whoever waits.
            background.report(report, ready)
            report, ready = None, replace(ready, link=None)
        _announce(to, ready, place)

    if report is None:
        warn_about_root(to.remark, os.environ)
    if detach:
        _announce(to, background.detach(place, port=port, environ=os.environ), place)
        return
    try:
        serve(place, port=port, environ=os.environ, announce=announce, tell=to.remark)
    except BrokenPipeError:
        raise
    except (CliError, OSError) as error:
        ours = unusable(error) if isinstance(error, OSError) else error
        if report is not None:
            # Where the disk is full, its log says nothing.
            background.report(report, ours)
        raise ours from None


def _announce(to: Screen, ready: Ready, place: Home) -> None:
    if to.json:
        to.item({"url": ready.url, "home": ready.home, "pid": ready.pid, "link": ready.link})
    else:
        to.lines([f"Botkeep is ready at {ready.url}"])
        if ready.link:
            to.remark(f"Sign in for the first time, once, within a day: {ready.link}")
    if why := jobs_wait(place, os.environ):
        to.remark(why)


def down(
    *,
    grace: Annotated[str, typer.Option("--grace", help="How long running jobs may still take: 30s, 5m, 1h.")] = "30s",
    home: HomeOption = None,
    as_json: AsJson = False,
) -> None:
    """Drain and stop what `up` started."""
    to = screen(as_json=as_json)
    place = locate(os.environ, override=home)
    pid = background.stop(place, grace=seconds(grace))
    if as_json:
        to.item({"stopped": pid is not None, "pid": pid, "home": str(place.path)})
    else:
        to.line(f"Botkeep in {place.path} stopped." if pid else f"Botkeep does not run in {place.path}.")


def status(*, home: HomeOption = None, as_json: AsJson = False) -> None:
    """Show what runs.

    The processes on this machine, the console, the runners, and how many jobs wait. Exit status 0 when all is
    ready (or was drained on purpose), 1 when something is missing, 6 when nothing answers.
    """
    to = screen(as_json=as_json)
    place = locate(os.environ, override=home)
    running = installation.is_running(place)
    address, processes = installation.noted(place) if running else ("", [])
    shown: dict[str, Any] = {
        "home": str(place.path),
        "running": running,
        "pid": installation.holder(place) if running else None,
        "url": os.environ.get("BOTKEEP_URL") or address or None,
        "components": [
            {
                "name": each.name,
                "pid": each.pid,
                "running": installation.alive(each),
                "restarts": each.restarts,
                "drained": each.drained,
            }
            for each in processes
        ],
    }
    problem = _ask_console(place, shown)
    if as_json:
        to.item(shown)
    else:
        _show_status(to, shown)
    if problem is not None and not running:
        raise problem
    if not shown["ready"] or not all(each["running"] or each["drained"] for each in shown["components"]):
        raise typer.Exit(1)


def _ask_console(home: Home, shown: dict[str, Any]) -> Unreachable | None:
    shown |= {"ready": False, "runners": None, "queued": None}
    try:
        target = connection(os.environ, home)
        client = Client(target)
    except Unreachable as error:
        return error
    shown["url"] = target.url
    try:
        shown["ready"] = client.probe("/readyz").status == 200
        shown["runners"] = [item for page in client.pages("/api/v1/runners") for item in page]
        waiting = client.pages("/api/v1/jobs", query={"state": "queued"}, limit=COUNTED)
        shown["queued"] = sum(len(page) for page in waiting)
    except Unreachable as error:
        return error
    finally:
        client.close()
    return None


def _show_status(to: Screen, shown: dict[str, Any]) -> None:
    queued = shown["queued"]
    verdict = "ready" if shown["ready"] else "not ready"
    to.lines(
        fields(
            (
                ("home", shown["home"]),
                (
                    "address",
                    f"{shown['url']} ({word(verdict, colour=to.colour)})" if shown["url"] else "none",
                ),
                ("up", f"process {shown['pid']}" if shown["running"] else "not running here"),
                (
                    "queued jobs",
                    "" if queued is None else f"{queued}" if queued < COUNTED else f"{COUNTED} or more",
                ),
            )
        )
    )
    for component in shown["components"]:
        ended = "drained" if component["drained"] else "stopped"
        state = word("running" if component["running"] else ended, colour=to.colour)
        times = f"  restarted {component['restarts']} times" if component["restarts"] else ""
        to.line(f"{component['name']:<10} {state}  process {component['pid'] or '-'}{times}")
    for item in shown["runners"] or []:
        badges = " ".join(badge(str(name), colour=to.colour) for name in item.get("environments") or [])
        to.line(f"runner {item.get('name')} {word(str(item.get('state')), colour=to.colour)} {badges}")
    to.out.flush()


def doctor(*, home: HomeOption = None, as_json: AsJson = False) -> None:
    """Check the set-up and say what to mend.

    Exit status 1 when something fails.
    """
    to = screen(as_json=as_json)
    failed = False
    for finding in examine(locate(os.environ, override=home), os.environ, now=lambda: datetime.now(UTC)):
        failed |= finding.level == "fail"
        if as_json:
            to.item(
                {
                    "check": finding.name,
                    "level": finding.level,
                    "message": finding.message,
                    "mend": finding.mend,
                }
            )
            continue
        padding = " " * (4 - len(finding.level))
        verdict = f"{word(finding.level, colour=to.colour)}{padding}"
        to.line(f"{verdict}  {finding.name}: {finding.message} {finding.mend}".rstrip())
        to.out.flush()
    if failed:
        raise typer.Exit(1)


def migrate(context: typer.Context) -> None:
    """Bring the database to this schema.

    Options go to the process as they are.
    """
    become("runner.migrate", context.args)


def console(context: typer.Context) -> None:
    """Run the console process.

    Options go to it as they are.
    """
    become("console", context.args)


def scheduler(context: typer.Context) -> None:
    """Run the scheduler process.

    Options go to it as they are.
    """
    become("scheduler", context.args)
