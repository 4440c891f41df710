"""Makes what compose.yaml reads: passwords, and for each process the addresses of its stores.

    python3 deploy/containers/prepare.py

Writes `private/` beside itself, for its owner alone, and changes no file that is there: running it again adds what is
missing. Standard library only.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

#: Roles of the database that a process logs in with, and the file of variables that names its stores.
ROLES = {"owner": "migrate", "console": "console", "scheduler": "scheduler", "runner": "runner", "keyhost": "keyhost"}

#: The user of the image of Redis, who reads its configuration.
REDIS_USER = 999


def main(folder: Path) -> int:
    """Write what is missing."""
    os.umask(0o077)
    for name in ("passwords", "redis"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    superuser = password(folder / "passwords" / "superuser")
    made = keep(folder / "passwords" / "superuser.pgpass", f"postgres:5432:*:postgres:{superuser}\n")
    broker = password(folder / "redis" / "password")
    made += keep(
        folder / "redis" / "redis.conf",
        f"requirepass {broker}\nappendonly yes\nmaxmemory-policy noeviction\ndir /data\n",
    )
    for role, process in ROLES.items():
        own = password(folder / "passwords" / role)
        made += keep(
            folder / f"{process}.env",
            f"BOTKEEP_DATABASE_URL=postgresql+psycopg://botkeep_{role}:{own}@postgres/botkeep\n"
            f"BOTKEEP_REDIS_URL=redis://:{broker}@redis:6379/0\n",
        )
    give(folder / "redis")
    print(f"{folder} has all that compose.yaml reads ({made} new files). Keep a copy; the passwords are nowhere else.")
    return 0


def password(path: Path) -> str:
    """The password in a file, drawn where there is none: 192 bits, in letters that no address needs to escape."""
    keep(path, secrets.token_urlsafe(24))
    return path.read_text().strip()


def keep(path: Path, content: str) -> int:
    """Write a new file; how many were written. One that is there stays as it is."""
    try:
        with path.open("x") as file:
            file.write(content)
    except FileExistsError:
        return 0
    return 1


def give(folder: Path) -> None:
    """Let the user of the image read this folder, where we may give it away."""
    if os.geteuid() == 0:
        for path in (folder, *folder.iterdir()):
            os.chown(path, REDIS_USER, REDIS_USER)


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent / "private"))
