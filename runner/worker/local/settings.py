"""What `botkeep local` and the runners of a host read from their environment about local values."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field

from vault.identities import Credential
from vault.settings import DatabaseSettings

#: The name of the key's file, in the folder of the key files and among the service manager's credentials.
KEY_FILE = "local.key"


class LocalSettings(DatabaseSettings):
    """Where the values that live on this host are, and what opens them."""

    key_dir: Path | None = Field(
        default=None,
        description="Folder of the key files `{environment}.key` and `local.key`; by default `keys` in the home.",
    )
    local_key_file: Path | None = Field(
        default=None,
        description="File (0600) with the key of this host's local values; by default the service manager's credential "
        "`local.key`, else `local.key` in the folder of the key files.",
    )
    local_passphrase_file: Path | None = Field(
        default=None,
        description="File (0600) whose first line unlocks local values that a passphrase protects.",
    )

    def local_folder(self) -> Path:
        """The folder of the values, the names and the journal."""
        return self.home / "local"

    def local_key(self) -> Path | Credential:
        """Where the key of this host is."""
        if self.local_key_file is not None:
            return self.local_key_file
        if self.key_dir is None:
            passed = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nonexistent")) / KEY_FILE
            if passed.exists():
                return Credential(passed)
        return (self.key_dir or self.home / "keys") / KEY_FILE
