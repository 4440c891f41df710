"""What a package says about its bot: `bot.toml`, read into a `Manifest`.

    name = "report"                    # optional: the name it is usually registered under
    entry = "main.py"                  # a Python file of the package, or:
    command = ["./report", "--fast"]   # for a bot that is not Python: argv, no shell
    python_path = ["lib"]              # folders of the package on PYTHONPATH, for a command
    timeout = "1h"                     # default 1h; "30s", "5m", "1.5h", "2d" or a number of seconds
    grace = "10s"                      # between the request to stop and the kill; default 10s
    retries = { limit = 3, delay = "10s", factor = 2.0 }    # default: no retry; all keys: `Retries`
    concurrency = 1                    # attempts of this bot at the same time; omitted: no limit
    assets = ["SAP.*", "DB.PASSWORD"]  # omitted: every asset of the workspace
    files = ["DB.CERTIFICATE"]         # of these, also delivered as files
    sources = ["orders"]               # data sources; omitted: every one that is open to it
    connections = ["orders"]           # of these, also the connection itself, with its credentials
    writes = ["GLOBAL.SESSION"]        # assets that the bot may set in its job's environment; omitted: none
    dialects = ["robocorp"]            # "roboto", "robocorp"; omitted: those of the required packages
    requirements = ["requests>=2"]     # omitted: see `runner.dependencies`
    isolation = "sandbox"              # or "landlock", "user": only on runners that give it; default "any"
    network = false                    # with "sandbox": no network at all, the SDK's endpoint included
    limits = { memory = "512MB" }      # see `runner.limits`

    [parameters.REGION]
    default = "eu"                     # or: required = true

    [robot]                            # for a package with a robot.yaml; see `runner.robots`
    task = "consumer"                  # which of its tasks; omitted: the only one
    input = "orders"                   # the tray of its work items; omitted: the bot's name
    output = "invoices"                # the tray of what it makes; omitted: the bot's name and ".output"

Promises that a manifest is complete (exactly one of `entry` and `command`, and the entry is in the package),
that it can be kept as JSON, and that every refusal names the key and, where it can be found, the line.
Refuses unknown keys, and values of another type than the key's: nothing is guessed from a string.

    RunnerError
    └── Invalid
        └── ManifestInvalid
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection, Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StrictInt,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from runner import robots
from runner.durations import Duration
from runner.errors import Invalid
from runner.limits import Limits
from runner.states import REPEATABLE, Isolation
from vault.errors import VaultError
from vault.names import AssetName, matches, parse_pattern

FILE = "bot.toml"

#: Bytes of a bot.toml; a real one has a few hundred. Bounds what the TOML parser is given.
MAX_SIZE = 65_536

#: Files that are taken for the entry when nothing says which; where both are there, bot.toml has to say.
ENTRY_NAMES = ("main.py", "bot.py")

#: Repeats after a lost runner unless the bot says otherwise: three attempts tell a poison job from a dead host.
LOST_TWICE = 2

#: Sentences for pydantic's error types (https://docs.pydantic.dev/latest/errors/validation_errors/).
_COMPLAINTS = {
    "string_type": "must be text in quotes",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list in square brackets",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "enum": "must be any, landlock, user or sandbox",
    "literal_error": "must hold roboto or robocorp",
    "invalid-json-value": "must be text, a number, true or false, a list or a table",
    "string_pattern_mismatch": "is no name: write at most 128 ASCII letters, digits, - and _, a letter first",
}


class ManifestInvalid(Invalid):
    """The bot.toml cannot be used, or nothing says what to start; each problem is one sentence."""


def _asset_pattern(value: str) -> str:
    try:
        parse_pattern(value)
    except VaultError as error:
        raise ValueError(f"must hold asset names, or patterns such as SAP.*. {error}") from None
    return value


def _times(value: object) -> object:
    """Reads `true` as the default and `false` as never."""
    return {True: LOST_TWICE, False: 0}[value] if isinstance(value, bool) else value


Patterns = tuple[Annotated[str, AfterValidator(_asset_pattern)], ...]
Tray = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\z")]
ParameterName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,127}\z")]


@lru_cache(maxsize=256)
def _named(patterns: Patterns) -> tuple[AssetName, ...]:
    parsed = map(parse_pattern, patterns)
    return tuple(AssetName(each.group, each.name) for each in parsed if "*" not in each.group + each.name)


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Retries(_Table):
    """How often a failed attempt is followed by another, how soon, and after which reasons.

    The wait is `delay`, then `delay * factor`, and so on; up to the part `jitter` of it is taken away by lot.
    `runner_lost` is how often the bot may be repeated because its runner disappeared, when nobody knows how far
    it had come; 0 or false for a bot that must never run twice.
    """

    limit: StrictInt = Field(default=0, ge=0, le=100)
    delay: Duration = timedelta(seconds=10)
    factor: float = Field(default=2.0, ge=1, le=10, strict=True)
    jitter: float = Field(default=0.5, ge=0, le=1, strict=True)
    on: tuple[str, ...] = REPEATABLE
    runner_lost: Annotated[StrictInt, BeforeValidator(_times)] = Field(default=LOST_TWICE, ge=0, le=10)

    @field_validator("on")
    @classmethod
    def _can_be_repeated(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for reason in value:
            if reason not in REPEATABLE:
                raise ValueError(f"holds {reason[:40]!r}; a repeat can help after {', '.join(REPEATABLE)} only")
        return value


class Parameter(_Table):
    """One parameter of the bot. TOML has no null, so a `default` of None means that there is none."""

    default: JsonValue = None
    required: StrictBool = False

    @model_validator(mode="after")
    def _either(self) -> Self:
        if self.required and self.default is not None:
            raise ValueError("has a default and is required: remove one of the two")
        return self


class Robot(_Table):
    """What a package with a robot.yaml leaves open: which task, and the trays of its work items."""

    task: str | None = None
    input: Tray | None = None
    output: Tray | None = None


class Manifest(_Table):
    """A complete bot.toml; see the module's docstring for the keys. Durations are `timedelta`."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}\z")] | None = None
    entry: str | None = None
    command: tuple[str, ...] | None = None
    python_path: tuple[str, ...] = ()
    timeout: Duration = timedelta(hours=1)
    grace: Duration = timedelta(seconds=10)
    retries: Retries = Retries()
    concurrency: StrictInt | None = Field(default=None, ge=1, le=10_000)
    assets: Patterns | None = None
    files: Patterns = ()
    sources: tuple[str, ...] | None = None
    connections: tuple[str, ...] = ()
    writes: Patterns = ()
    dialects: tuple[Literal["roboto", "robocorp"], ...] | None = None
    requirements: tuple[str, ...] | None = None
    isolation: Isolation = Isolation.ANY
    network: StrictBool = True
    limits: Limits = Limits()
    parameters: dict[ParameterName, Parameter] = {}
    robot: Robot | None = None

    @classmethod
    def from_json(cls, value: Mapping[str, JsonValue]) -> Self:
        """Loads what `model_dump(mode="json")` gave.

        Raises:
            ManifestInvalid: it was written by hand, or by a newer Botkeep with a key this one does not know.
        """
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise ManifestInvalid(_sentences(error, "")) from None

    def declares(self, name: AssetName) -> bool:
        """Whether the bot may see the asset; one that declares nothing may see all of its workspace."""
        return self.assets is None or any(matches(pattern, name) for pattern in self.assets)

    def may_write(self, name: AssetName) -> bool:
        """Whether the bot may set the asset: one that it may see, too."""
        return self.declares(name) and any(matches(pattern, name) for pattern in self.writes)

    def named(self) -> tuple[AssetName, ...]:
        """The assets that are declared by name and not by a pattern."""
        return _named(self.assets or ())

    @field_validator("timeout")
    @classmethod
    def _some_time(cls, value: timedelta) -> timedelta:
        if not value:
            raise ValueError("must be longer than 0 seconds")
        return value

    @field_validator("command")
    @classmethod
    def _a_program(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and not (value and value[0]):
            raise ValueError('must begin with a program, such as ["./report", "--fast"]')
        return value

    @model_validator(mode="after")
    def _one_start(self) -> Self:
        if (self.entry is None) == (self.command is None):
            raise ValueError("Write either entry (a Python file) or command (a list of strings), not both.")
        if not self.network and self.isolation is not Isolation.SANDBOX:
            raise ValueError('Only a sandbox has no network: write isolation = "sandbox" beside network = false.')
        return self


def read_manifest(files: Mapping[str, bytes]) -> Manifest:
    """Reads the bot.toml of a package, or makes a manifest for a package without one.

    `files` maps the names in the package to their contents; only bot.toml and robot.yaml are looked into. Where neither
    `entry` nor `command` is written, the command is that of robot.yaml; without one the entry is main.py, bot.py or
    the only .py file of the top folder.

    Raises:
        ManifestInvalid: the bot.toml is unusable, the entry is not there, none or several could be meant.
    """
    text = _text(files[FILE]) if FILE in files else ""
    table = _parse(text)
    if "entry" not in table and "command" not in table:
        table |= _of_robot(table, files) if robots.FILE in files else {"entry": _obvious_entry(files)}
    try:
        manifest = Manifest.model_validate(table)
    except ValidationError as error:
        raise ManifestInvalid(_sentences(error, text)) from None
    _check_entry(manifest.entry, files, text)
    return manifest


def _text(content: bytes) -> str:
    if len(content) > MAX_SIZE:
        raise ManifestInvalid(f"{FILE} has {len(content):,} bytes; it may have {MAX_SIZE:,}.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ManifestInvalid(f"{FILE}, line {line}: this is not UTF-8; save the file as UTF-8.") from None


def _parse(text: str) -> dict[str, object]:
    try:
        table = tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError, or a number of more digits than Python reads
        raise ManifestInvalid(f"{FILE} is not valid TOML: {error}.") from None
    except RecursionError:
        raise ManifestInvalid(f"{FILE} is nested too deeply.") from None
    for path, value in _leaves(table):
        if "\0" in value:
            raise ManifestInvalid(f"{_place(path, text)} holds a NUL character; remove it.")
    return table


def _leaves(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], str]]:
    """All texts below `value`, keys included, with their places."""
    if isinstance(value, str):
        return [(path, value)]
    if isinstance(value, dict):
        keys = [(path, key) for key in value]
        return keys + [leaf for key, item in value.items() for leaf in _leaves(item, (*path, key))]
    if isinstance(value, list):
        return [leaf for index, item in enumerate(value) for leaf in _leaves(item, (*path, index))]
    return []


