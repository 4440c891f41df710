"""`botkeep run`, `botkeep job` and `botkeep history`: start bots and see how they went."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli import leavings
from cli.attempts import lines as attempt_lines
from cli.client import Client, Item, connected, path_of
from cli.commands.history import list_jobs, standing
from cli.errors import CliError, Misused
from cli.excerpt import Excerpt, save, show_log
from cli.fan_out import fan_out
from cli.follow import ending, follow, wait, waits_for, why
from cli.options import AsJson, BotArgument, Environment, InEnvironment
from cli.render import badge, duration, fields, moment, plain, word
from cli.screen import Screen, screen

#: Warnings of a job that are shown at its end: of a bot that sees every asset, each without a value has one.
WARNINGS = 10

app = typer.Typer(help="See, follow, pause, cancel and retry jobs.", no_args_is_help=True)
app.command("list")(list_jobs)


class Priority(StrEnum):
    """What `--priority` takes."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class Stream(StrEnum):
    """What `--stream` takes; `system` is what Botkeep itself says."""

    STDOUT = "stdout"
    STDERR = "stderr"
    SYSTEM = "system"


OfAttempt = Annotated[int | None, typer.Option("--attempt", min=1, metavar="N", help="By default the latest.")]
JobArgument = Annotated[str, typer.Argument(metavar="ID", help="The job.")]


