"""Recovery codes: each stands once for a code of the authenticator, for whoever lost it.

Promises that codes are shown by the answer that makes them and never again, that only their digests are stored, and
that of two who show the same code at once one is let in. A digest is enough: nobody guesses 100 random bits.
"""

from __future__ import annotations

import secrets
import uuid
from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from console import users
from console.digests import digest
from console.user_models import RecoveryCode, User
from vault import audit, db
from vault.audit import Actor

#: Codes of one set, and letters of one; 32 of them, so five random bits each.
COUNT, LENGTH = 10, 20

#: Crockford's base 32 without letters that are taken for digits, https://www.crockford.com/base32.html.
_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

#: What people write for a letter that there is not.
_MISTAKEN = str.maketrans("OIL", "011")


def make(session: Session, user: User, *, actor: Actor, now: datetime) -> list[str]:
    """A new set of codes, in groups of five letters; those before it count no more."""
    forget(session, user.id)
    codes = ["".join(secrets.choice(_LETTERS) for _ in range(LENGTH)) for _ in range(COUNT)]
    session.add_all(RecoveryCode(digest=_bound(user.id, code), user_id=user.id, created_at=now) for code in codes)
    session.flush()
    _record(session, user, "user.recovery_codes_made", actor=actor, now=now)
    return ["-".join(code[start : start + 5] for start in range(0, LENGTH, 5)) for code in codes]


def looks_like_one(text: str) -> bool:
    """Whether somebody typed a recovery code, and not one of the authenticator."""
    return len(_plain(text)) == LENGTH


def accepts(session: Session, user: User, text: str, *, actor: Actor, now: datetime) -> bool:
    """Whether the code is one of the person's that was not used; it is used up by this."""
    use = update(RecoveryCode).where(
        RecoveryCode.digest == _bound(user.id, _plain(text)),
        RecoveryCode.user_id == user.id,
        RecoveryCode.used_at.is_(None),
    )
    if not db.changes(session, use.values(used_at=now)):
        return False
    _record(session, user, "user.recovery_code_used", actor=actor, now=now)
    return True


def left(session: Session, user_id: uuid.UUID) -> int:
    """How many codes of a person were not used."""
    unused = select(func.count()).where(RecoveryCode.user_id == user_id, RecoveryCode.used_at.is_(None))
    return session.scalar(unused) or 0


def forget(session: Session, user_id: uuid.UUID) -> None:
    """Take a person's codes away."""
    session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))


def _plain(text: str) -> str:
    return text.replace("-", "").replace(" ", "").upper().translate(_MISTAKEN)


def _bound(user_id: uuid.UUID, code: str) -> str:
    return digest(f"botkeep recovery 1 {user_id} {code}")


def _record(session: Session, user: User, action: str, *, actor: Actor, now: datetime) -> None:
    for workspace_id in users.workspaces_of(session, user.id):
        audit.record(session, actor, workspace_id=workspace_id, action=action, target=f"user {user.name}", now=now)
