"""What a bot finds in its environment: an allow-list of our own names and its assets, nothing inherited.

Names of assets are derived by `vault.names` and collide with nothing (saving refuses that); names that the
runner sets itself come last and win. A value that no environment variable can carry is delivered as a file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vault.decrypt import Secret
from vault.grading import LARGEST_VARIABLE
from vault.names import AssetName, matches, variables
from vault.tokens import JSON

#: The search path of every bot; its virtual environment's `bin` stands before it.
PATH = "/usr/local/bin:/usr/bin:/bin"

#: A UTF-8 locale that glibc always has (locale(7)); Python and most tools then agree on UTF-8.
LANG = "C.UTF-8"

_as_json = json.JSONEncoder(ensure_ascii=False).encode


@dataclass(frozen=True, slots=True)
class Folders:
    """The private folders of one attempt, all below `root`, which is removed at its end."""

    root: Path
    package: Path
    home: Path
    tmp: Path
    output: Path
    assets: Path
    parameters: Path
    #: The variables that tell the bot of them.
    places: Mapping[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Write the paths out, once for all attempts that get these folders."""
        places = {
            "HOME": str(self.home),
            "TMPDIR": str(self.tmp),
            "BOTKEEP_PARAMETERS_FILE": str(self.parameters),
            "BOTKEEP_OUTPUT_DIR": str(self.output),
            "BOTKEEP_ASSET_DIR": str(self.assets),
        }
        object.__setattr__(self, "places", places)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a bot may know about its own run."""

    job_id: str
    attempt: int
    environment: str
    bot: str
    endpoint: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Delivery:
    """How the values reach the bot: as variables, and as files where variables cannot carry them."""

    variables: dict[str, bytes] = field(repr=False)
    files: dict[AssetName, bytes] = field(repr=False)
    warnings: tuple[str, ...]


def public_environment(
    facts: Facts, folders: Folders, *, python: Path | None, python_path: Sequence[str] = ()
) -> dict[str, str]:
    """The part of a bot's environment that holds no value: fixed names, ids and folders."""
    modules = {"PYTHONPATH": ":".join(str(folders.package / folder) for folder in python_path)} if python_path else {}
    return {
        **modules,
        "PATH": PATH if python is None else f"{python.parent}:{PATH}",
        "LANG": LANG,
        "TZ": os.environ.get("TZ") or "UTC",
        **folders.places,
        "BOTKEEP_JOB_ID": facts.job_id,
        "BOTKEEP_ATTEMPT": str(facts.attempt),
        "BOTKEEP_ENVIRONMENT": facts.environment,
        "BOTKEEP_BOT": facts.bot,
        "BOTKEEP_ENDPOINT": facts.endpoint,
        "BOTKEEP_TOKEN": facts.token,
    }


def deliver(values: Mapping[AssetName, Secret | None], *, files: Sequence[str] = ()) -> Delivery:
    """Decide how each value is delivered; `None` is an unset value and becomes an empty variable.

    `files` are the patterns of assets that the bot declares to want as files too.
    """
    as_variables: dict[str, bytes] = {}
    as_files: dict[AssetName, bytes] = {}
    warnings: list[str] = []
    for name, secret in values.items():
        value = b"" if secret is None else secret.reveal()
        names = variables(name)
        # execve(2), MAX_ARG_STRLEN: name, "=", value and the final NUL share 131,072 bytes; the first is the longest.
        fits = b"\0" not in value and len(names[0]) + 1 + len(value) + 1 <= LARGEST_VARIABLE
        if fits:
            for variable in names:
                as_variables[variable] = value
        else:
            warnings.append(
                f"{name} {_obstacle(value)}, so it is no environment variable; the bot finds it in "
                f"$BOTKEEP_ASSET_DIR/{name} and through the SDK."
            )
        if not fits or (files and secret is not None and any(matches(pattern, name) for pattern in files)):
            as_files[name] = value
    return Delivery(as_variables, as_files, tuple(warnings))


def encode(public: Mapping[str, str], delivery: Delivery) -> bytes:
    """The whole environment as the bot's bootstrap reads it: `NAME=value` items, each ended by NUL."""
    values = [b"%s=%s\0" % (name.encode(), value) for name, value in delivery.variables.items() if name not in public]
    return b"".join([*values, os.fsencode("".join([f"{name}={text}\0" for name, text in public.items()]))])


def write_files(folders: Folders, delivery: Delivery, *, parameters: JSON) -> None:
    """Write the parameters and the values that are delivered as files, each 0600, below memory-backed storage."""
    write_private(folders.parameters, _as_json(parameters).encode())
    for name, value in delivery.files.items():
        write_private(folders.assets / str(name), value)


def write_private(path: Path, content: bytes) -> None:
    """Make a file that nobody else may read.

    Raises:
        FileExistsError: when there is one.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    finally:
        os.close(descriptor)


def _obstacle(value: bytes) -> str:
    return "contains a NUL byte" if b"\0" in value else f"has {len(value):,} bytes"
