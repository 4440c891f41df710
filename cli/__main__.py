"""The `botkeep` command.

Exit status: 0 done · 1 what was asked for failed · 2 usage · 3 not found · 4 denied · 5 conflict or invalid ·
6 the server cannot be reached · 130 interrupted. A reader that goes away ends it silently (141, as SIGPIPE
would).
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup
from typer.main import get_command

from cli.commands import (
    asset,
    audit,
    bot,
    calendar,
    completion,
    concurrency,
    environment,
    flow,
    history,
    item,
    job,
    key,
    local,
    log,
    roboto,
    runner,
    source,
    system,
    token,
    trigger,
    user,
    workspace,
)
from cli.completion import wanted
from cli.errors import CliError, Misused, unusable
from cli.examples import epilog
from cli.screen import screen, show_error

#: Exit statuses of a shell for a process that SIGINT or SIGPIPE ended.
INTERRUPTED, PIPE_CLOSED = 130, 141


def main() -> None:
    """Run the command line of this process and exit with its status."""
    # httpx would load a command line of its own with this: a sixth of what most of our commands take.
    sys.modules.setdefault("click", None)  # type: ignore[arg-type]  # None: an import of it fails
    _open_closed_streams()
    status = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        status = _silenced()
    raise SystemExit(status)


def _open_closed_streams() -> None:
    """Let what our caller closed (`>&-`) lead to nowhere, before a file or a connection gets its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - for as long as we live


def run(arguments: Sequence[str]) -> int:
    """Run a command line; its exit status. Errors are shown, never raised."""
    to = screen(as_json=_wants_json(arguments))
    completing = wanted()
    first = arguments[0] if arguments and not completing else ""
    try:
        status = commands(first).main(list(arguments), prog_name="botkeep", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        return _silenced()
    except (CliError, typer.TyperException, OSError) as error:
        ours = _in_our_words(error)
        show_error(to, ours)
        return ours.status
    except SystemExit:
        # How the command line's library ends when it told a shell what to offer, and when a reader went away.
        return 0 if completing else _silenced()
    return status if isinstance(status, int) else 0


def commands(first: str = "") -> TyperGroup:
    """The command line as the library runs it, with the examples in its help; see `application`."""
    tree = get_command(application(first))
    assert isinstance(tree, TyperGroup)  # noqa: S101 - it has more than one command
    _show_examples(tree, "")
    return tree


def _show_examples(group: TyperGroup, above: str) -> None:
    for name, command in group.commands.items():
        command.epilog = epilog(f"{above}{name}")
        if isinstance(command, TyperGroup):
            _show_examples(command, f"{above}{name} ")


def application(first: str = "") -> typer.Typer:
    """The command line with every command; where `first` names a group, with the commands of that group alone.

    The library asks each parameter of each command for its type, which takes as long as most commands do.
    """
    app = typer.Typer(
        help="Run bots in Dev, Staging or Prod with the right credentials, which only the runner can read.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    groups = _groups()
    if first in groups:
        app.add_typer(groups[first], name=first)
        return app
    _add_single(app)
    for name, group in groups.items():
        app.add_typer(group, name=name)
    return app


def _add_single(app: typer.Typer) -> None:
    for command in (system.up, system.down, system.status, system.doctor):
        app.command()(command)
    passing = {"allow_extra_args": True, "ignore_unknown_options": True}
    for process in (system.console, system.scheduler, system.migrate):
        app.command(context_settings=passing, add_help_option=False)(process)
    app.command(context_settings=passing, add_help_option=False)(local.local)
    app.command()(job.run)
    app.command("history")(history.list_jobs)
    app.command()(completion.completion)


def _groups() -> dict[str, typer.Typer]:
    return {
        "runner": runner.app,
        "bot": bot.app,
        "asset": asset.app,
        "job": job.app,
        "source": source.app,
        "queue": flow.app("queue"),
        "workflow": flow.app("workflow"),
        "item": item.app,
        "trigger": trigger.app,
        "calendar": calendar.app,
        "log": log.app,
        "secret": roboto.app,
        "key": key.app,
        "environment": environment.app,
        "workspace": workspace.app,
        "concurrency": concurrency.app,
        "token": token.app,
        "user": user.app,
        "audit": audit.app,
    }


def _show_version(asked: bool) -> None:  # noqa: FBT001 - the library calls it with the flag
    if asked:
        import importlib.metadata  # noqa: PLC0415 - a fifth of what `--help` takes, needed by this flag only

        typer.echo(importlib.metadata.version("botkeep"))
        raise typer.Exit


def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version.")
    ] = False,
) -> None:
    """Run bots in Dev, Staging or Prod with the right credentials, which only the runner can read."""
    del version


def _wants_json(arguments: Sequence[str]) -> bool:
    before = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in before


def _in_our_words(error: CliError | typer.TyperException | OSError) -> CliError:
    if isinstance(error, CliError):
        return error
    return unusable(error) if isinstance(error, OSError) else _misused(error)


def _misused(error: typer.TyperException) -> CliError:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "botkeep"
    message = error.format_message().strip()
    if message.startswith("Usage:"):
        return Misused(message)
    # The library writes choices one a line, and pydantic's words before ours.
    message = " ".join(message.split()).replace("Value error, ", "")
    return Misused(message if message.endswith((".", "?")) else f"{message}.", hint=f"See: {command} --help")


def _silenced() -> int:
    # The interpreter flushes stdout at its end; into nowhere, so that it does not complain.
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return PIPE_CLOSED


if __name__ == "__main__":
    main()
