"""What a runner reads from its environment and its command line."""

from __future__ import annotations

import grp
import os
import socket
from pathlib import Path

from pydantic import Field, field_validator

from runner.errors import Invalid
from runner.lanes import DEFAULT_GROUP, check_group
from runner.settings import StoreSettings
from vault.identities import Command, Credential, Source, key_path
from vault.names import ENVIRONMENTS, check_environment


class RunnerSettings(StoreSettings):
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
        description="Bytes of output kept of one attempt; what comes after is counted, not kept.",
    )
    log_group: str | None = Field(
        default=None,
        description="Group of the operating system that may read the bots' logs, for a console under another user.",
    )
    run_as_root: bool = Field(
        default=False,
        description="Let this runner run as root, and its bots with it. Refused unless set.",
    )
    bot_readable: tuple[Path, ...] = Field(
        default=(),
        description="Files and folders, as a JSON list, that every bot may read besides the system's and its own.",
    )
    bot_writable: tuple[Path, ...] = Field(
        default=(),
        description="Files and folders, as a JSON list, that every bot may write; bots can meet there.",
    )
    drain_grace: float = Field(
        default=30.0,
        ge=0,
        description="Seconds that running bots get to end after the runner was asked to stop.",
    )

    @field_validator("environments")
    @classmethod
    def _known_environments(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("a runner serves at least one environment")
        return tuple(dict.fromkeys(check_environment(environment) for environment in value))

    @field_validator("bot_readable", "bot_writable")
    @classmethod
    def _absolute(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        if any(not path.is_absolute() for path in value):
            raise ValueError("each path must be absolute")
        return value

    @field_validator("groups")
    @classmethod
    def _usable_groups(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(check_group(group) for group in value))

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
        named = [self.key_dir, self.key_passphrase_file, Path(passed) if passed else None]
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