def _of_robot(table: Mapping[str, object], files: Mapping[str, bytes]) -> dict[str, object]:
    robot = table.get("robot")
    task = robot.get("task") if isinstance(robot, dict) else None
    found = robots.start(files, task if isinstance(task, str) else None)
    return {"command": list(found.argv), "python_path": list(found.python_path)}


def _obvious_entry(files: Collection[str]) -> str:
    top = sorted(name for name in files if name.endswith(".py") and "/" not in name)
    likely = [name for name in top if name in ENTRY_NAMES] or top
    if len(likely) == 1:
        return likely[0]
    example = likely[0] if likely else "main.py"
    seen = f"{', '.join(likely[:5])} could each be it" if likely else "there is no .py file in its top folder"
    raise ManifestInvalid(
        f"The package does not say what to start, and {seen}. Write a {FILE} with the line "
        f'entry = "{example}", or command = ["./program"] for a bot that is not Python.'
    )


def _check_entry(entry: str | None, files: Collection[str], text: str) -> None:
    if entry is None or (entry in files and entry.endswith(".py")):
        return
    place = _place(("entry",), text)
    if entry in files:
        raise ManifestInvalid(f"{place} must be a .py file; use command for a bot that is not Python.")
    near = difflib.get_close_matches(entry, [name for name in files if name.endswith(".py")], 1)
    hint = f"did you mean {near[0]!r}?" if near else "give its path from the folder of bot.toml, with /."
    raise ManifestInvalid(f"{place}: {entry[:200]!r} is not a file of the package; {hint}")


