"""History is narrowed by whatever is asked for, in pages that miss and double nothing, on each database."""

import itertools
import random
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from runner import bots, history, narrowing
from runner.archive import canonical, pack
from runner.errors import Invalid
from runner.jobs import first_id
from runner.models import Bot, Job
from runner.narrowing import Filter
from runner.workspaces import default_workspace
from tests.support import Stores
from vault import db
from vault.audit import Actor
from vault.models import Workspace

START = datetime(2026, 8, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
JOBS = 120


@pytest.fixture
def engine(stores: Stores) -> Iterator[Engine]:
    made = db.engine(stores.database_url)
    yield made
    made.dispose()


@pytest.fixture
def session(engine: Engine, tmp_path: Path) -> Iterator[Session]:
    """A workspace with jobs of every kind, a minute after each other, and another one with a single job."""
    (tmp_path / "bot.py").write_text("print()\n")
    package = canonical(pack(tmp_path / "bot.py"))
    with db.writing(engine) as session:
        workspace, other = default_workspace(session), uuid.uuid4()
        session.add(Workspace(id=other, name="other", created_at=START))
        session.flush()
        for name in ("report", "old", "old", "sync_all"):
            bots.add(session, name, workspace_id=workspace, package=package, actor=Actor("t"), now=START)
            if name == "old":
                bots.remove(session, name, workspace_id=workspace, actor=Actor("t"), now=START)
        bots.add(session, "report", workspace_id=other, package=package, actor=Actor("t"), now=START)
        for number, job in enumerate(some_jobs(session, workspace, other)):
            job.id = uuid.UUID(int=first_id(START + number * MINUTE).int + number)
            job.created_at = START + number * MINUTE
            session.add(job)
        session.flush()
        yield session


def some_jobs(session: Session, workspace: uuid.UUID, other: uuid.UUID) -> Iterator[Job]:
    draw = random.Random(7)
    known = {
        owner: session.query(Bot).filter_by(workspace_id=owner).order_by(Bot.id).all() for owner in (workspace, other)
    }
    for number in range(JOBS):
        owner = other if number == 60 else workspace
        bot = draw.choice(known[owner])
        state = draw.choice(["queued", "running", "succeeded", "succeeded", "failed", "cancelled"])
        kind, name = draw.choice([("api", "ann"), ("trigger", "nightly"), ("trigger", "hourly"), ("retry", "bob")])
        yield Job(
            workspace_id=owner,
            bot_id=bot.id,
            version_id=bots.versions(session, bot.id)[0].id,
            environment=draw.choice(["dev", "staging", "prod"]),
            state=state,
            runner=None if state == "queued" else draw.choice(["r1", "r2"]),
            cause_kind=kind,
            cause_name=name,
            detail=draw.choice([None, "Exit status 3", "100% full", "a_b"]),
            parameters=draw.choice([{}, {"user": "{{ASSET.SAP.USER}}"}]),
            pause_requested_at=START if state in {"queued", "running"} and draw.random() < 0.4 else None,
        )


def walked(session: Session, narrow: Filter, *, limit: int = 15) -> list[uuid.UUID]:
    """The ids of every page, one after the other."""
    found: list[uuid.UUID] = []
    after = None
    for _ in range(JOBS):
        page = history.page(session, narrow, workspace_id=default_workspace(session), limit=limit, after=after)
        assert len(page.entries) <= limit
        found += [entry.job.id for entry in page.entries]
        if page.next is None:
            return found
        assert after is None or page.next < after
        after = page.next
    raise AssertionError("the pages have no end")


def expected(session: Session, narrow: Filter) -> list[uuid.UUID]:
    """The same without any index."""
    names = {bot.id: bot.name for bot in session.query(Bot)}
    every: Sequence[Job] = session.query(Job).filter_by(workspace_id=default_workspace(session)).all()
    return sorted((job.id for job in every if fits(job, names[job.bot_id], narrow)), reverse=True)


def fits(job: Job, bot: str, narrow: Filter) -> bool:
    text = (narrow.text or "").lower()
    held = (bot, job.cause_name, job.cause_id or "", job.detail or "", str(job.parameters), str(job.id))
    paused = job.pause_requested_at is not None
    return all(
        (
            narrow.bot in {None, bot},
            narrow.environment in {None, job.environment},
            narrow.state in {None, job.state} or (narrow.state == "paused" and paused),
            narrow.cause in {None, job.cause_kind, f"{job.cause_kind}:{job.cause_name}"},
            narrow.runner in {None, job.runner},
            narrow.since is None or job.created_at >= narrow.since,
            narrow.until is None or job.created_at < narrow.until,
            any(text in part.lower() for part in held),
        )
    )


def test_every_combination_is_found_whole_and_once(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(narrowing, "LOOKED_AT", 20)  # so that pages end before they are full
    choices: dict[str, tuple[Any, ...]] = {
        "bot": (None, "report", "old", "nobody"),
        "environment": (None, "prod"),
        "state": (None, "failed", "succeeded", "paused"),
        "cause": (None, "trigger", "trigger:nightly"),
        "runner": (None, "r1"),
        "since": (None, START + 30 * MINUTE),
        "until": (None, START + 90 * MINUTE),
        "text": (None, "STATUS", "%", "a_b", "sap.user", "sync", "nightly"),
    }
    every = [Filter(**dict(zip(choices, chosen, strict=True))) for chosen in itertools.product(*choices.values())]
    alone = [narrow for narrow in every if sum(getattr(narrow, name) is not None for name in choices) <= 1]
    for narrow in [*alone, *random.Random(1).sample(every, 40)]:
        assert walked(session, narrow) == expected(session, narrow), narrow
    assert walked(session, Filter(), limit=120) == expected(session, Filter())


def test_a_job_is_found_by_its_id(session: Session) -> None:
    some, foreign = expected(session, Filter())[3], uuid.UUID(int=first_id(START + 60 * MINUTE).int + 60)
    assert walked(session, Filter(text=str(some).upper())) == [some]
    assert walked(session, Filter(text=str(foreign))) == []


def test_the_last_full_page_has_no_next(session: Session) -> None:
    everything = len(expected(session, Filter(state="failed")))
    page = history.page(session, Filter(state="failed"), workspace_id=default_workspace(session), limit=everything)
    assert (len(page.entries), page.next) == (everything, None)


@pytest.mark.parametrize("narrow", [Filter(state="gone"), Filter(environment="moon")])
def test_what_there_is_not_is_refused(session: Session, narrow: Filter) -> None:
    with pytest.raises(Invalid):
        history.page(session, narrow, workspace_id=default_workspace(session), limit=5)
