"""The duty that notes when each asset was last read, for lists and for "never read in 30 days"."""

from __future__ import annotations

from sqlalchemy import Engine

from runner import readings_noted
from vault import db

#: Seconds between two looks: people read ages in minutes.
EVERY = 10.0


def note_readings(engine: Engine) -> int:
    """Gather every bot's readings up to now, a window in each transaction; answers how many bots had some."""
    with db.reading(engine) as session:
        bots = readings_noted.waiting(session)
    for bot_id in bots:
        more = True
        while more:
            with db.writing(engine) as session:
                more = readings_noted.note(session, bot_id)
    return len(bots)
