"""Developing a bot on a laptop: values from a file beside it, or from a prompt, and never from the vault.

    # botkeep.local.toml, in .gitignore
    [assets]
    "SAP.PASSWORD" = "a password of a test system"
    [parameters]
    region = "eu"
    [sources]
    orders = [{ id = 1, total = 12 }]
    [trays]
    invoices = [{ number = 7 }]

`python main.py` then runs the bot as it is: what it says of results, progress and work items goes to stderr. A value
that the file does not have is asked for without echo where a person sits at the terminal.

Refuses a file that git would commit, or that others on this machine may read. Is not there for bots that a runner
started.
"""

from __future__ import annotations

import os
import sys

from botkeep.errors import OutsideBotkeep
from botkeep.stand_in import StandIn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

FILE = "botkeep.local.toml"

#: What stands in the runner's place: a test's, or the one of the file, once it was looked for.
_standing: list[StandIn] = []


def stand() -> StandIn | None:
    """What answers in the runner's place, `None` where a runner does, or nobody.

    Raises:
        OutsideBotkeep: for a file that must not be used as it is.
    """
    if _standing:
        return _standing[-1]
    if "BOTKEEP_ENDPOINT" in os.environ or "BOTKEEP_JOB_ID" in os.environ:
        return None
    path = _find()
    if path is None:
        return None
    _standing.append(_read(path))
    return _standing[-1]


def _find() -> Path | None:
    from pathlib import Path  # noqa: PLC0415 - a bot that a runner started never comes here

    named = os.environ.get("BOTKEEP_LOCAL_FILE")
    if named:
        path = Path(named)
        if not path.is_file():
            raise OutsideBotkeep(f"BOTKEEP_LOCAL_FILE names {named}, which is no file.")
        return path
    here = Path.cwd()
    return next((folder / FILE for folder in (here, *here.parents) if (folder / FILE).is_file()), None)


def _read(path: Path) -> StandIn:
    import tomllib  # noqa: PLC0415 - as above

    if path.stat().st_mode & 0o077:
        raise OutsideBotkeep(f"{path} can be read by others on this machine; run: chmod 600 {path}")
    if _committed(path):
        raise OutsideBotkeep(f"git would commit {path}; add the line {path.name} to .gitignore first.")
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError:  # its text may hold a part of a value
        found = None
    if found is None:
        raise OutsideBotkeep(f"{path} is not valid TOML; put texts in double quotes.")
    return StandIn(
        assets=found.get("assets"),
        parameters=found.get("parameters"),
        sources=found.get("sources"),
        trays=found.get("trays"),
        ask=_prompt if sys.stdin is not None and sys.stdin.isatty() else None,
        tell=lambda line: sys.stderr.write(f"botkeep (local): {line}\n"),
    )


def _prompt(asset: str) -> str | None:
    from getpass import getpass  # noqa: PLC0415 - as above

    return getpass(f"{asset} (not in {FILE}): ") or None


def _committed(path: Path) -> bool:
    """Whether the file is in a working tree of git that does not ignore it."""
    import shutil  # noqa: PLC0415 - as above
    import subprocess  # noqa: PLC0415 - as above

    folder = path.resolve().parent
    git = shutil.which("git")
    if git is None or not any((above / ".git").exists() for above in (folder, *folder.parents)):
        return False
    command = [git, "check-ignore", "-q", str(path.resolve())]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True)
    return done.returncode == 1
