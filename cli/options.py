"""Options and arguments that several commands share, and the checks that need no server."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli import completion
from cli.errors import Misused, Refused


class Environment(StrEnum):
    """Where a bot runs."""

    DEV = "dev"
    STAGING = "staging"
    PROD = "prod"


class Role(StrEnum):
    """What a token may do, from reading to everything."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    DEV = "dev"
    ADMIN = "admin"


class Unset(StrEnum):
    """What happens to a job whose asset has no value in its environment."""

    WARN = "warn"
    REFUSE = "refuse"


class Isolation(StrEnum):
    """What a runner must give before it may start a bot in an environment."""

    ANY = "any"
    LANDLOCK = "landlock"
    USER = "user"
    SANDBOX = "sandbox"


NarrowedIn = Annotated[
    list[str] | None,
    typer.Option("--in", metavar="ENV=ROLE", help="A lower role in one environment: prod=viewer. May be repeated."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON; a list is one object a line.")]
InEnvironment = Annotated[Environment, typer.Option("--env", help="The environment.")]
MaybeEnvironment = Annotated[Environment | None, typer.Option("--env", help="Only this environment.")]
OfBot = Annotated[
    str | None,
    typer.Option(
        "--bot",
        help="The bot whose own assets are meant, instead of the workspace's.",
        autocompletion=completion.bots,
    ),
]
AssetArgument = Annotated[
    str, typer.Argument(metavar="GROUP.NAME", help="The asset.", autocompletion=completion.assets)
]
BotArgument = Annotated[str, typer.Argument(metavar="BOT", help="The bot.", autocompletion=completion.bots)]
HomeOption = Annotated[
    Path | None, typer.Option("--home", help="The home folder.  [default: $BOTKEEP_HOME]", show_default=False)
]
Limit = Annotated[int, typer.Option("--limit", min=0, help="How many at most, the newest first; 0 means all.")]

#: The spelling of a group and of a name; the server says the rest.
_PART = re.compile(r"[A-Za-z0-9_]{1,128}")

_GRACE = re.compile(r"(\d+(?:\.\d+)?)(s|m|h)?")

_UNITS = {"s": 1, "m": 60, "h": 3600, None: 1}


def narrowed(pairs: list[str] | None) -> dict[str, object]:
    """Lower roles by environment, from pairs `ENV=ROLE`.

    Raises:
        Misused: for anything else.
    """
    chosen: dict[str, object] = {}
    for pair in pairs or ():
        environment, equals, role = pair.partition("=")
        if not equals or environment not in set(Environment) or role not in set(Role):
            raise Misused(f"{pair!r} is no role in an environment.", hint="Write ENV=ROLE, such as --in prod=viewer.")
        chosen[environment] = role
    return chosen


def asset_parts(text: str) -> tuple[str, str]:
    """Group and name of `GROUP.NAME`.

    Raises:
        Refused: when the text is not two parts of ASCII letters, digits and underscores.
    """
    parts = text.split(".")
    if len(parts) != 2 or not all(_PART.fullmatch(part) for part in parts):
        raise Refused(
            f"{text!r} is not the name of an asset.",
            hint="Write GROUP.NAME, each of 1 to 128 ASCII letters, digits and underscores.",
        )
    return parts[0], parts[1]


def seconds(text: str) -> float:
    """The seconds of `30`, `30s`, `5m` or `1h`.

    Raises:
        typer.BadParameter: for anything else.
    """
    match = _GRACE.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a duration; write 30s, 5m or 1h.")
    return float(match[1]) * _UNITS[match[2]]
