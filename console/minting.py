"""`python -m console token` and `link`: made on the console's own host, where the database can be reached.

With a file the token goes into it (0600, replaced at once) and nowhere else; without one it is printed, once.
Refuses to leave a token in the database that nobody holds: the file is written before the commit.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy.orm import Session

from console import auth, users
from console.auth import Grant
from runner.errors import Invalid, NotFound
from runner.workspaces import default_workspace
from vault.audit import Actor


@dataclass(frozen=True, slots=True)
class Wanted:
    """The token that is asked for; with `if_missing` one that is there and held is left alone."""

    name: str
    role: str
    environments: Sequence[str]
    client_file: Path | None
    url: str
    if_missing: bool


def mint(session: Session, wanted: Wanted, *, now: datetime) -> str | None:
    """Make the token; answers it where it is to be printed, `None` where it is in the file or was there.

    Raises:
        Conflict: when there is one of that name and `if_missing` was not said.
        Invalid: for a name, role or environment that there cannot be, or a file that cannot be written.
    """
    workspace_id = default_workspace(session)
    present = auth.in_use(session, wanted.name, workspace_id=workspace_id) is not None
    if present and wanted.if_missing:
        if wanted.client_file is None or _holds(session, wanted):
            return None
        auth.remove(session, wanted.name, workspace_id=workspace_id, actor=local_user(), now=now)
    _row, token = auth.create(
        session,
        wanted.name,
        grant=Grant.of(wanted.role, wanted.environments),
        workspace_id=workspace_id,
        actor=local_user(),
        now=now,
    )
    if wanted.client_file is None:
        return token
    _write(wanted.client_file, wanted.url, token)
    return None


def mint_link(session: Session, name: str, *, now: datetime) -> str:
    """What a link must hold to sign a person in once, whichever workspaces they belong to.

    Raises:
        NotFound: when there is no account of this name.
    """
    user = users.find(session, name)
    mine = users.workspaces_of(session, user.id) if user else ()
    if not mine:
        raise NotFound(f"There is no user {name}; see `botkeep user list`.")
    member = users.require(session, name, workspace_id=mine[0])
    return users.link(session, member, actor=local_user(), now=now)


def local_user() -> Actor:
    """Whoever runs this command, as audit rows name them."""
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        name = str(os.geteuid())
    return Actor(f"local user {name}")


def _holds(session: Session, wanted: Wanted) -> bool:
    """Whether the file has a token in use of this name."""
    if wanted.client_file is None:
        return False
    try:
        content = tomllib.loads(wanted.client_file.read_text())
    except (OSError, ValueError):
        return False
    found = auth.find(session, str(content.get("token", "")), address="")
    return found is not None and found.name == wanted.name and bool(content.get("url"))


def _write(path: Path, url: str, token: str) -> None:
    if any(character in url for character in '"\\\n'):
        raise Invalid("The console's address holds a character that the client's file cannot hold.")
    try:
        descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise Invalid(f"{path} cannot be written: {error.strerror}. Name a file in a folder of yours.") from None
    try:
        with os.fdopen(descriptor, "w") as file:  # mkstemp makes it 0600
            file.write(f'url = "{url}"\ntoken = "{token}"\n')
            file.flush()
            os.fsync(file.fileno())
        Path(draft).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(draft).unlink()
        raise
