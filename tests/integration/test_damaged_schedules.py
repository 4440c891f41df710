"""What an editor or a disk did to one schedule in SQLite holds up no other."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from tests.api import Api
from tests.integration.test_triggers import SEVEN, api, fire, jobs, save, wait_for
from vault import db

__all__ = ["api"]

pytestmark = pytest.mark.parametrize("stores", ["embedded"], indirect=True)


@pytest.mark.parametrize("spoiled", ["first", "second", "third"])
@pytest.mark.parametrize("column", ["definition", "next_instant"])
def test_a_schedule_that_cannot_be_read_holds_up_no_other(api: Api, spoiled: str, column: str) -> None:
    names = ["first", "second", "third"]
    for name in names:
        save(api, name)
        wait_for(api, name, SEVEN)
    with db.writing(api.console.engine) as session:
        session.execute(text(f"UPDATE triggers SET {column} = 'junk' WHERE name = '{spoiled}'"))
    fire(api, SEVEN + timedelta(minutes=1))
    assert sorted(job["cause"]["name"] for job in jobs(api)) == sorted(set(names) - {spoiled})
