"""Data sources of kind `imap`: a bot asks for the next message until there is none.

    POST /v1/sources/NAME/next      one message: a line of JSON, then the bytes of its attachments, one after another as
                                    long as `attachments[].size` says; an empty answer: there is none
    GET  /v1/sources/NAME           an empty answer, whose media type says that this is a mailbox

Promises that a message was fetched and is written down as this attempt's before its first byte goes to the bot, that
one whose answer breaks off is free again, and that one message at a time is in memory. What a job that was made for a
message is given is that message and no other.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from runner import mail_ledger, mail_marking
from runner.errors import Invalid
from runner.mail_definition import MailDefinition
from runner.mail_ledger import Holder, Message, Place
from runner.worker.failures import SourceFailed, Step
from runner.worker.filling import Values
from runner.worker.mail_message import Parsed, parse
from runner.worker.mail_opening import connect, fill
from runner.worker.mailbox import Listed, Mailbox
from runner.worker.questions import Answer, Context, Question, Reply
from vault import db
from vault.db import database_time

#: The media type of answers.
KIND = "application/x-botkeep-mail"

#: Messages whose heads are fetched in one go.
_AT_ONCE = 100

#: Bytes of an attachment in one chunk.
_CHUNK = 65_536

#: What a check finds to be well, in order.
_REACHED = (Step.RESOLVED, Step.REACHABLE, Step.TLS, Step.AUTHENTICATED, Step.FOLDER)


@dataclass(frozen=True, slots=True)
class _Offer:
    """A message that the bot could be given."""

    place: Place
    message: Message
    size: int
    #: Whether the job was made for it.
    bound: bool = False


def check(document: Mapping[str, Any], values: Values, context: Context) -> Answer:
    """Open the mailbox, count what matches, close it; changes nothing there. Raises `SourceFailed`."""
    definition = fill(document, values)
    with db.reading(context.engine) as session:
        today = database_time(session).date()
        late = mail_marking.unmarked(
            session, workspace_id=context.workspace_id, source=context.source, environment=context.environment
        )
    with connect(definition, values, context.policy) as mailbox:
        mailbox.folder()
        count = len(mailbox.search(today=today))
    remarks = [f"{late:,} messages could not be marked yet; their runner tries again"] if late else []
    return Answer(_REACHED, count=count, unit="message", remarks=remarks)


def open(document: Mapping[str, Any], values: Values, context: Context) -> MailSource:  # noqa: A001
    """Connect for one attempt. Raises `SourceFailed`."""
    return MailSource(document, values, context)


class MailSource:
    """A mailbox that is open for one attempt."""

    def __init__(self, document: Mapping[str, Any], values: Values, context: Context) -> None:
        if context.job_id is None or context.bot_id is None:
            raise SourceFailed(
                Step.QUERY, "a mailbox starts one job for each message by an email trigger, not by a fan-out"
            )
        self._definition: MailDefinition = fill(document, values)
        self._values, self._context = values, context
        #: As written: what it stands for may be a value, and goes nowhere.
        self._folder = str(document.get("folder", self._definition.folder))
        self._holder = Holder(context.job_id, context.attempt)
        self._consumer = mail_ledger.consumer_of_bot(context.bot_id)
        self._given = 0
        self._warned: set[str] = set()
        self._in_use = threading.Lock()
        self._closed = False
        self._mailbox = self._connect()
        self._offers = self._offered()

    def answer(self, question: Question) -> Reply:
        """The next message, or nothing. Raises `SourceFailed`, and `Invalid` for another question."""
        if question.method == "GET" and not question.what and not question.options:
            return Reply(KIND, _nothing())
        if question.method != "POST" or question.what != "next":
            raise Invalid("A mailbox gives messages, one after another: POST /v1/sources/NAME/next.")
        with self._in_use:
            try:
                found = self._next()
            except SourceFailed as failure:
                if not failure.retriable or self._closed:
                    raise
                # The server hung up on a bot that took its time; what was given already is in the ledger.
                self._mailbox.close()
                self._mailbox, self._offers = self._connect(), self._offered()
                found = self._next()
        return Reply(KIND, _nothing() if found is None else self._sent(*found))

    def close(self, *, succeeded: bool) -> None:  # noqa: ARG002  (what comes after success is `mail_marks`'s)
        """End the connection."""
        self._closed = True
        if self._in_use.acquire(timeout=1):
            self._mailbox.close()
            self._in_use.release()
        else:
            self._mailbox.hang_up()

    def _connect(self) -> Mailbox:
        mailbox = connect(self._definition, self._values, self._context.policy)
        try:
            mailbox.folder()
        except BaseException:
            mailbox.close()
            raise
        return mailbox

    def _next(self) -> tuple[_Offer, Parsed] | None:
        while self._given < self._definition.batch:
            offer = next(self._offers, None)
            if offer is None:
                return None
            parsed = self._fetched(offer)
            if parsed is None or not self._taken(offer):
                continue
            self._given += 1
            return offer, parsed
        return None

    def _fetched(self, offer: _Offer) -> Parsed | None:
        uid, most = offer.message.uid, self._definition.max_message
        if offer.size > most:
            self._warn(
                f"{self._context.source}: the message {uid} has {offer.size:,} bytes, more than `max_message` "
                f"({most:,}); it was left in the mailbox."
            )
            return None
        raw = self._mailbox.fetch(uid)
        if raw is None:
            return None
        parsed = parse(raw.content, wanted=self._definition.attachments)
        return parsed if parsed.wanted or offer.bound else None

    def _taken(self, offer: _Offer) -> bool:
        if offer.bound:
            return True
        with db.writing(self._context.engine) as session:
            return mail_ledger.take(
                session, offer.place, offer.message, holder=self._holder, limit=self._definition.most_tries
            )

    def _sent(self, offer: _Offer, parsed: Parsed) -> Generator[bytes]:
        head = {
            "uid": offer.message.uid,
            "uid_validity": offer.message.uid_validity,
            "folder": self._definition.folder,
            **parsed.head,
        }
        whole = False
        try:
            yield json.dumps(head).encode() + b"\n"
            for attachment in parsed.attachments:
                for start in range(0, len(attachment.content), _CHUNK):
                    yield attachment.content[start : start + _CHUNK]
            whole = True
        finally:
            if not whole and not offer.bound:
                with db.writing(self._context.engine) as session:
                    mail_ledger.give_back(session, offer.place, offer.message, holder=self._holder)

    def _offered(self) -> Iterator[_Offer]:
        with db.writing(self._context.engine) as session:
            bound = mail_ledger.bound(session, self._holder, self._context.source)
        if bound:
            yield from self._bound(bound[self._given :])
        else:
            yield from self._matching()

    def _bound(self, messages: list[tuple[Place, Message]]) -> Iterator[_Offer]:
        for place, message in messages:
            found = self._found(message)
            if found is None:
                raise SourceFailed(Step.QUERY, "the message that started this job is not in the folder any more")
            yield _Offer(place, Message(self._mailbox.uid_validity, found.uid, found.print), found.size, bound=True)

    def _found(self, message: Message) -> Listed | None:
        if message.uid_validity == self._mailbox.uid_validity:
            return next(iter(self._mailbox.listed([message.uid])), None)
        every = self._mailbox.listed(self._mailbox.all())
        return next((one for one in every if one.print == message.print), None)

    def _matching(self) -> Iterator[_Offer]:
        context, validity = self._context, self._mailbox.uid_validity
        place = Place(context.workspace_id, context.source, context.environment, self._consumer, self._folder)
        with db.reading(context.engine) as session:
            today = database_time(session).date()
            renumbered = mail_ledger.numbers_changed(session, place, validity)
        uids = self._mailbox.search(today=today)
        closed = self._shut(place, uids)
        waiting = [uid for uid in uids if uid not in closed]
        for start in range(0, len(waiting), _AT_ONCE):
            listed = self._mailbox.listed(waiting[start : start + _AT_ONCE])
            if renumbered and self._recognised(place, listed):
                closed = self._shut(place, uids)
            for one in listed:
                if one.uid not in closed:
                    yield _Offer(place, Message(validity, one.uid, one.print), one.size)

    def _shut(self, place: Place, uids: list[int]) -> set[int]:
        first = Message(self._mailbox.uid_validity, min(uids, default=0), "")
        limit = self._definition.most_tries
        with db.reading(self._context.engine) as session:
            return mail_ledger.closed(session, place, first, limit=limit, holder=self._holder)

    def _recognised(self, place: Place, listed: list[Listed]) -> bool:
        messages = [Message(self._mailbox.uid_validity, one.uid, one.print) for one in listed]
        with db.writing(self._context.engine) as session:
            count = mail_ledger.recognise(session, place, messages)
        if count:
            self._warn(
                f"{self._context.source}: the mail server renumbered the folder; messages that were given before were "
                "recognised by Message-ID, date and size, and not given again."
            )
        return bool(count)

    def _warn(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self._context.warn(text)


def _nothing() -> Generator[bytes]:
    yield b""
