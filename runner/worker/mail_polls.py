"""The threads that look into mailboxes for email triggers; the console and the scheduler never do.

Promises that a message fires a trigger once: its row in the ledger and the pending firing are one transaction, so that
neither a crash nor a second runner repeats it, and nothing in the mailbox is changed. The scheduler starts the job,
which is given that message; after the job's success the message is marked (`mail_marks`). Which messages do not match
by their attachments is remembered in memory only: after a restart they are fetched once more.
"""

from __future__ import annotations

import hashlib
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from uuid_utils.compat import uuid7

from runner import mail_ledger
from runner.logging import logger
from runner.mail_definition import MailDefinition
from runner.mail_ledger import Message, Place
from runner.mail_trigger import Email
from runner.source_models import DataSource
from runner.triggers import Firing, FiringState, Kind, Trigger
from runner.worker.failures import SourceFailed
from runner.worker.mail_message import Parsed, parse
from runner.worker.mailbox import Listed, Mailbox
from runner.worker.unattended import Post
from vault import db
from vault.db import database_time
from vault.errors import VaultError

#: Seconds between two looks which triggers are due.
TICK = 1.0

#: Mailboxes that one runner looks into at the same time.
AT_ONCE = 4

#: How far the clocks of a mail server and of the database may be apart, for what counts as new.
SKEW = timedelta(minutes=5)

#: Messages whose heads are fetched in one go.
_HEADS = 100

#: Characters of a message's text that an event carries; a bot reads all of it from the source.
_TEXT = 10_000

_log = logger()


@dataclass(slots=True)
class _Watch:
    """What this runner remembers of a trigger between two looks."""

    next_at: float = 0.0
    changed_at: datetime | None = None
    #: Messages (UIDVALIDITY, UID) that were fetched and do not match.
    unwanted: set[tuple[int, int]] = field(default_factory=set)


class Polls:
    """Looks into mailboxes for one runner, from `start` to `close`."""

    def __init__(self, post: Post, *, stopping: Callable[[], bool] = lambda: False) -> None:
        self._post, self._stopping = post, stopping
        self._stopped = threading.Event()
        self._watches: dict[uuid.UUID, _Watch] = {}
        self._busy: set[uuid.UUID] = set()
        self._free = threading.Semaphore(AT_ONCE)
        self._thread = threading.Thread(target=self._run, name="mail-polls", daemon=True)

    def start(self) -> None:
        """Look from now on."""
        self._thread.start()

    def close(self) -> None:
        """Begin no more looks; one that runs may be cut off, which loses nothing."""
        self._stopped.set()
        self._thread.join(timeout=1)

    def _run(self) -> None:
        while not self._stopped.wait(TICK):
            if self._stopping():
                continue
            try:
                self._begin()
            except VaultError as error:
                _log.warning("mail.polls_delayed", error=str(error))
            except Exception:
                # Whatever it was, the next look tries again.
                _log.exception("mail.polls_broken")

    def _begin(self) -> None:
        with db.reading(self._post.engine) as session:
            rows = session.scalars(
                select(Trigger).where(
                    Trigger.kind == Kind.EMAIL,
                    Trigger.environment.in_(list(self._post.environments)),
                    Trigger.removed_at.is_(None),
                    Trigger.enabled,
                    Trigger.paused_at.is_(None),
                )
            ).all()
        self._forget({row.id for row in rows})
        now = time.monotonic()
        for row in rows:
            watch = self._watches.setdefault(row.id, _Watch())
            if watch.next_at > now or row.id in self._busy or not self._free.acquire(blocking=False):
                continue
            if watch.changed_at != row.changed_at:
                watch.changed_at, watch.unwanted = row.changed_at, set()
            email = Email.model_validate(row.definition["email"])
            watch.next_at = now + email.interval.total_seconds()
            self._busy.add(row.id)
            threading.Thread(target=self._look, args=(row, email, watch), name="mail-poll", daemon=True).start()

    def _forget(self, present: set[uuid.UUID]) -> None:
        for gone in self._watches.keys() - present - self._busy:
            del self._watches[gone]

    def _look(self, trigger: Trigger, email: Email, watch: _Watch) -> None:
        try:
            fired = self.look(trigger, email, watch.unwanted)
            if fired:
                _log.info("mail.seen", trigger=trigger.name, messages=fired)
        except SourceFailed as failure:
            sentence = failure.sentence(email.source, trigger.environment)
            _log.warning("mail.poll_failed", trigger=trigger.name, error=sentence)
        except VaultError as error:
            _log.warning("mail.polls_delayed", error=str(error))
        except Exception:
            _log.exception("mail.polls_broken", trigger=trigger.name)
        finally:
            self._post.release()
            self._busy.discard(trigger.id)
            self._free.release()

    def look(self, trigger: Trigger, email: Email, unwanted: set[tuple[int, int]]) -> int:
        """Fire a trigger for what is new; answers how many messages that were. Raises `SourceFailed`."""
        post = self._post
        with db.reading(post.engine) as session:
            row = session.scalar(
                select(DataSource).where(
                    DataSource.workspace_id == trigger.workspace_id, DataSource.name == email.source
                )
            )
            today = database_time(session).date()
        if row is None or row.kind != "imap" or trigger.environment not in row.environments:
            _log.warning("mail.poll_failed", trigger=trigger.name, error=f"{email.source} is no mailbox there.")
            return 0
        also: dict[str, Any] = dict(email.criteria)
        if not email.backlog:
            also["date_gte"] = (trigger.created_at - timedelta(days=1)).date()
        folder = str(row.definition.get("folder", "INBOX"))
        consumer = mail_ledger.consumer_of_trigger(trigger.id)
        place = Place(trigger.workspace_id, row.name, trigger.environment, consumer, folder)
        with post.opened(row, trigger.environment, action="source.polled") as (definition, mailbox):
            mailbox.folder()
            new = _New(post, place, mailbox, trigger=trigger, email=email, unwanted=unwanted)
            return new.fire(mailbox.search(today=today, also=also), definition)


