"""What the journals of outcomes in a home say to who may only read them: which attempts' bots have ended by themselves.

Their format is `runner.worker.outcomes`'; whoever holds them reports them. A rescuer that can read them waits for that
instead of having a bot that ended run again.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection
from pathlib import Path

#: Folder in the home for the journals of this host's runners.
OUTCOMES = "outcomes"


def ended(root: Path, attempts: Collection[tuple[uuid.UUID, int]]) -> set[uuid.UUID]:
    """The jobs of these attempts of which a journal below `root` holds an exit status; none that cannot be read."""
    found = set()
    for path in root.glob("[!.]*.jsonl"):
        try:
            lines = path.read_bytes().split(b"\n")
        except OSError:
            continue
        for line in lines:
            known = _exited(line)
            if known is not None and known in attempts:
                found.add(known[0])
    return found


def _exited(line: bytes) -> tuple[uuid.UUID, int] | None:
    try:
        raw = json.loads(line)
        return (uuid.UUID(raw["job"]), int(raw["attempt"])) if raw["exit_code"] is not None else None
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
