"""What a check of `botkeep doctor` found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found; `mend` is what to do about it, empty when all is well."""

    name: str
    level: Level
    message: str
    mend: str = ""
