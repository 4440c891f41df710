"""Tells the database which private keys this runner holds, by their ids, which are public: at its start and when they
change, so that whoever rotates a key sees which runner lacks it. What could not be said is said with the next beat.
"""

from __future__ import annotations

import uuid

from sqlalchemy import Engine

from runner import runners
from runner.worker.keyring import Keyring
from vault import db


class KeyNotes:
    """What was said last, by one runner; `keyring` is what it holds."""

    def __init__(self, engine: Engine, keyring: Keyring, *, runner: str, instance: uuid.UUID) -> None:
        self._engine, self._keyring = engine, keyring
        self._runner, self._instance = runner, instance
        self._said = keyring.held()  # with the registration

    def beat(self) -> None:
        """Look at the key files, and say what changed.

        Raises:
            Unavailable: when the database cannot be reached.
        """
        self._keyring.look()
        held = self._keyring.held()
        if held == self._said:
            return
        with db.writing(self._engine) as session:
            runners.note_keys(session, self._runner, instance=self._instance, keys=held)
        self._said = held
