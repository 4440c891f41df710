"""The keys of webhooks: what deliveries are verified by, sealed so that a copy of the database opens none.

To verify an HMAC the console needs the key itself, so it can be no asset (the console decrypts nothing of the vault)
and no digest. It is sealed with the console's own key (`console.key_file`),
bound to its trigger and style. No other role may read the table (deploy/postgres/roles.sql),
and no route answers a key again. Why: docs/adr/0010-keys-of-webhooks.md.
"""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import delete
from sqlalchemy.orm import Session

from console.key_file import KeyFile
from console.models import HookKey
from console.signatures import proof_of
from runner.errors import Conflict, Invalid
from scheduler.definitions import Style
from vault.audit import Actor

#: Bytes of a key that a person may give: shorter ones can be guessed; senders make 20 to 64.
SHORTEST, LONGEST = 16, 512


class HookRing:
    """Seals and opens keys of webhooks with the console's own key."""

    def __init__(self, file: KeyFile) -> None:
        self._file = file

    def set(
        self, session: Session, trigger_id: uuid.UUID, *, style: Style, key: str, actor: Actor, now: datetime
    ) -> None:
        """Let deliveries be verified by this key from now on.

        Raises:
            Invalid: for a key that is too short or too long, or a file that cannot be used.
        """
        given = key.encode()
        if not SHORTEST <= len(given) <= LONGEST:
            raise Invalid(f"key: it must have {SHORTEST} to {LONGEST} bytes; let the sender or Botkeep make one.")
        sealed = self._file.seal(proof_of(style, given), context=_bound(trigger_id, style))
        row = session.get(HookKey, trigger_id, with_for_update=True) or HookKey(trigger_id=trigger_id)
        row.sealed, row.set_at, row.set_by = sealed, now, actor.name
        session.add(row)
        session.flush()

    def proof(self, session: Session, trigger_id: uuid.UUID, *, style: Style) -> bytes | None:
        """What deliveries are verified by; `None` where no key was set.

        Raises:
            Conflict: where the console's file is not the one that sealed it.
        """
        row = session.get(HookKey, trigger_id)
        if row is None:
            return None
        proof = self._file.open(row.sealed, context=_bound(trigger_id, style))
        if proof is None:
            raise Conflict(
                f"The key of this webhook was sealed with another file than {self._file.path}; restore that file, or "
                "set the key again: botkeep trigger key NAME"
            )
        return proof


def forget(session: Session, trigger_id: uuid.UUID) -> None:
    """Take no delivery any more until another key is set."""
    session.execute(delete(HookKey).where(HookKey.trigger_id == trigger_id))


def _bound(trigger_id: uuid.UUID, style: Style) -> bytes:
    """What a sealed key belongs to: moved to another row, it does not open."""
    return b"botkeep hook 1\0" + trigger_id.bytes + (b"plain" if style is Style.PLAIN else b"hmac")
