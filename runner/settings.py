"""What every process of Botkeep reads from its environment: the stores and the home folder.

Each process has one frozen settings class that adds its own fields to `StoreSettings` and is built in its
`__main__`. The embedded broker's address holds a password, so it travels in a 0600 file in the home, never in
an environment variable of a child process.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr

from runner import stores
from runner.errors import Invalid
from runner.stores import Store
from vault.settings import DatabaseSettings


class StoreSettings(DatabaseSettings):
    """Where the database, the broker, the home folder and the bots' logs are."""

    redis_url: SecretStr | None = Field(
        default=None,
        description="`redis://…` or `rediss://…`; by default the embedded broker's address in the home.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least important events that are logged."
    )
    log_dir: Path | None = Field(
        default=None,
        description="Folder of the bots' logs and artefacts, shared between runners, console and scheduler; by default "
        "`logs/jobs` in the home.",
    )
    log_url: str | None = Field(
        default=None,
        description="Store of the bots' logs and artefacts instead of a folder: `s3://BUCKET/PREFIX`, with "
        "`botkeep[s3]` installed and credentials in the variables `AWS_*`, or another URL that fsspec knows.",
    )

    def broker(self) -> str:
        """The broker's URL.

        Raises:
            Invalid: when none is configured and no embedded broker has left its address in the home.
        """
        if self.redis_url is not None:
            return _checked(self.redis_url.get_secret_value())
        path = self.home / "broker" / "url"
        try:
            mode = path.stat().st_mode
            url = path.read_text().strip()
        except OSError:
            raise Invalid(
                f"No broker is configured: set BOTKEEP_REDIS_URL, or start `botkeep up`, which writes {path}."
            ) from None
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise Invalid(f"{path} can be read by other users; run: chmod 600 {path}")
        return url

    def log_store(self, *, group: int | None = None) -> Store:
        """The store of the bots' logs; `group` is one of the operating system that may read and prune a folder.

        Raises:
            Invalid: when it cannot be used.
        """
        if self.log_url is None:
            return stores.directory(self.log_dir or self.home / "logs" / "jobs", group=group)
        if self.log_dir is not None:
            raise Invalid("BOTKEEP_LOG_URL and BOTKEEP_LOG_DIR are both set; keep one of them.")
        return stores.store(self.log_url, group=group)


def _checked(url: str) -> str:
    """The address, when its parts can be told apart.

    Raises:
        Invalid: without quoting it, since it may hold a password.
    """
    try:
        parts = urlsplit(url)
        known = parts.scheme in {"redis", "rediss", "redis+socket"}
        usable = known and (parts.port is None or parts.port > 0) and not parts.fragment
    except ValueError:
        usable = False
    if not usable:
        raise Invalid(
            "BOTKEEP_REDIS_URL is not an address: write redis://:PASSWORD@HOST:PORT/0, with special characters of "
            "the password percent-encoded."
        )
    return url
