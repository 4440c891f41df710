"""Where the console is and with which token to ask it.

`BOTKEEP_URL` and `BOTKEEP_TOKEN` come first, then `client.toml` in the home. A token from the file is only
ever sent to the address in the same file, and a file that other users can read is refused.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cli.errors import Denied, Refused, Unreachable
from cli.home import OTHERS, Home


@dataclass(frozen=True, slots=True)
class Connection:
    """An address without a trailing slash, and a token that `repr` does not show."""

    url: str
    token: str = field(repr=False)


def connection(environ: Mapping[str, str], home: Home) -> Connection:
    """The connection that the environment or the home's `client.toml` describe.

    Raises:
        Unreachable: when nothing says where the console is.
        Denied: when there is an address but no token for it.
        Refused: when `client.toml` is readable by others or not understood.
    """
    url, token = environ.get("BOTKEEP_URL", "").rstrip("/"), environ.get("BOTKEEP_TOKEN", "")
    if url and not url.startswith(("http://", "https://")):
        raise Refused(f"BOTKEEP_URL is {url!r}, which is not an address.", hint="Begin it with https:// or http://.")
    if url and token:
        return Connection(url, token)
    local = read_client(home.client) if home.client.exists() else None
    if local is not None and url in ("", local.url):
        return Connection(local.url, token or local.token)
    if url:
        raise Denied("BOTKEEP_URL is set, but there is no token for it.", hint="Set BOTKEEP_TOKEN as well.")
    raise Unreachable(
        f"Nothing says where Botkeep is: there is no {home.client}.",
        hint="Start it with `botkeep up`, or set BOTKEEP_URL and BOTKEEP_TOKEN.",
    )


def read_client(path: Path) -> Connection:
    """The connection in a `client.toml`.

    Raises:
        Refused: when others can read the file, it belongs to someone else, or it lacks `url` or `token`.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_mode & OTHERS:
                raise Refused(f"Other users can read the token in {path}.", hint=f"Run: chmod 600 {path}")
            if status.st_uid != os.geteuid() and os.geteuid() != 0:
                raise Refused(f"{path} belongs to another user.", hint="Point BOTKEEP_HOME at a folder of yours.")
            content = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise Refused(f"{path} cannot be read.", hint="Remove it; `botkeep up` writes a new one.") from None
    url, token = content.get("url"), content.get("token")
    if not (isinstance(url, str) and isinstance(token, str) and url and token):
        raise Refused(f"{path} lacks url or token.", hint="Remove it; `botkeep up` writes a new one.")
    return Connection(url.rstrip("/"), token)
