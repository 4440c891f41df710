"""Jobs over time: counted by the hour in which they were asked for, each in the state that it has now."""

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import update

from runner.job_ids import first_id
from runner.models import Job
from runner.series import jobs_over_time
from tests.api import serving
from tests.markup import read
from tests.support import Stores
from vault import db

NOW = datetime(2026, 11, 26, 9, 30, tzinfo=UTC)


def test_jobs_are_counted_by_the_hour_of_their_order_and_by_their_state(stores: Stores, tmp_path: Path) -> None:
    with serving(stores, tmp_path) as api:
        api.add_bot("hello")
        hours = [(0, "running"), (0, "queued"), (1, "failed"), (1, "succeeded"), (1, "succeeded"), (2, "cancelled")]
        hours += [(24, "succeeded"), (-1, "succeeded")]
        made = [api.run()["id"] for _ in hours]
        with db.writing(api.console.engine) as session:
            for number, (job_id, (ago, state)) in enumerate(zip(made, hours, strict=True)):
                at = first_id(NOW - timedelta(hours=ago))
                moved = {"id": uuid.UUID(int=at.int + number), "state": state}
                session.execute(update(Job).where(Job.id == uuid.UUID(job_id)).values(**moved))
        with db.reading(api.console.engine) as session:
            found = jobs_over_time(session, workspace_id=api.workspace_id, now=NOW, width=timedelta(hours=1), count=24)
            foreign = jobs_over_time(session, workspace_id=uuid.uuid4(), now=NOW, width=timedelta(hours=1), count=2)
        assert [bucket.begin.hour for bucket in found][-3:] == [7, 8, 9]
        assert [bucket.total for bucket in found] == [0] * 21 + [1, 3, 2]
        assert found[-2].counts == {"succeeded": 2, "failed": 1, "cancelled": 0, "running": 0, "queued": 0}
        assert [bucket.total for bucket in foreign] == [0, 0]
        page = read(api.client.get("/?span=week").text)
        assert [len(chart.every("g")) for chart in page.every("svg", "chart")] == [42, 42], "for desks and for phones"