def _sentences(error: ValidationError, text: str) -> str:
    problems = error.errors(include_input=False, include_url=False)
    return " ".join(_sentence(one["type"], one["loc"], one["msg"], text=text) for one in problems)


_TABLES: dict[object, type[BaseModel]] = {
    "retries": Retries,
    "limits": Limits,
    "parameters": Parameter,
    "robot": Robot,
}


def _sentence(kind: str, path: tuple[str | int, ...], message: str, *, text: str) -> str:
    if not path:
        return f"{FILE}: {message.removeprefix('Value error, ')}"
    if kind == "extra_forbidden":
        model = _TABLES.get(path[0], Manifest) if len(path) > 1 else Manifest
        near = difflib.get_close_matches(str(path[-1]), model.model_fields, 1)
        hint = f"did you mean {near[0]}?" if near else f"the keys here are {', '.join(model.model_fields)}."
        return f"{_place(path, text)} is not a key of {FILE}; {hint}"
    complaint = _COMPLAINTS.get(kind) or message.removeprefix("Value error, ")
    if complaint.startswith(("Input should be", "String should", "Value should")):
        complaint = "must " + complaint.split(" should ", 1)[1]
    return f"{_place(path, text)} {complaint.rstrip('.')}."


def _place(path: tuple[str | int, ...], text: str) -> str:
    # At most parameters.NAME.default: what follows is within a value.
    keys = [str(part) for part in path if not isinstance(part, int) and part != "[key]"][:3]
    line = _line(keys, text)
    return f"{FILE}{f', line {line}' if line else ''}: {'.'.join(keys)[:200]!r}" if keys else f"{FILE}:"


def _line(keys: list[str], text: str) -> int | None:
    """The line of the longest written beginning of `keys`; a guess by shape, wrong for quoted dots."""
    table: list[str] = []
    best, found = 0, None
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\[?([^\[\]]+)\]", line):
            table = _split(header[1])
            written = table
        elif key := re.match(r"\s*([\w.\"'-]+(?:\s*\.\s*[\w\"'-]+)*)\s*=", line):
            written = table + _split(key[1])
        else:
            continue
        if best < len(written) <= len(keys) and written == keys[: len(written)]:
            best, found = len(written), number
    return found


def _split(dotted: str) -> list[str]:
    return [part.strip().strip("\"'") for part in dotted.split(".")]
