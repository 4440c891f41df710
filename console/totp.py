"""The second factor: one-time passwords by time (RFC 6238), whose keys are sealed with the console's own file."""

from __future__ import annotations

import hmac
import re
from datetime import datetime

import pyotp
import segno
from sqlalchemy import update
from sqlalchemy.orm import Session

from console import recovery, users
from console.key_file import KeyFile
from console.user_models import User
from runner.errors import Conflict, Invalid
from vault import audit, db
from vault.audit import Actor

#: Seconds of one code, and how many codes before and after the present one are taken: clocks differ.
STEP, DRIFT = 30, 1


def propose() -> str:
    """A new key, in base32; it holds once a code of it was shown (`switch_on`)."""
    return pyotp.random_base32()


def is_key(text: str) -> bool:
    """Whether it can be a key that we proposed."""
    return re.fullmatch(r"[A-Z2-7]{32}", text, re.ASCII) is not None


def address(key: str, name: str) -> str:
    """What an authenticator reads: an `otpauth` address."""
    return pyotp.TOTP(key).provisioning_uri(name=name, issuer_name="Botkeep")


def picture(key: str, name: str) -> str:
    """The same as a QR code: an SVG picture as a `data:` address, which pages may show."""
    code = segno.make(address(key, name), error="m", micro=False)
    return str(code.svg_data_uri(scale=5, border=4, dark="#000", light="#fff"))


def switch_on(session: Session, user: User, *, key: str, code: str, file: KeyFile, actor: Actor, now: datetime) -> None:
    """Ask for codes of this key from now on, since the person has shown one.

    Raises:
        Invalid: for a wrong code or key.
    """
    step = _step(key, code, now=now) if is_key(key) else None
    if step is None:
        raise Invalid("The code does not belong to this key; check the clock of your authenticator.")
    user.totp, user.totp_step = file.seal(key.encode(), context=_bound(user)), step
    session.flush()
    _record(session, user, "user.totp_set", actor=actor, now=now)


def switch_off(session: Session, user: User, *, actor: Actor, now: datetime) -> None:
    """Ask for no code any more; the recovery codes go with the key."""
    user.totp = user.totp_step = None
    recovery.forget(session, user.id)
    session.flush()
    _record(session, user, "user.totp_removed", actor=actor, now=now)


def accepts(session: Session, user: User, code: str, *, file: KeyFile, now: datetime) -> bool:
    """Whether the code is right and was not used before; it is used up by this.

    Raises:
        Conflict: where the key was sealed with another file.
    """
    if user.totp is None:
        return True
    key = file.open(user.totp, context=_bound(user))
    if key is None:
        raise Conflict(
            f"The second factor was sealed with another file than {file.path}; restore that file, or let an admin "
            "take it away: botkeep user totp NAME"
        )
    step = _step(key.decode(), code, now=now)
    if step is None:
        return False
    # Of two that come at once with the same code, one is let in.
    used = update(User).where(User.id == user.id, User.totp_step < step).values(totp_step=step)
    return bool(db.changes(session, used))


def _step(key: str, code: str, *, now: datetime) -> int | None:
    """The time step that a code is for; `None` for a wrong one."""
    shown, totp, present = code.replace(" ", "").encode(), pyotp.TOTP(key), int(now.timestamp()) // STEP
    right = [step for step in range(present - DRIFT, present + DRIFT + 1) if _same(totp, step, shown)]
    return max(right, default=None)


def _same(totp: pyotp.TOTP, step: int, shown: bytes) -> bool:
    return hmac.compare_digest(totp.generate_otp(step).encode(), shown)


def _bound(user: User) -> bytes:
    return b"botkeep totp 1\0" + user.id.bytes


def _record(session: Session, user: User, action: str, *, actor: Actor, now: datetime) -> None:
    for workspace_id in users.workspaces_of(session, user.id):
        audit.record(session, actor, workspace_id=workspace_id, action=action, target=f"user {user.name}", now=now)
