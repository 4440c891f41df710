"""A value is not read, and no bot started, while the audit row of its reading cannot be written."""

import contextlib
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from tests.fault.staying import COUNTS, alone, counted
from tests.system import System

pytestmark = pytest.mark.timeout(120)

#: A wall before the rows of readings, and its removal, in each database.
WALLS = {
    "sqlite": (
        """
        CREATE TRIGGER wall BEFORE INSERT ON audit_events WHEN NEW.action = 'asset.read'
        BEGIN SELECT RAISE(ABORT, 'no further row'); END
        """,
        "DROP TRIGGER wall",
    ),
    "postgresql": (
        "ALTER TABLE audit_events ADD CONSTRAINT wall CHECK (action <> 'asset.read') NOT VALID",
        "ALTER TABLE audit_events DROP CONSTRAINT wall",
    ),
}


@contextlib.contextmanager
def unaudited(system: System) -> Iterator[None]:
    """No reading can be written down for the time of the block."""
    build, remove = WALLS[system.engine.dialect.name]
    with system.edit() as session:
        session.execute(text(build))
    try:
        yield
    finally:
        with system.edit() as session:
            session.execute(text(remove))


def test_in_prod_nothing_is_read_and_no_bot_starts_while_readings_cannot_be_written_down(system: System) -> None:
    name = alone("audited")
    system.set_value("AUDITED.VALUE", "what nobody reads unseen", "prod")
    system.add_bot(name, COUNTS, toml='assets = ["AUDITED.VALUE"]\n')
    bot = counted(system)
    bot.gate.touch()
    with unaudited(system):
        job_id = system.enqueue(name, "prod", parameters=bot.parameters)
        job = system.wait_for(job_id)
        assert (job["state"], job["attempts"][0]["started_at"], job["readings"], bot.ran) == ("failed", None, [], 0)
        assert "no further row" in system.runner.log or "wall" in system.runner.log
        events = system.client.get("/api/v1/audit", params={"limit": 500}).json()["items"]
        assert not [one for one in events if one["action"] == "asset.read" and one["object"] == f"job {job_id}"]
    after = counted(system)
    after.gate.touch()
    following = system.run(name, "prod", parameters=after.parameters)
    assert (following["state"], after.ran) == ("succeeded", 1)
    assert [one["asset"] for one in following["readings"]] == ["AUDITED.VALUE"]
