"""What a check of `botkeep doctor` found."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cli.home import OTHERS

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found; `mend` is what to do about it, empty when all is well."""

    name: str
    level: Level
    message: str
    mend: str = ""


def private(name: str, path: Path, mode: int, *, but: int = 0) -> Finding:
    """Whether a file or folder is its owner's alone, and that is who asks; `but` are bits that others may have."""
    try:
        status = path.stat()
    except OSError as error:
        return Finding(name, "fail", f"{path} cannot be looked at: {error.strerror}.", "Run this as its owner.")
    if status.st_uid != os.geteuid():
        return Finding(name, "fail", f"{path} belongs to another user.", "Run Botkeep as its owner.")
    if status.st_mode & OTHERS & ~but:
        now = stat.S_IMODE(status.st_mode)
        return Finding(name, "fail", f"{path} is open to others ({now:04o}).", f"chmod {mode:o} {path}")
    return Finding(name, "ok", f"{path} is for its owner only.")
