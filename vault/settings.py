"""What a process reads from its environment about the database, and what a key host reads about its keys.

Each process has one frozen settings class, built in its `__main__`: `VaultSettings` is that of
`python -m vault`. The others build on `DatabaseSettings`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from vault.errors import InvalidSettings


def default_home() -> Path:
    """`$XDG_DATA_HOME/botkeep`, by default below `~/.local/share` (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "botkeep"


class DatabaseSettings(BaseSettings):
    """Where the home folder and the database are."""

    model_config = SettingsConfigDict(env_prefix="BOTKEEP_", frozen=True, extra="forbid", env_ignore_empty=True)

    home: Path = Field(
        default_factory=default_home,
        description="Folder of what the embedded system keeps: database, keys, packages, logs.",
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="`postgresql+psycopg://…` or `sqlite:///PATH`; by default `botkeep.db` in the home.",
    )

    def database(self) -> str:
        """The database's URL."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.home / 'botkeep.db'}"


class VaultSettings(DatabaseSettings):
    """Settings of a key host: where its key files are and how they are unlocked."""

    key_dir: Path | None = Field(
        default=None,
        description="Folder of the key files `{environment}.key`; by default `keys` in the home.",
    )
    key_passphrase_file: Path | None = Field(
        default=None,
        description="File (0600) whose first line unlocks passphrase-protected key files.",
    )

    def keys(self) -> Path:
        """The folder of the key files."""
        return self.key_dir or self.home / "keys"


Settings = TypeVar("Settings", bound=BaseSettings)


def load(kind: type[Settings], given: dict[str, Any] | None = None) -> Settings:
    """The settings of a process from its environment; `given` (its command line) goes before.

    Raises:
        InvalidSettings: naming the variable, never its content, which may hold a password.
    """
    try:
        return kind(**(given or {}))
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        name = f"BOTKEEP_{str(problem['loc'][0]).upper()}" if problem["loc"] else "The settings"
        raise InvalidSettings(f"{name}: {problem['msg'].removeprefix('Value error, ')}.") from None
    except SettingsError as error:
        field = str(error).partition('"')[2].partition('"')[0]
        mapping = str(kind.model_fields[field].annotation).startswith("dict") if field in kind.model_fields else False
        form = 'object; write it like {"os": "linux"}' if mapping else 'list; write it like ["dev", "prod"]'
        raise InvalidSettings(f"BOTKEEP_{field.upper()} is not a JSON {form}.") from None
