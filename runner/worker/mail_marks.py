"""The thread that marks messages in their mailboxes after the jobs that were given them succeeded.

Promises that nothing is marked before a job's success is in the database, and that a mark which fails, or whose runner
dies, is tried again, by whichever runner serves the environment; the message is given to nobody meanwhile. Marking
twice is harmless: a message is seen, or no longer in the folder.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import select

from runner import mail_marking
from runner.logging import logger
from runner.mail_marking import Due
from runner.source_models import DataSource
from runner.worker.failures import SourceFailed
from runner.worker.mailbox import Mailbox
from runner.worker.unattended import Post
from vault import db
from vault.errors import VaultError

#: Seconds between two looks.
POLL = 2.0

#: How long a failed mark waits for its next try: this, doubled with each try, up to `_LONGEST`.
_SHORTEST = timedelta(seconds=5)
_LONGEST = timedelta(minutes=15)

_log = logger()


class Marks:
    """Marks messages for one runner, from `start` to `close`."""

    def __init__(self, post: Post, *, stopping: Callable[[], bool] = lambda: False) -> None:
        self._post, self._stopping = post, stopping
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mail-marks", daemon=True)

    def start(self) -> None:
        """Look from now on."""
        self._thread.start()

    def close(self) -> None:
        """Mark no more; what was begun is tried again by another runner, or at the next start."""
        self._stopped.set()
        self._thread.join(timeout=1)

    def _run(self) -> None:
        while not self._stopped.wait(POLL):
            try:
                while not (self._stopping() or self._stopped.is_set()) and self.mark():
                    pass
            except VaultError as error:
                _log.warning("mail.marks_delayed", error=str(error))
            except Exception:
                # Whatever it was, the next look tries again.
                _log.exception("mail.marks_broken")
            finally:
                self._post.release()

    def mark(self) -> bool:
        """Settle what succeeded and mark one folder's messages; true when it may be worth to look again."""
        post = self._post
        with db.reading(post.engine) as session:
            if not mail_marking.unsettled(session, post.environments):
                return False
        with db.writing(post.engine) as session:
            mail_marking.settle(session, post.environments)
        with db.writing(post.engine) as session:
            due = mail_marking.to_mark(session, post.environments)
        if due is None or not due.messages:
            return False
        try:
            self._do(due)
        except SourceFailed as failure:
            wait = min(_SHORTEST * 2 ** min(due.tries - 1, 20), _LONGEST)
            with db.writing(post.engine) as session:
                mail_marking.not_marked(session, list(due.messages), wait=wait)
            _log.warning(
                "mail.not_marked",
                error=failure.sentence(due.source, due.environment),
                messages=len(due.messages),
                again_in=wait.total_seconds(),
            )
        return True

    def _do(self, due: Due) -> None:
        post = self._post
        with db.reading(post.engine) as session:
            row = session.scalar(
                select(DataSource).where(DataSource.workspace_id == due.workspace_id, DataSource.name == due.source)
            )
        open_there = row is not None and row.kind == "imap" and due.environment in row.environments
        if row is not None and open_there and row.definition.get("mark"):
            with post.opened(row, due.environment, action="source.marked", folder=due.folder) as (_, mailbox):
                mailbox.folder(writable=True)
                mailbox.mark(_numbers(mailbox, due))
        with db.writing(post.engine) as session:
            mail_marking.marked(session, list(due.messages))
        _log.info("mail.marked", source=due.source, environment=due.environment, messages=len(due.messages))


def _numbers(mailbox: Mailbox, due: Due) -> list[int]:
    """The messages' numbers as the folder has them now."""
    messages = due.messages.values()
    known = {one.uid for one in messages if one.uid_validity == mailbox.uid_validity}
    prints = {one.print for one in messages if one.uid_validity != mailbox.uid_validity}
    if prints:
        known.update(one.uid for one in mailbox.listed(mailbox.all()) if one.print in prints)
    return sorted(known)
