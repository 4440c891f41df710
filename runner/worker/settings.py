"""What a runner reads from its environment and its command line."""

from __future__ import annotations

import grp
import os
import re
import socket
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from runner import labels
from runner.errors import Invalid
from runner.jobs import LEASE
from runner.lanes import DEFAULT_GROUP, check_group
from runner.runners import HEARTBEAT
from runner.settings import StoreSettings
from runner.worker.local.settings import LocalSettings
from vault.identities import Command, Credential, Source, key_path
from vault.names import ENVIRONMENTS, check_environment

_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)

#: One beat may be slow and one may fail, and the bot still gets a part of the lease as its grace.
BEATS_IN_A_LEASE = 4


class RunnerSettings(StoreSettings, LocalSettings):
    """One runner: which environments and groups it serves, how many bots at once, and where its keys are."""

    environments: tuple[str, ...] = Field(
        default=(ENVIRONMENTS[0],),
        description="Environments that this runner serves; it needs the private key of each, and of no other.",
    )
    groups: tuple[str, ...] = Field(default=(DEFAULT_GROUP,), description="Runner groups that it serves.")
    concurrency: int = Field(
        default_factory=lambda: max(4, 2 * (os.cpu_count() or 1)),
        ge=1,
        le=512,
        description="Bots that run at the same time; by default twice the number of cores, at least 4.",
    )
    runner_name: str = Field(
        default_factory=socket.gethostname,
        min_length=1,
        max_length=128,
        description="Name of this runner; two living runners cannot share one. By default the host's name.",
    )
    labels: dict[str, str] = Field(
        default={},
        description='What lists say about this runner, as JSON: `{"os": "linux"}`. Nothing is chosen by them.',
    )
    key_dir: Path | None = Field(
        default=None,
        description="Folder of the key files `{environment}.key`; by default the service manager's "
        "`$CREDENTIALS_DIRECTORY` where it holds them, else `keys` in the home.",
    )
    key_command: tuple[str, ...] | None = Field(
        default=None,
        description="Command that prints a key file, as a JSON list; `{environment}` in it is replaced.",
    )
    key_passphrase_file: Path | None = Field(
        default=None,
        description="File (0600) whose first line unlocks passphrase-protected key files.",
    )
    output_limit: int = Field(
        default=64 * 1024 * 1024,
        ge=1024,
        description="Bytes of output kept of one attempt: its beginning and its end, what lies between is counted.",
    )
    artefacts_limit: int = Field(
        default=1024 * 1024 * 1024,
        ge=0,
        description="Bytes of files that are kept of one attempt's `BOTKEEP_OUTPUT_DIR`; further files are named.",
    )
    log_group: str | None = Field(
        default=None,
        description="Group of the operating system that may read and prune the bots' logs, for a console and a "
        "scheduler under other users.",
    )
    run_as_root: bool = Field(
        default=False,
        description="Let this runner run as root, with what builds its bots' environments, and its bots, too, unless "
        "BOTKEEP_BOT_USERS gives them users. Refused unless set.",
    )
    bot_users: str = Field(
        default="",
        description="Users of the operating system, each of which one bot at a time has for itself: names, numbers and "
        "ranges of numbers, as in `70000-70015`, separated by commas; at least BOTKEEP_CONCURRENCY of them. The runner "
        "needs the right to switch to them (docs/OPERATIONS.md). Empty: bots run as the runner's user.",
    )
    bot_users_dir: Path = Field(
        default=Path("/run/botkeep-users"),
        description="Folder of the files by which the runners of this host lock the users of BOTKEEP_BOT_USERS.",
    )
    bot_readable: tuple[Path, ...] = Field(
        default=(),
        description="Files and folders, as a JSON list, that every bot may read besides the system's and its own.",
    )
    bot_writable: tuple[Path, ...] = Field(
        default=(),
        description="Files and folders, as a JSON list, that every bot may write; bots can meet there.",
    )
    watch_folders: tuple[Path, ...] = Field(
        default=(),
        description="Folders, as a JSON list, in and below which file triggers may watch for files and move them to "
        "`done` or `failed`. Let bots read them with BOTKEEP_BOT_READABLE.",
    )
    drain_grace: float = Field(
        default=30.0,
        ge=0,
        description="Seconds that running bots get to end after the runner was asked to stop.",
    )

    stall_after: float = Field(
        default=30.0,
        ge=0,
        description="Seconds after which a runner that receives nothing, although a lane holds messages and it has "
        "free slots, lets its bots end and ends with status 70, to be started again; 0 never.",
    )

    lease: float = Field(
        default=LEASE.total_seconds(),
        gt=0,
        le=3600,
        description="Seconds that a claim holds without a heartbeat; after them a job may be run again elsewhere, and "
        "before them its bot is killed here. At least four heartbeats.",
    )
    heartbeat: float = Field(
        default=HEARTBEAT.total_seconds(),
        gt=0,
        le=10,
        description="Seconds between two heartbeats, each of which extends the leases; a third of what a runner may "
        "be silent before it counts as lost, at most.",
    )

    @model_validator(mode="after")
    def _some_beats_in_a_lease(self) -> Self:
        if self.lease < BEATS_IN_A_LEASE * self.heartbeat:
            raise ValueError(
                f"BOTKEEP_LEASE ({self.lease:g} s) must be at least {BEATS_IN_A_LEASE} times BOTKEEP_HEARTBEAT "
                f"({self.heartbeat:g} s), or one slow heartbeat would take a job from its runner"
            )
        return self

    @field_validator("environments")
    @classmethod
    def _known_environments(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError('a runner serves at least one environment; write ["dev"]')
        return tuple(dict.fromkeys(check_environment(environment) for environment in value))

    @field_validator("bot_readable", "bot_writable", "watch_folders")
    @classmethod
    def _absolute(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        if any(not path.is_absolute() for path in value):
            raise ValueError("each path must be absolute")
        return value

    @field_validator("groups")
    @classmethod
    def _usable_groups(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError('a runner serves at least one group; write ["default"], or leave it out')
        return tuple(dict.fromkeys(check_group(group) for group in value))

    @field_validator("runner_name")
    @classmethod
    def _usable_name(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ValueError("a runner's name is 1 to 128 ASCII letters, digits, dots, hyphens or underscores")
        return value

    @field_validator("labels")
    @classmethod
    def _usable_labels(cls, value: dict[str, str]) -> dict[str, str]:
        return labels.check(value)

    def log_group_id(self) -> int | None:
        """The id of `log_group`.

        Raises:
            Invalid: when this host has no such group.
        """
        if self.log_group is None:
            return None
        try:
            return grp.getgrnam(self.log_group).gr_gid
        except KeyError:
            raise Invalid(f"BOTKEEP_LOG_GROUP names {self.log_group!r}, and this host has no such group.") from None

    def own(self) -> list[Path]:
        """Files and folders of this runner that no bot may reach."""
        database = self.database()
        passed = os.environ.get("CREDENTIALS_DIRECTORY")
        named = [
            self.key_dir,
            self.key_passphrase_file,
            self.local_key_file,
            self.local_passphrase_file,
            self.log_dir,
            Path(passed) if passed else None,
        ]
        if self.log_url is not None and self.log_url.startswith("file:"):
            named.append(Path(urlsplit(self.log_url).path))
        if database.startswith("sqlite:///"):
            named.append(Path(database.removeprefix("sqlite:///")))
        return [self.home, *(path for path in named if path is not None)]

    def key_sources(self) -> dict[str, Source]:
        """Where the key file of each served environment comes from."""
        return {environment: self._key_source(environment) for environment in self.environments}

    def _key_source(self, environment: str) -> Source:
        if self.key_command is not None:
            return Command(tuple(part.replace("{environment}", environment) for part in self.key_command))
        if self.key_dir is None:
            passed = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nonexistent")) / f"{environment}.key"
            if passed.exists():
                return Credential(passed)
        return key_path(self.key_dir or self.home / "keys", environment)
