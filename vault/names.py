"""Asset names: how they are written, which variables they become, and when two of them would meet.

Promises: a name that exists here is ASCII letters, digits and underscores, upper case, and short; two
*different* names that would become the same environment variable are found, whatever their case; a name
never becomes a variable that the runner sets itself. Pure: no input or output.
Refuses: everything else, with `InvalidName` or `NameCollision`, before anything is stored.

Names compare without case because environment variables do on some systems: `db.password` and
`DB.PASSWORD` are one asset, written `DB.PASSWORD`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from vault.errors import DamagedRow, InvalidName, NameCollision

#: In the order people promote a bot; the first is the default wherever none is given.
ENVIRONMENTS = ("dev", "staging", "prod")

#: The group whose assets also get the short variable `KLANGO_{NAME}`.
GLOBAL = "GLOBAL"

#: Longest group or name. Two of them and the prefix stay far below any limit on variable names.
MAX_LENGTH = 128

#: Variables in the `KLANGO_` range that a runner keeps for itself, whatever the assets are called:
#: what existing bots read to learn about their run, and what a runner of theirs is configured with.
RESERVED = frozenset(
    {
        "KLANGO_API_KEY",
        "KLANGO_BOT",
        "KLANGO_ENDPOINT",
        "KLANGO_ENVIRONMENT",
        "KLANGO_JOB_ID",
        "KLANGO_RUNNER",
        "KLANGO_RUN_ID",
        "KLANGO_SERVER_URL",
        "KLANGO_TOKEN",
        "KLANGO_WORKSPACE",
    }
)

#: How much of a wrong name an error message repeats.
_SHOWN = 60

# Letters spelled out, and fullmatch: `\w` would take Cyrillic letters, `$` would take a trailing newline.
_PART = re.compile(rf"[A-Za-z0-9_]{{1,{MAX_LENGTH}}}", re.ASCII)
_PATTERN_PART = re.compile(rf"[A-Za-z0-9_]{{1,{MAX_LENGTH}}}\*?|\*", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class AssetName:
    """A valid `GROUP.NAME`, upper case whatever it was written in; raises `InvalidName` otherwise."""

    group: str
    name: str

    def __post_init__(self) -> None:
        """Checks both parts and makes them canonical."""
        object.__setattr__(self, "group", _part(self.group, "group"))
        object.__setattr__(self, "name", _part(self.name, "name"))

    def __str__(self) -> str:
        """`GROUP.NAME`."""
        return f"{self.group}.{self.name}"

    @classmethod
    def parse(cls, text: str) -> "AssetName":
        """The name written as `GROUP.NAME`, with exactly one dot."""
        group, dot, name = text.partition(".")
        if not dot or "." in name:
            raise InvalidName(f"{shown(text)} is not an asset: write GROUP.NAME, for example SAP.PASSWORD.")
        return cls(group, name)


def stored(group: str, name: str) -> AssetName:
    """The name of an asset's row; raises `DamagedRow` where the row holds one that saving refuses."""
    try:
        return AssetName(group, name)
    except InvalidName:
        raise DamagedRow(
            f"A row of the database was changed by hand, or damaged: {shown(f'{group}.{name}')} is the name of no "
            "asset. Give the row its former name, or restore the database from a backup."
        ) from None


@dataclass(frozen=True, slots=True)
class Pattern:
    """Which assets a bot declares: each part a name, a name with a trailing `*`, or `*` alone."""

    group: str
    name: str

    def __str__(self) -> str:
        """The pattern as it is written, upper case."""
        return f"{self.group}.{self.name}"


def check_environment(text: str) -> str:
    """The environment, unchanged, or `InvalidName` saying which ones there are."""
    if text not in ENVIRONMENTS:
        raise InvalidName(f"There is no environment {shown(text)}: choose {', '.join(ENVIRONMENTS)}.")
    return text


def variables(name: AssetName) -> tuple[str, ...]:
    """The environment variables in which a bot finds the asset; the full form first."""
    full = f"KLANGO_ASSET_{name.group}_{name.name}"
    return (full, f"KLANGO_{name.name}") if name.group == GLOBAL else (full,)


def collision(one: AssetName, other: AssetName) -> str | None:
    """The variable that two *different* names share, or None.

    The same name twice is no collision: it is a bot's own value taking precedence over the workspace's.
    """
    if one == other:
        return None
    theirs = variables(other)
    return next((variable for variable in variables(one) if variable in theirs), None)


def check_collisions(name: AssetName, others: Iterable[AssetName]) -> None:
    """Raises `NameCollision` for the first of the others that shares a variable with the name."""
    for other in others:
        if (variable := collision(name, other)) is not None:
            raise NameCollision(variable, str(name), str(other))


def check_reserved(name: AssetName) -> None:
    """Raises `NameCollision` if the asset would take a variable that the runner sets itself."""
    for variable in variables(name):
        if variable in RESERVED:
            raise NameCollision(variable, str(name), f"the runner, which sets {variable} itself")


def parse_pattern(text: str) -> Pattern:
    """The pattern of a bot's `assets` list, such as `SAP.*`, `DB.PASSWORD` or `*.*`, in any case."""
    group, _, name = text.partition(".")
    if not (_PATTERN_PART.fullmatch(group) and _PATTERN_PART.fullmatch(name)):
        raise InvalidName(
            f"{shown(text)} is not a pattern for assets: write GROUP.NAME, where either part may be * "
            "or end in *, for example SAP.* or DB.PASSWORD."
        )
    return Pattern(group.upper(), name.upper())


def matches(pattern: Pattern | str, name: AssetName) -> bool:
    """Whether the asset is among those the pattern declares; a text is parsed first."""
    if isinstance(pattern, str):
        pattern = parse_pattern(pattern)
    return _part_matches(pattern.group, name.group) and _part_matches(pattern.name, name.name)


def shown(text: str) -> str:
    """A name as an error message may show it: quoted, printable ASCII, and never long."""
    return ascii(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def _part(text: str, what: str) -> str:
    if not _PART.fullmatch(text):
        raise InvalidName(
            f"{shown(text)} cannot be the {what} of an asset: use 1 to {MAX_LENGTH} ASCII letters, "
            "digits and underscores."
        )
    return text.upper()


def _part_matches(pattern: str, part: str) -> bool:
    return part.startswith(pattern[:-1]) if pattern.endswith("*") else part == pattern