def run(  # noqa: PLR0913 - one option each
    bot: BotArgument,
    *,
    environment: InEnvironment = Environment.DEV,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="K=V", help="A parameter; a reference to an asset stays one."),
    ] = None,
    group: Annotated[str | None, typer.Option("--group", help="The group of runners that is to run it.")] = None,
    priority: Annotated[
        Priority | None,
        typer.Option("--priority", help="Which of the waiting jobs start first; of one priority, bots take turns."),
    ] = None,
    wait_: Annotated[bool, typer.Option("--wait", help="Return when it ended; exit 1 unless it succeeded.")] = False,
    follow_: Annotated[bool, typer.Option("--follow", help="The same, and show the log live.")] = False,
    idempotency_key: Annotated[
        str | None,
        typer.Option("--idempotency-key", help="A second run with this key answers the first job."),
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", help="One job for each row of this data source, as the parameter `row`.")
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option("--batch", min=1, help="With --source: one job for each so many rows, as the parameter `rows`."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a bot and print the job's id."""
    to = screen(as_json=as_json)
    if (batch and source is None) or (source is not None and (wait_ or follow_ or idempotency_key)):
        raise Misused(
            "--batch goes with --source, which goes with neither --wait, --follow nor --idempotency-key.",
            hint="See the jobs that it starts with: botkeep job list",
        )
    body: Item = {"bot": bot, "environment": environment, "parameters": parameters(param or [])}
    body |= {"idempotency_key": idempotency_key} if idempotency_key else {}
    body |= {"group": group} if group else {}
    body |= {"priority": priority} if priority else {}
    with connected() as client:
        if source is not None:
            fan_out(client, to, source, body | ({"batch": batch} if batch else {}))
            return
        job = client.ask("POST", path_of("jobs"), body=body)
        if not as_json:
            to.lines([str(job.get("id"))])
        elif not (wait_ or follow_):
            to.item(job)
        if wait_ or follow_:
            _see_to_its_end(client, str(job.get("id")), to, live=follow_)
        else:
            _warn_unless_served(client, job, to)


def _warn_unless_served(client: Client, job: Item, to: Screen) -> None:
    if job.get("state") != "queued":
        return
    # The job is queued: whatever keeps us from asking is no reason to fail.
    with contextlib.suppress(CliError):
        now = client.ask("GET", path_of("jobs", str(job.get("id"))))
        if (now.get("waiting_for") or {}).get("code") == "no_runner":
            to.remark(f"The job waits: {waits_for(now)}")


def parameters(pairs: list[str]) -> dict[str, str]:
    """The parameters in `K=V` texts.

    Raises:
        Misused: for a text without a name, and for a name that comes twice.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise Misused(f"--param {name or '=…'} is not K=V.", hint="Write for example --param month=2026-08.")
        if name in found:
            raise Misused(f"--param {name} is given twice.", hint="Give each parameter once.")
        found[name] = value
    return found


@dataclass(frozen=True, slots=True)
class _Place:
    line: int | None = None
    byte: int | None = None


def _place(text: str | None, option: str) -> _Place:
    if text is None:
        return _Place()
    digits = text.removesuffix("b")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 12 or digits == text == "0":
        raise Misused(f"{option} is no place in a log.", hint="Write a line such as 100, or a byte such as 4096b.")
    return _Place(line=int(digits)) if digits == text else _Place(byte=int(digits))


def _see_to_its_end(
    client: Client, job_id: str, to: Screen, *, live: bool, tail: int | None = None, timestamps: bool = False
) -> None:
    try:
        job = follow(client, job_id, to, tail=tail, timestamps=timestamps) if live else wait(client, job_id, to)
    except KeyboardInterrupt:
        to.remark(f"\nThe job goes on. To stop it: botkeep job cancel {job_id}")
        raise
    warnings = job.get("warnings") or []
    for warning in warnings[:WARNINGS]:
        to.remark(f"Warning: {plain(str(warning))}")
    if more := len(warnings[WARNINGS:]):
        to.remark(f"{more:,} more warnings; all of them: botkeep job show {job_id}")
    if to.json:
        to.item(job)
    else:
        to.lines([ending(job, colour=to.colour)])
    if job.get("state") != "succeeded":
        raise typer.Exit(1)


@app.command()
def show(job_id: JobArgument, *, as_json: AsJson = False) -> None:
    """Show a job: how it went, what started it, which values it used."""
    to = screen(as_json=as_json)
    with connected() as client:
        job = client.ask("GET", path_of("jobs", job_id))
    if as_json:
        to.item(job)
    else:
        _show_job(to, job)


def _show_job(to: Screen, job: Item) -> None:
    cause = job.get("cause") or {}
    attempts = job.get("attempts") or []
    given = job.get("parameters") or {}
    to.lines(
        fields(
            (
                ("job", str(job.get("id"))),
                ("bot", f"{plain(str(job.get('bot')))} version {job.get('version')}"),
                ("environment", badge(str(job.get("environment")), colour=to.colour)),
                ("state", word(standing(job), colour=to.colour)),
                ("reason", why(job)),
                ("waiting", waits_for(job)),
                ("created", moment(job.get("created_at"), now=to.now)),
                ("next attempt", _maybe(to, job.get("not_before"))),
                ("started", _maybe(to, job.get("started_at"))),
                ("progress", _progress(job)),
                ("finished", _maybe(to, job.get("finished_at"))),
                ("paused by", _paused_by(to, job)),
                ("stood still", _stood_still(attempts)),
                ("runner", plain(str(job.get("runner") or ""))),
                ("cause", plain(" ".join(str(cause[key]) for key in ("kind", "name") if cause.get(key)))),
                ("attempt", f"{job.get('attempt')} of {len(attempts)}" if attempts else ""),
                ("parameters", plain(", ".join(f"{name}={value}" for name, value in given.items()))),
                ("values", plain(", ".join(_reading(reading) for reading in job.get("readings") or []))),
                ("results", plain(", ".join(f"{key}={value}" for key, value in (job.get("results") or {}).items()))),
                ("retry of", str(job.get("retry_of") or "")),
            )
        )
    )
    to.lines(attempt_lines(attempts))
    for warning in job.get("warnings") or []:
        to.line(f"Warning: {plain(str(warning))}")


def _paused_by(to: Screen, job: Item) -> str:
    if standing(job) not in {"paused", "pausing"}:
        return ""
    return f"{plain(str(job.get('pause_requested_by')))}, {moment(job.get('pause_requested_at'), now=to.now)}"


def _progress(job: Item) -> str:
    said = job.get("progress") or {}
    fraction = said.get("fraction")
    part = "" if fraction is None else f"{float(fraction):.0%}"
    return plain(" ".join(filter(None, (part, str(said.get("text") or "")))))


def _stood_still(attempts: list[Item]) -> str:
    seconds = sum(float(attempt.get("paused_seconds") or 0) for attempt in attempts)
    return duration(seconds) if seconds else ""


def _maybe(to: Screen, at: object) -> str:
    return moment(at, now=to.now) if at else ""


def _reading(reading: Item) -> str:
    return f"{reading.get('asset')} #{reading.get('number')} ({reading.get('scope')})"


@app.command()
def logs(  # noqa: PLR0913 - each is an option
    job_id: JobArgument,
    *,
    follow_: Annotated[
        bool, typer.Option("--follow", help="Go on until the job ends; exit 1 unless it succeeded.")
    ] = False,
    tail: Annotated[int | None, typer.Option("--tail", min=1, metavar="N", help="Only the last N lines.")] = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="LINE", help="From this line on, or this byte: 4096b.")
    ] = None,
    to_: Annotated[
        str | None, typer.Option("--to", metavar="LINE", help="Up to this line, or before this byte: 8192b.")
    ] = None,
    grep: Annotated[str | None, typer.Option("--grep", metavar="TEXT", help="Only lines that hold TEXT.")] = None,
    stream: Annotated[Stream | None, typer.Option("--stream", help="Only this one.")] = None,
    attempt: OfAttempt = None,
    timestamps: Annotated[bool, typer.Option("--timestamps", help="The time of each line, in UTC.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write the text to a new file, as it is.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the masked log of a job: all of it, its end, a range, what holds a text; live, or into a file."""
    to = screen(as_json=as_json)
    first, last = _place(from_, "--from"), _place(to_, "--to")
    wanted = Excerpt(attempt, stream, grep, tail, first.line, last.line, first.byte, last.byte)
    if follow_ and (output or wanted != Excerpt(tail=tail)):
        raise Misused("--follow goes with --tail and --timestamps only.", hint="Leave --follow out, or the others.")
    if output and (grep or tail or first.line or last.line):
        raise Misused("--output takes bytes, not lines.", hint="Give --from and --to as 4096b, or neither.")
    with connected() as client:
        if follow_:
            _see_to_its_end(client, job_id, to, live=True, tail=tail, timestamps=timestamps)
        elif output:
            count = save(client, job_id, output, wanted)
            to.item({"file": str(output), "bytes": count}) if to.json else to.line(f"{count:,} bytes in {output}.")
        else:
            show_log(client, job_id, to, wanted, timestamps=timestamps)


@app.command()
def outputs(
    job_id: JobArgument,
    *,
    download: Annotated[
        Path | None, typer.Option("--download", metavar="DIR", help="Bring the files to this folder.")
    ] = None,
    attempt: OfAttempt = None,
    as_json: AsJson = False,
) -> None:
    """List the files that a job left in BOTKEEP_OUTPUT_DIR, or download them."""
    to = screen(as_json=as_json)
    with connected() as client:
        if download is None:
            leavings.show(client, job_id, to, attempt=attempt)
        elif leavings.download(client, job_id, download, to, attempt=attempt):
            raise typer.Exit(1)


@app.command()
def cancel(job_id: JobArgument, *, as_json: AsJson = False) -> None:
    """Cancel a job: a queued one at once, a running one as soon as its bot has ended."""
    to = screen(as_json=as_json)
    with connected() as client:
        job = client.ask("POST", path_of("jobs", job_id, "cancellation"))
    if as_json:
        to.item(job)
    elif job.get("state") == "cancelled":
        to.line(f"Job {job_id} is cancelled.")
    else:
        to.line(f"Job {job_id} is {job.get('state') or 'running'} and is being stopped.")


@app.command()
def pause(job_id: JobArgument, *, as_json: AsJson = False) -> None:
    """Keep a queued job from being started; let a running one stand still, its time limit included."""
    to = screen(as_json=as_json)
    with connected() as client:
        job = client.ask("PUT", path_of("jobs", job_id, "pause"))
    if as_json:
        to.item(job)
    else:
        to.line(f"Job {job_id} is {standing(job)}. It goes on with: botkeep job resume {job_id}")


@app.command()
def resume(job_id: JobArgument, *, as_json: AsJson = False) -> None:
    """Let a paused job go on where it stood."""
    to = screen(as_json=as_json)
    with connected() as client:
        job = client.ask("DELETE", path_of("jobs", job_id, "pause"))
    if as_json:
        to.item(job)
    else:
        to.line(f"Job {job_id} is {standing(job)}.")


@app.command()
def retry(job_id: JobArgument, *, as_json: AsJson = False) -> None:
    """Run a finished job again as a new job, and print the new id."""
    to = screen(as_json=as_json)
    with connected() as client:
        job = client.ask("POST", path_of("jobs", job_id, "retry"))
    if as_json:
        to.item(job)
    else:
        to.line(str(job.get("id")))
