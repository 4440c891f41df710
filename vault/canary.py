"""The start-up canary: proof that the identities held are those this database was encrypted for."""

from __future__ import annotations

from sqlalchemy.orm import Session

from vault import recipients
from vault.decrypt import Identities, open_envelope
from vault.errors import Conflict, DecryptError, NoRecipient
from vault.models import RecipientKey


def check_canaries(session: Session, identities: Identities) -> None:
    """Prove at start that the held identities are those of this database.

    Raises:
        Conflict: when an environment has no registered key, or when its current key is not held or does not open
            its canary.
    """
    for environment in identities:
        for key in recipients.all_keys(session, environment):
            if key.retired_at is None:
                _check_canary(key, identities)
                break
        else:
            raise NoRecipient(environment)


def _check_canary(key: RecipientKey, identities: Identities) -> None:
    try:
        context = recipients.canary_context(key.environment)
        opened = open_envelope(key.canary, identities, context=context)
        if opened.reveal() == recipients.CANARY:
            return
    except DecryptError:
        pass
    raise Conflict(
        f"The {key.environment} key on this host does not open what the database was encrypted with (key {key.id}). "
        "This is the key of another installation, an old one, or the database row was changed. "
        "Put the right key file in place; nothing was overwritten."
    )
