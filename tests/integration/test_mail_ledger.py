"""The ledger of messages on both databases: who is given what, and when nobody is any more."""

import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from runner import mail_ledger, mail_marking
from runner.mail_ledger import Holder, Message, Place
from runner.mail_messages import MailMessage
from runner.models import Bot, Job, PackageBlob, PackageVersion
from runner.states import State
from runner.workspaces import default_workspace
from tests.support import Stores
from vault import db

LIMIT = 2


@pytest.fixture
def engine(stores: Stores) -> Iterator[Engine]:
    made = db.engine(stores.database_url)
    yield made
    made.dispose()


@pytest.fixture
def place(engine: Engine) -> Place:
    with db.writing(engine) as session:
        workspace_id = default_workspace(session)
    return Place(workspace_id, "inbox", "dev", "bot:a", "INBOX")


def message(uid: int = 1, *, validity: int = 7, print_: str | None = None) -> Message:
    return Message(validity, uid, print_ or f"print of {uid}")


def running_job(session: Session, place: Place, *, attempt: int = 1) -> Holder:
    """A job in its attempt."""
    now = db.database_time(session)
    bot = Bot(workspace_id=place.workspace_id, name=uuid.uuid4().hex, created_at=now, created_by="tests")
    session.add_all([bot, PackageBlob(digest=bot.name * 2, content=b"")])
    session.flush()
    version = PackageVersion(
        bot_id=bot.id, number=1, digest=bot.name * 2, size=0, manifest={}, created_at=now, created_by="tests"
    )
    session.add(version)
    session.flush()
    job = Job(
        workspace_id=place.workspace_id,
        bot_id=bot.id,
        version_id=version.id,
        environment="dev",
        state=State.RUNNING,
        attempt=attempt,
        cause_kind="api",
        cause_name="tests",
        created_at=now,
    )
    session.add(job)
    session.flush()
    return Holder(job.id, attempt)


def end(session: Session, holder: Holder, state: State) -> None:
    session.execute(update(Job).where(Job.id == holder.job_id).values(state=state))


def taken(session: Session, place: Place, one: Message, holder: Holder) -> bool:
    return mail_ledger.take(session, place, one, holder=holder, limit=LIMIT)


def test_a_message_is_held_by_one_job_until_it_fails_and_by_nobody_once_it_succeeded(
    engine: Engine, place: Place
) -> None:
    with db.writing(engine) as session:
        first, second, third = (running_job(session, place) for _ in range(3))
        assert taken(session, place, message(), first)
        assert not taken(session, place, message(), first), "an attempt is given it once"
        assert not taken(session, place, message(), second), "another job holds it"
        end(session, first, State.FAILED)
        assert taken(session, place, message(), second)
        end(session, second, State.SUCCEEDED)
        assert not taken(session, place, message(), third)
        assert mail_marking.settle(session, ["dev"]) == 1
        assert not taken(session, place, message(), third)


def test_a_message_is_left_after_as_many_jobs_as_declared(engine: Engine, place: Place) -> None:
    with db.writing(engine) as session:
        for expected in (True, True, False):
            holder = running_job(session, place)
            assert taken(session, place, message(), holder) is expected
            end(session, holder, State.FAILED)


def test_the_next_attempt_of_a_job_is_given_it_again_and_a_late_one_is_not(engine: Engine, place: Place) -> None:
    with db.writing(engine) as session:
        first = running_job(session, place)
        assert taken(session, place, message(), first)
        session.execute(update(Job).where(Job.id == first.job_id).values(attempt=2))
        assert not taken(session, place, message(2), first), "its attempt is not the running one any more"
        again = Holder(first.job_id, 2)
        assert taken(session, place, message(), again)
        assert not taken(session, place, message(), again)
        assert mail_ledger.closed(session, place, message(1), limit=LIMIT, holder=again) == {1}
        assert mail_ledger.closed(session, place, message(1), limit=LIMIT, holder=Holder(first.job_id, 3)) == set()


def test_what_did_not_reach_its_bot_is_free_and_was_no_try(engine: Engine, place: Place) -> None:
    with db.writing(engine) as session:
        holder = running_job(session, place)
        assert taken(session, place, message(), holder)
        assert mail_ledger.give_back(session, place, message(), holder=holder)
        assert not mail_ledger.give_back(session, place, message(), holder=holder)
        other = running_job(session, place)
        assert taken(session, place, message(), other)
        assert session.scalar(select(MailMessage.tries)) == 1


def test_messages_are_recognised_after_a_renumbering_one_for_one(engine: Engine, place: Place) -> None:
    with db.writing(engine) as session:
        holder = running_job(session, place)
        for uid in (1, 2):
            assert taken(session, place, message(uid, print_="twins"), holder)
        moved = [message(uid, validity=8, print_="twins") for uid in (11, 12, 13)]
        assert mail_ledger.numbers_changed(session, place, 8)
        assert mail_ledger.recognise(session, place, moved) == 2
        assert mail_ledger.closed(session, place, message(1, validity=8), limit=LIMIT, holder=None) == {11, 12}, (
            "the third is a new one"
        )
        assert mail_ledger.recognise(session, place, moved) == 0
        assert not mail_ledger.numbers_changed(session, place, 8)


def test_only_what_succeeded_is_due_to_be_marked_by_one_runner_at_a_time(engine: Engine, place: Place) -> None:
    with db.writing(engine) as session:
        good, bad = running_job(session, place), running_job(session, place)
        assert taken(session, place, message(1), good)
        assert taken(session, place, message(2), bad)
        fired = mail_ledger.bind(session, Place(place.workspace_id, "inbox", "dev", "trigger:b", "INBOX"), message(3),
                                 firing_id=uuid.uuid4())  # fmt: skip
        assert fired
        assert not mail_marking.unsettled(session, ["dev"])
        end(session, good, State.SUCCEEDED)
        end(session, bad, State.FAILED)
        assert mail_marking.unsettled(session, ["dev"])
        assert not mail_marking.unsettled(session, ["prod"])
        assert mail_marking.settle(session, ["dev"]) == 1
        due = mail_marking.to_mark(session, ["dev"])
        assert due is not None
        assert [one.uid for one in due.messages.values()] == [1]
        assert mail_marking.to_mark(session, ["dev"]) is None, "a runner is at it"
        mail_marking.not_marked(session, list(due.messages), wait=timedelta(seconds=-1))
        again = mail_marking.to_mark(session, ["dev"])
        assert again is not None
        assert again.tries == 2
        mail_marking.marked(session, list(again.messages))
        assert not mail_marking.unsettled(session, ["dev"])
