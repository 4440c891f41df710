"""When assets were last read: gathered from the readings of jobs that have ended, once and for each bot."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, update

from runner import readings_noted
from runner.models import Bot, Job
from runner.readings_noted import LATE, WINDOW
from scheduler.reading_notes import note_readings
from tests.api import Api, serving
from tests.markup import Element
from tests.pages import Pages
from tests.support import Stores
from vault import coverage, db
from vault.coverage import Narrow
from vault.models import Asset, Reading


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as api:
        yield api


def read_by(api: Api, bot: str, *assets: str, ago: timedelta = timedelta(0), ends: bool = True) -> None:
    """A job of a bot that read these assets, and ended, so long ago."""
    job_id = api.run(bot)["id"]
    claim = api.claim(job_id)
    engine = api.console.engine
    with db.writing(engine) as session:
        at = db.database_time(session) - ago
        for found in coverage.listing(session, workspace_id=api.workspace_id):
            if str(found.name) in assets:
                row = {"job_id": claim.job_id, "attempt": 1, "asset_id": found.id, "asset": str(found.name)}
                more = {"scope": "workspace", "environment": "dev", "number": 1, "runner": "host", "read_at": at}
                session.execute(insert(Reading).values(**row, **more))
    if ends:
        api.finish(claim)
        with db.writing(engine) as session:
            session.execute(update(Job).where(Job.id == claim.job_id).values(finished_at=at))


def last(page: Element) -> dict[str, str]:
    """Each asset of the list with the bot that read it last."""
    cells = {row.one("a", "name").text: row.every("td")[-1].text for row in page.every("tr") if row.every("td")}
    return {name: text.rpartition(" by ")[2] for name, text in cells.items()}


def test_the_last_reading_of_each_asset_is_noted_for_each_bot(api: Api) -> None:
    for name in ("one", "two"):
        api.add_bot(name)
    for asset in ("A.X", "A.Y", "A.Z"):
        api.set_value(asset, b"some-value")
    engine = api.console.engine
    with db.writing(engine) as session:
        session.execute(update(Bot).values(created_at=db.database_time(session) - 3 * WINDOW))
    read_by(api, "one", "A.X", "A.Y", ago=2 * WINDOW)
    read_by(api, "two", "A.X", ago=timedelta(minutes=5))
    read_by(api, "two", "A.Z", ends=False)
    assert note_readings(engine) == 2
    pages = Pages(api.client)
    assert last(pages.get("/assets")) == {"A.X": "two", "A.Y": "one", "A.Z": "never"}
    named = [each.text for each in pages.get("/assets/A/X").one("section", aria_labelledby="read").every("a")]
    assert named == ["two", "one"]

    assert note_readings(engine) == 0
    read_by(api, "one", "A.X")
    assert note_readings(engine) == 1
    # What ended a moment ago is looked at again, since another end may have been committed after it.
    assert note_readings(engine) == 1
    assert last(pages.get("/assets")) == {"A.X": "one", "A.Y": "one", "A.Z": "never"}
    api.client.delete("/api/v1/assets/A/X")
    assert list(last(pages.get("/assets"))) == ["A.Y", "A.Z"]


def test_assets_that_were_not_read_for_long_are_found(api: Api) -> None:
    api.add_bot("one")
    for asset in ("A.FRESH", "A.READ", "A.STALE", "A.UNUSED"):
        api.set_value(asset, b"some-value")
    engine = api.console.engine
    long_ago = timedelta(days=40)
    with db.writing(engine) as session:
        now = db.database_time(session)
        session.execute(update(Bot).values(created_at=now - timedelta(days=35)))
        session.execute(update(Asset).where(Asset.name != "FRESH").values(created_at=now - long_ago))
    read_by(api, "one", "A.STALE", ago=timedelta(days=33))
    read_by(api, "one", "A.READ", ago=LATE * 2)
    note_readings(engine)
    found = Pages(api.client).get("/assets?unread=1")
    assert last(found) == {"A.STALE": "one", "A.UNUSED": "never"}
    with db.reading(engine) as session:
        narrow = Narrow(unread_since=now - timedelta(days=34))
        rows = coverage.page(session, narrow, workspace_id=api.workspace_id, limit=9)
        assert [str(row.name) for row in rows] == ["A.UNUSED"]
        assert readings_noted.waiting(session) == []
