"""What an attempt may use of its host: the table `[limits]` of bot.toml, and the same as a workspace's policy; pure.

    memory = "512MB"     # resident memory of all processes of the bot together
    cpu_time = "10m"     # of all of them together
    open_files = 1024    # in each process
    processes = 64       # at the same time
    output = "64MB"      # of log that is kept
    disk = "1GB"         # in the attempt's own folder, and the most that one file may have

A workspace's limit replaces Botkeep's own (`DEFAULTS`); a bot's can only be narrower: of the two, the lower one counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, ValidationError

from runner.durations import Duration
from runner.errors import Invalid

_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?(B|KB|MB|GB|TB)", re.ASCII)
_BYTES = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}

#: The largest size that anybody may ask for; setrlimit(2) takes more, and no host has it.
LARGEST = 1 << 50


def size(value: object) -> int:
    """Reads `"512MB"` (1 MB is 1,048,576 bytes) or a number of bytes; ValueError for anything else."""
    if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
        value = int(float(match[1]) * _BYTES[match[2]])
    if not isinstance(value, int) or isinstance(value, bool):
        # pydantic makes a refusal of a ValueError only.
        raise ValueError(  # noqa: TRY004
            'must be a size such as "512MB" or "2GB", or a number of bytes'
        )
    return value


def written(count: int) -> str:
    """A number of bytes as people write it, `size` reads it back."""
    for unit in ("TB", "GB", "MB", "KB"):
        if count >= _BYTES[unit] and count % (_BYTES[unit] // 16) == 0:
            return f"{count / _BYTES[unit]:g}{unit}"
    return f"{count}B"


def _between(least: str, most: int = LARGEST) -> AfterValidator:
    def check(value: int) -> int:
        if not size(least) <= value <= most:
            raise ValueError(f"must be between {least} and {written(most)}")
        return value

    return AfterValidator(check)


def _long_enough(value: timedelta) -> timedelta:
    # RLIMIT_CPU counts whole seconds.
    if value < timedelta(seconds=1):
        raise ValueError("must be 1 second or more")
    return value


class Limits(BaseModel):
    """Each limit, or `None` where nobody said anything; see the module's docstring. Sizes are in bytes.

    The least values are what an interpreter needs to start at all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    memory: Annotated[int, BeforeValidator(size), _between("16MB")] | None = None
    cpu_time: Annotated[Duration, AfterValidator(_long_enough)] | None = None
    open_files: Annotated[StrictInt, Field(ge=16, le=1_048_576)] | None = None
    processes: Annotated[StrictInt, Field(ge=1, le=1_000_000)] | None = None
    output: Annotated[int, BeforeValidator(size), _between("1KB")] | None = None
    disk: Annotated[int, BeforeValidator(size), _between("1MB")] | None = None

    def narrowed(self, other: Limits) -> Limits:
        """Of each limit the lower one."""
        return self._joined(other, min)

    def replaced(self, other: Limits) -> Limits:
        """Each limit of `other`, and ours where it has none."""
        return self._joined(other, lambda _ours, theirs: theirs)

    def _joined(self, other: Limits, choose: Any) -> Limits:  # noqa: ANN401 - one type for each field
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in Limits.model_fields}
        chosen = {
            name: (ours if theirs is None else theirs if ours is None else choose(ours, theirs))
            for name, (ours, theirs) in pairs.items()
        }
        return Limits.model_construct(**chosen)


#: What holds where neither the workspace nor the bot says anything: room for honest bots, an end for runaway ones.
DEFAULTS = Limits(
    memory=4 << 30,
    open_files=4096,
    processes=1024,
    output=64 << 20,
    disk=10 << 30,
)


def read_limits(table: Mapping[str, Any]) -> Limits:
    """Limits from JSON.

    Raises:
        Invalid: for an unknown limit or one that makes no sense.
    """
    try:
        return Limits.model_validate({name: value for name, value in table.items() if value is not None})
    except ValidationError as error:
        raise Invalid(
            " ".join(_sentence(one) for one in error.errors(include_input=False, include_url=False))
        ) from None


def _sentence(problem: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    name = ".".join(map(str, problem["loc"][:1]))[:100]
    if problem["type"] == "extra_forbidden":
        return f"There is no limit {name!r}; they are {', '.join(Limits.model_fields)}."
    complaint = str(problem["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
    return f"The limit {name!r} {complaint.rstrip('.')}."
