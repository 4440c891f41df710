"""The migrations make exactly what the models say, on both databases, and can be taken back."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, select
from sqlalchemy.orm import Session

import console.models
import console.user_models
import runner.concurrency_models
import runner.flow_models
import runner.mail_messages
import runner.models
import runner.source_models
import scheduler.models
from runner import migrate, schema
from tests.support import Stores
from vault import db
from vault.models import Environment, Model, Reading, Workspace
from vault.names import ENVIRONMENTS

#: Importing them is what fills the metadata.
PACKAGES = (
    console.models,
    console.user_models,
    runner.models,
    runner.concurrency_models,
    runner.flow_models,
    runner.mail_messages,
    runner.source_models,
    scheduler.models,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def engine(empty_stores: Stores) -> Iterator[Engine]:
    engine = db.engine(empty_stores.database_url)
    yield engine
    engine.dispose()


def downgrade(session: Session, revision: str = "base") -> None:
    config = migrate._config()
    config.attributes["connection"] = session.connection()
    command.downgrade(config, revision)


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
    return list(compare_metadata(context, Model.metadata))


def test_the_migrations_make_what_the_models_say(engine: Engine) -> None:
    migrate.migrate(engine, now=NOW)
    with db.reading(engine) as session:
        assert differences(session.connection()) == []
        tables = set(inspect(session.connection()).get_table_names())
    assert tables == {*Model.metadata.tables, "alembic_version"}


def test_the_migrations_make_the_keys_that_the_models_say(engine: Engine) -> None:
    """Which `compare_metadata` does not look at."""
    migrate.migrate(engine, now=NOW)
    with db.reading(engine) as session:
        inspector = inspect(session.connection())
        keys = {name: inspector.get_pk_constraint(name) for name in Model.metadata.tables}
    wanted = {name: [column.name for column in table.primary_key] for name, table in Model.metadata.tables.items()}
    assert {name: key["constrained_columns"] for name, key in keys.items()} == wanted


def test_readings_keep_their_first_number_on_the_way_back(engine: Engine) -> None:
    migrate.migrate(engine, now=NOW)
    job_id, asset_id, numbers = uuid.uuid4(), uuid.uuid4(), select(Reading.number).order_by(Reading.number)
    known = {"asset": "SAP.USER", "scope": "workspace", "environment": "dev", "runner": "r1", "read_at": NOW}
    with db.writing(engine) as session:
        session.add_all(
            Reading(job_id=job_id, attempt=1, asset_id=asset_id, number=number, **known) for number in (3, 1, 2)
        )
    with db.writing(engine) as session:
        downgrade(session, "0021")
        assert session.scalars(numbers).all() == [1]
    migrate.migrate(engine, now=NOW)
    with db.reading(engine) as session:
        assert session.scalars(numbers).all() == [1]


def test_partial_indexes_keep_their_condition(engine: Engine) -> None:
    migrate.migrate(engine, now=NOW)
    wanted = {
        index.name
        for table in Model.metadata.tables.values()
        for index in table.indexes
        if index.dialect_options[engine.dialect.name].get("where") is not None
    }
    with db.reading(engine) as session:
        inspector = inspect(session.connection())
        found = {
            index["name"]
            for table in inspector.get_table_names()
            for index in inspector.get_indexes(table)
            if index.get("dialect_options", {}).get(f"{engine.dialect.name}_where") is not None
        }
    assert found == wanted
    assert len(wanted) >= 5


def test_the_schema_that_processes_ask_for_is_the_newest_migration(engine: Engine) -> None:
    assert ScriptDirectory.from_config(migrate._config()).get_heads() == [schema.REVISION]
    with db.reading(engine) as session:
        assert "no tables" in (schema.problem(session) or "")
    assert migrate.migrate(engine, now=NOW) == schema.REVISION
    with db.reading(engine) as session:
        assert schema.problem(session) is None


def test_migrating_again_changes_nothing(engine: Engine) -> None:
    migrate.migrate(engine, now=NOW)
    with db.reading(engine) as session:
        before = session.scalars(select(Workspace.id)).all()
    migrate.migrate(engine, now=datetime(2027, 1, 1, tzinfo=UTC))
    with db.reading(engine) as session:
        assert session.scalars(select(Workspace.id)).all() == before
        assert sorted(session.scalars(select(Environment.name))) == sorted(ENVIRONMENTS)


def test_everything_can_be_taken_back_and_made_again(engine: Engine) -> None:
    migrate.migrate(engine, now=NOW)
    with db.writing(engine) as session:
        downgrade(session)
    with db.reading(engine) as session:
        assert set(inspect(session.connection()).get_table_names()) <= {"alembic_version"}
        assert "no tables" in (schema.problem(session) or "")
    migrate.migrate(engine, now=NOW)
    with db.reading(engine) as session:
        assert differences(session.connection()) == []
        assert schema.problem(session) is None


def test_a_migration_that_fails_leaves_the_schema_as_it_was(engine: Engine) -> None:
    with db.writing(engine) as session:
        session.connection().exec_driver_sql("CREATE TABLE attempts (blocked INTEGER)")
    with pytest.raises(Exception, match="attempts"):
        migrate.migrate(engine, now=NOW)
    with db.reading(engine) as session:
        assert inspect(session.connection()).get_table_names() == ["attempts"]