@dataclass(frozen=True, slots=True)
class _New:
    """One look: the messages of an open folder that a trigger has not fired for."""

    post: Post
    place: Place
    mailbox: Mailbox
    trigger: Trigger
    email: Email
    unwanted: set[tuple[int, int]]

    def fire(self, uids: Sequence[int], definition: MailDefinition) -> int:
        """Fire for those of the messages that are new and wanted; answers how many."""
        validity, count = self.mailbox.uid_validity, 0
        with db.reading(self.post.engine) as session:
            renumbered = mail_ledger.numbers_changed(session, self.place, validity)
        closed = self._closed(uids)
        waiting = [uid for uid in uids if uid not in closed and (validity, uid) not in self.unwanted]
        for start in range(0, len(waiting), _HEADS):
            listed = self.mailbox.listed(waiting[start : start + _HEADS])
            if renumbered:
                with db.writing(self.post.engine) as session:
                    mail_ledger.recognise(
                        session, self.place, [Message(validity, one.uid, one.print) for one in listed]
                    )
                closed = self._closed(uids)
            for one in listed:
                if one.uid not in closed:
                    count += self._fire_for(one, definition)
        return count

    def _closed(self, uids: Sequence[int]) -> set[int]:
        first = Message(self.mailbox.uid_validity, min(uids, default=0), "")
        with db.reading(self.post.engine) as session:
            return mail_ledger.closed(session, self.place, first, limit=1, holder=None)

    def _fire_for(self, one: Listed, definition: MailDefinition) -> bool:
        message = Message(self.mailbox.uid_validity, one.uid, one.print)
        parsed = self._wanted(one, definition)
        if parsed is None:
            self.unwanted.add((message.uid_validity, message.uid))
            return False
        firing_id, event = uuid7(), _event(self.place, message, parsed)
        try:
            with db.writing(self.post.engine) as session:
                if not mail_ledger.bind(session, self.place, message, firing_id=firing_id):
                    return False
                now = database_time(session)
                session.add(
                    Firing(
                        id=firing_id,
                        trigger_id=self.trigger.id,
                        key=_key(self.place, message),
                        state=FiringState.PENDING,
                        instant=now,
                        event=event,
                        depth=0,
                        created_at=now,
                    )
                )
                session.flush()
        except IntegrityError:  # it fired under this key before somebody emptied the ledger
            return False
        return True

    def _wanted(self, one: Listed, definition: MailDefinition) -> Parsed | None:
        if not self.email.backlog and one.received_at < self.trigger.created_at - SKEW:
            return None
        if one.size > definition.max_message:
            _log.warning("mail.too_large", trigger=self.trigger.name, uid=one.uid, size=one.size)
            return None
        raw = self.mailbox.fetch(one.uid)
        if raw is None:
            return None
        parsed = parse(raw.content, wanted=definition.attachments)
        names = [each.name for each in parsed.attachments]
        return parsed if parsed.wanted and self.email.wants(names) else None


def _key(place: Place, message: Message) -> str:
    folder = hashlib.sha256(f"{place.source}\0{place.environment}\0{place.folder}".encode()).hexdigest()[:16]
    return f"mail:{folder}:{message.uid_validity}:{message.uid}"


def _event(place: Place, message: Message, parsed: Parsed) -> dict[str, Any]:
    """What parameters can be taken from; the message itself is read from the source."""
    head = parsed.head
    senders = head["from"]
    return {
        "kind": "email",
        "source": place.source,
        "uid_validity": message.uid_validity,
        "uid": message.uid,
        "message_id": head["message_id"],
        "from": senders[0]["address"] if senders else "",
        "to": [one["address"] for one in head["to"]],
        "subject": head["subject"],
        "date": head["date"],
        "text": head["text"][:_TEXT].replace("\0", "\ufffd"),
        "attachments": [{"name": one.name, "type": one.kind, "size": len(one.content)} for one in parsed.attachments],
    }
