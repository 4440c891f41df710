"""What it means to be root here; `botkeep up` and `botkeep doctor` say it in the same words."""

from __future__ import annotations

import os
from collections.abc import Mapping


def warning(environ: Mapping[str, str]) -> str:
    """What runs as root and can read what root owns; empty for other users."""
    if os.geteuid() != 0:
        return ""
    if environ.get("BOTKEEP_BOT_USERS"):
        return "You are root; bots have users of their own, but the builds of their environments run as root."
    return "You are root; bots run as root without capabilities and can read what root owns."
