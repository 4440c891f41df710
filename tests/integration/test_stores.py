"""The stores that every integration test runs on."""

import contextlib
from collections.abc import Callable

import psycopg
import pytest
import redis
from sqlalchemy import create_engine, inspect, text

from tests.services import PostgresServer, RedisServer
from tests.support import Stores, wait_until
from vault import db
from vault.errors import Unavailable


def test_a_test_gets_a_migrated_database_and_an_empty_broker(stores: Stores) -> None:
    engine = create_engine(stores.database_url)
    with contextlib.closing(engine.connect()) as connection:
        assert connection.execute(text("SELECT count(*) FROM alembic_version")).scalar_one() == 1
    engine.dispose()
    with contextlib.closing(redis.Redis.from_url(stores.redis_url)) as client:
        assert client.dbsize() == 0
        client.set("left", "by this test")


def test_an_empty_database_has_no_tables(empty_stores: Stores) -> None:
    engine = create_engine(empty_stores.database_url)
    assert inspect(engine).get_table_names() == []
    engine.dispose()


def test_a_connection_that_a_test_forgets_says_where_it_was_made(postgres: PostgresServer) -> None:
    forgotten = [postgres.connect()]
    with pytest.warns(ResourceWarning, match=r"left open: made in \S+says_where_it_was_made .* at .*test_stores\.py:"):
        forgotten.clear()


@pytest.mark.parametrize("kind", ["embedded", "server"])
def test_a_redis_of_its_own_keeps_its_keys_over_a_stop(new_redis: Callable[[str], RedisServer], kind: str) -> None:
    server = new_redis(kind)
    with contextlib.closing(redis.Redis.from_url(server.url)) as client:
        client.set("key", "value")
        server.stop()
        with pytest.raises(redis.ConnectionError):
            client.get("key")
        server.start()
        assert client.get("key") == b"value"


def test_a_postgresql_of_its_own_comes_back_on_the_same_address(own_postgres: PostgresServer) -> None:
    own_postgres.create_database("kept")
    own_postgres.stop()
    with pytest.raises(psycopg.OperationalError):
        own_postgres.connect("kept")
    own_postgres.start()
    own_postgres.connect("kept").close()


def test_a_transaction_whose_process_froze_gives_its_locks_back(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "FROZEN_AFTER", 1)
    url = postgres.create_database("frozen", template=postgres.migrated_template())
    engine = db.engine(url)

    def lock_is_free() -> bool:
        with db.reading(engine) as session:
            return bool(session.scalar(text("SELECT pg_try_advisory_xact_lock(7)")))

    def freeze() -> None:
        with db.writing(engine) as session:
            session.execute(text("SELECT pg_advisory_xact_lock(7)"))
            assert not lock_is_free()
            wait_until(lock_is_free, 20, "the server to end the silent transaction")

    with pytest.raises(Unavailable):
        freeze()
    engine.dispose()
    postgres.drop_database("frozen")


def test_postgresql_does_not_run_as_root(postgres: PostgresServer) -> None:
    assert postgres.directory.joinpath(".s.PGSQL.5432").stat().st_uid != 0
