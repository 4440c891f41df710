"""SQL sources on real servers: types, transactions that cannot write, limits, and errors that hold no value."""

import contextlib
import csv
import io
import json
import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow.parquet
import pytest

from runner.connection_policy import ConnectionPolicy
from runner.errors import Invalid
from runner.worker.failures import SourceFailed
from runner.worker.questions import Question
from tests.databases import MariaDbServer
from tests.services import PostgresServer
from tests.sources import Opener, file, folder_policy, read
from tests.support import wait_until

VALUES = {"DB.PASSWORD": "pa;ss'word}"}


@pytest.fixture
def postgres_source(secured_postgres: PostgresServer) -> Iterator[str]:
    with secured_postgres.connect() as connection:
        connection.execute("CREATE ROLE reader LOGIN PASSWORD 'pa;ss''word}'")
        connection.execute("CREATE TABLE things (id int)")
        connection.execute("GRANT ALL ON things TO reader")
        connection.execute("INSERT INTO things SELECT generate_series(1, 2500)")
    yield f"postgresql://reader:{{{{ASSET.DB.PASSWORD}}}}@127.0.0.1:{secured_postgres.port}/postgres"
    with secured_postgres.connect() as connection:
        connection.execute("DROP TABLE things")
        connection.execute("DROP ROLE reader")


@pytest.fixture
def mariadb_source(mariadb: MariaDbServer) -> Iterator[str]:
    with mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE OR REPLACE DATABASE shop")
        cursor.execute("CREATE OR REPLACE USER reader@127.0.0.1 IDENTIFIED BY %s", (VALUES["DB.PASSWORD"],))
        cursor.execute("GRANT ALL ON shop.* TO reader@127.0.0.1")
        cursor.execute("CREATE TABLE shop.things (id int)")
        cursor.execute("INSERT INTO shop.things SELECT seq FROM shop.seq_1_to_2500")
        yield f"mysql://reader:{{{{ASSET.DB.PASSWORD}}}}@127.0.0.1:{mariadb.port}/shop"
        cursor.execute("DROP USER reader@127.0.0.1")
        cursor.execute("DROP DATABASE shop")


@pytest.fixture
def sqlite_source(tmp_path: Path) -> str:
    with sqlite3.connect(tmp_path / "a b?.db") as connection:
        connection.execute("CREATE TABLE things (id int)")
        connection.executemany("INSERT INTO things VALUES (?)", [(number,) for number in range(1, 2501)])
    connection.close()
    return f"sqlite:///{tmp_path}/a b%3F.db"


@pytest.fixture(params=["postgres_source", "mariadb_source", "sqlite_source"])
def source(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def opener(tmp_path: Path) -> Opener:
    return Opener(VALUES, policy=folder_policy(tmp_path))


def test_rows_come_in_their_order_whatever_the_batches(source: str, opener: Opener) -> None:
    rows = opener.rows(connection=source, query="SELECT id FROM things ORDER BY id", batch_rows=999)
    assert rows == [(number,) for number in range(1, 2501)]


def test_parameters_are_bound_and_never_part_of_the_text(source: str, opener: Opener) -> None:
    query = "SELECT count(*), :word FROM things WHERE id <= :most AND '50%' = '50%'"
    word = "'; DROP TABLE things; -- :most {{ASSET.DB.PASSWORD}}"
    opener.values = {**VALUES, "DB.WORD": word}
    rows = opener.rows(connection=source, query=query, parameters={"most": 7, "word": "{{ASSET.DB.WORD}}"})
    assert rows == [(7, word)]


@pytest.mark.parametrize(
    "query", ["INSERT INTO things VALUES (1)", "DELETE FROM things", "DROP TABLE things", "CREATE TABLE other (id int)"]
)
def test_a_source_cannot_write_unless_it_says_so(source: str, opener: Opener, query: str) -> None:
    with pytest.raises(SourceFailed) as refused:
        opener.rows(connection=source, query=query)
    assert refused.value.field == "query"
    assert opener.rows(connection=source, query="SELECT count(*) FROM things") == [(2500,)]


def test_a_query_cannot_end_its_own_transaction(source: str, opener: Opener) -> None:
    for query in ("SELECT 1; COMMIT; DELETE FROM things", "SELECT 1; DELETE FROM things"):
        with pytest.raises(SourceFailed):
            opener.rows(connection=source, query=query)
    with contextlib.suppress(SourceFailed):  # MariaDB lets it, and begins the next one as read-only again
        opener.rows(connection=source, query="COMMIT")
    assert opener.rows(connection=source, query="SELECT count(*) FROM things") == [(2500,)]


def test_a_source_that_may_write_commits_when_it_was_read_to_its_end(source: str, opener: Opener) -> None:
    assert opener.rows(connection=source, query="INSERT INTO things VALUES (1)", read_only=False) == []
    assert opener.rows(connection=source, query="SELECT count(*) FROM things") == [(2501,)]


def test_a_check_counts_rows_and_says_when_there_are_more(source: str, opener: Opener) -> None:
    few = opener.check(connection=source, query="SELECT id FROM things WHERE id < 43")
    assert few.endswith("resolved, reachable, authenticated, query ok, 42 rows.")
    many = opener.check(connection=source, query="SELECT id FROM things")
    assert many.endswith("query ok, more than 1,000 rows.")


def test_more_rows_than_the_limit_are_an_error_and_no_shorter_list(source: str, opener: Opener) -> None:
    opened = opener.open(connection=source, query="SELECT id FROM things", row_limit=2000, batch_rows=500)
    with pytest.raises(Exception, match="more than 2,000 rows"):
        read(opened)
    opened.close(succeeded=False)


def test_a_reader_may_stop_early_and_ask_again(source: str, opener: Opener) -> None:
    opened = opener.open(connection=source, query="SELECT id FROM things", batch_rows=10)
    chunks = opened.answer(Question("GET", "", {})).chunks
    next(chunks)
    next(chunks)
    chunks.close()
    assert len(read(opened)[1]) == 2500
    opened.close(succeeded=True)


@pytest.mark.parametrize("query", ["SELECT nothing FROM things", "SELEC 1", "SELECT id FROM nowhere", "SELECT :a"])
def test_a_query_that_is_wrong_is_said_with_its_field(source: str, opener: Opener, query: str) -> None:
    with pytest.raises(SourceFailed) as failed:
        opener.check(connection=source, query=query)
    assert failed.value.field == "query"
    assert failed.value.sentence("orders", "prod").startswith("orders in prod: not query ok: ")


def test_the_servers_own_words_are_shown_without_a_value_in_them(source: str, opener: Opener) -> None:
    opener.values = {**VALUES, "DB.WORD": "A-Value-That-Must-Not-Be-Seen"}
    with pytest.raises(SourceFailed) as failed:
        opener.rows(
            connection=source,
            query="SELECT id FROM things WHERE id = "
            + ("CAST(:word AS int)" if "postgres" in source else "nothing(:word)"),
            parameters={"word": "{{ASSET.DB.WORD}}"},
        )
    assert "Must-Not" not in failed.value.sentence("a", "b") + repr(failed.value)


SLOW = {
    "postgresql": "SELECT pg_sleep(30)",
    "mysql": "SELECT sleep(30)",
    "sqlite": "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c",
}


def test_a_query_that_takes_longer_than_its_timeout_is_ended(source: str, opener: Opener) -> None:
    with pytest.raises(SourceFailed) as failed:
        opener.check(connection=source, query=SLOW[source.partition(":")[0]], timeout="1s")
    assert (failed.value.field, "within 1 s" in failed.value.detail) == ("timeout", True)


def test_the_end_of_an_attempt_ends_a_query_that_the_server_still_works_on(source: str, opener: Opener) -> None:
    opened = opener.open(connection=source, query=SLOW[source.partition(":")[0]])
    ended: list[object] = []

    def ask() -> None:
        try:
            ended.append(read(opened))
        except BaseException as error:
            ended.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    wait_until(lambda: bool(getattr(opened, "_busy").locked()), 10, "the query to begin")  # noqa: B009
    opened.close(succeeded=False)
    asking.join(10)
    assert not asking.is_alive()
    assert isinstance(ended[0], Exception)


def test_what_a_wrong_question_is_told(source: str, opener: Opener) -> None:
    opened = opener.open(connection=source, query="SELECT 1")
    for question in (
        Question("POST", "", {}),
        Question("GET", "", {"format": "xml"}),
        Question("GET", "connection", {}),
    ):
        with pytest.raises(Invalid):
            opened.answer(question)
    opened.close(succeeded=True)


def test_the_connection_itself_is_given_where_it_is_declared_and_masked_in_every_form(
    postgres_source: str, opener: Opener
) -> None:
    opener.connection_allowed = True
    opened = opener.open(connection=postgres_source, query="SELECT 1")
    found = json.loads(b"".join(opened.answer(Question("GET", "connection", {})).chunks))
    opened.close(succeeded=True)
    assert (found["user"], found["password"], found["address"]) == ("reader", VALUES["DB.PASSWORD"], "127.0.0.1")
    masked = {form.decode() for _, form in opener.masked}
    assert set(found["written"].values()) <= masked


def test_the_masker_knows_every_quoted_form_before_a_driver_sees_one(opener: Opener) -> None:
    with pytest.raises(SourceFailed):
        opener.check(connection='postgresql://a:x{{ASSET.DB.PASSWORD}}"@127.0.0.1:1/d', query="SELECT 1")
    masked = {form.decode() for _, form in opener.masked}
    whole = f'x{VALUES["DB.PASSWORD"]}"'
    assert {VALUES["DB.PASSWORD"], whole} <= masked
    assert "{xpa;ss'word}}\"}" in masked  # ODBC
    assert "xpa;ss\\'word}\"" in masked  # libpq
    assert 'xpa;ss\'word}""' in masked  # ADO.NET
    assert "xpa%3Bss%27word%7D%22" in masked  # URL


POSTGRES_TYPES = """
    SELECT 1::int, 2::bigint, 12.30::numeric, 0.1::float8, 'NaN'::float8, true, 'ü'::text, NULL::text, ''::text,
        '\\x00ff'::bytea, date '2024-02-29', timestamp '2024-02-29 01:02:03.4',
        timestamptz '2024-02-29 01:02:03+02', time '23:59:59.5', '00000000-0000-0000-0000-00000000002a'::uuid,
        '{"a": [1, null, 12.30]}'::jsonb, 'infinity'::date, ARRAY[1, 2], interval '1 day 2 s', 'NaN'::numeric
"""


def test_postgresql_keeps_every_type(postgres_source: str, opener: Opener) -> None:
    (row,) = opener.rows(connection=postgres_source, query=POSTGRES_TYPES)
    assert row[:4] == (1, 2, Decimal("12.30"), 0.1)
    assert str(row[2]) == "12.30"
    assert row[4] != row[4]
    assert row[5:10] == (True, "ü", None, "", b"\x00\xff")
    assert row[5] is True
    assert row[10:12] == (date(2024, 2, 29), datetime(2024, 2, 29, 1, 2, 3, 400000))  # noqa: DTZ001
    assert row[12] == datetime(2024, 2, 28, 23, 2, 3, tzinfo=UTC)
    assert row[12].tzinfo is not None
    assert row[13:15] == (time(23, 59, 59, 500000), UUID(int=42))
    assert row[15] == {"a": [1, None, 12.3]}
    assert (row[16], row[17], row[18], row[19].is_nan()) == ("infinity", [1, 2], "P1DT2S", True)


def test_mariadb_keeps_every_type(mariadb_source: str, opener: Opener) -> None:
    query = """SELECT 1, CAST(12.30 AS decimal(10,2)), 0.5e0, 'ü', NULL, '', x'00ff', DATE '2024-02-29',
        TIMESTAMP '2024-02-29 01:02:03.4', TIME '-25:00:01', 18446744073709551615"""
    (row,) = opener.rows(connection=mariadb_source, query=query)
    assert row[:7] == (1, Decimal("12.30"), 0.5, "ü", None, "", b"\x00\xff")
    assert row[7:9] == (date(2024, 2, 29), datetime(2024, 2, 29, 1, 2, 3, 400000))  # noqa: DTZ001
    assert row[9:] == (-timedelta(hours=25, seconds=1), 18446744073709551615)


def test_sqlite_keeps_every_type_in_one_column(sqlite_source: str, opener: Opener) -> None:
    query = "SELECT 1 AS a UNION ALL SELECT 'x' UNION ALL SELECT x'00ff' UNION ALL SELECT NULL UNION ALL SELECT 0.5"
    assert opener.rows(connection=sqlite_source, query=query) == [(1,), ("x",), (b"\x00\xff",), (None,), (0.5,)]


def test_long_rows_come_in_small_batches(sqlite_source: str, opener: Opener) -> None:
    opened = opener.open(connection=sqlite_source, query="SELECT zeroblob(500000) FROM things LIMIT 60")
    sizes = [len(chunk) for chunk in opened.answer(Question("GET", "", {})).chunks]
    opened.close(succeeded=True)
    assert sum(sizes) > 60 * 500_000
    assert max(sizes) < 8 << 20
    assert max(sizes[-5:]) < 3 << 20


def test_columns_of_one_name_are_told_apart(source: str, opener: Opener) -> None:
    opened = opener.open(connection=source, query="SELECT 1 AS a, 2 AS a, 3 AS a_2")
    assert read(opened)[0] == ["a", "a_2", "a_2_2"]
    opened.close(succeeded=True)


def test_files_hold_what_the_rows_hold(postgres_source: str, opener: Opener, tmp_path: Path) -> None:
    query = """SELECT g AS id, CASE WHEN g = 2 THEN NULL ELSE 'a,"b' || chr(10) END AS word, 1.50::numeric AS amount,
        '\\x00'::bytea AS raw, '{"a": 1}'::json AS doc FROM generate_series(1, 3) g"""
    opened = opener.open(connection=postgres_source, query=query, batch_rows=2)
    read_csv = list(csv.DictReader(io.StringIO(file(opened, "csv").decode(), newline="")))
    lines = [json.loads(line) for line in file(opened, "jsonl").decode().splitlines()]
    (tmp_path / "a.parquet").write_bytes(file(opened, "parquet"))
    opened.close(succeeded=True)
    table: list[dict[str, Any]] = pyarrow.parquet.read_table(tmp_path / "a.parquet").to_pylist()
    assert [row["id"] for row in read_csv] == ["1", "2", "3"]
    assert [row["word"] for row in read_csv] == ['a,"b\n', "", 'a,"b\n']
    assert lines[1] == {"id": 2, "word": None, "amount": "1.50", "raw": "AA==", "doc": {"a": 1}}
    assert table[1] == {"id": 2, "word": None, "amount": "1.50", "raw": "AA==", "doc": '{"a": 1}'}


def test_a_sqlite_file_outside_of_the_policys_folders_is_not_opened(sqlite_source: str, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "link.db").symlink_to(tmp_path / "a b?.db")
    policy = folder_policy(tmp_path / "open")
    for connection in (sqlite_source, f"sqlite:///{tmp_path}/open/link.db", f"sqlite:///{tmp_path}/open/../a b%3F.db"):
        with pytest.raises(SourceFailed) as refused:
            Opener({}, policy=policy).check(connection=connection, query="SELECT 1")
        assert "allows no file" in refused.value.detail
    opener = Opener({}, policy=folder_policy(tmp_path))
    with pytest.raises(SourceFailed):
        opener.rows(connection=sqlite_source, query=f"ATTACH '{tmp_path}/new.db' AS x")
    assert not (tmp_path / "new.db").exists()
    with pytest.raises(SourceFailed, match="no such file"):
        opener.check(connection=f"sqlite:///{tmp_path}/missing.db", query="SELECT 1")


@pytest.mark.parametrize("host", ["169.254.169.254", "[::ffff:169.254.169.254]", "127.0.0.1,169.254.169.254"])
def test_a_host_that_the_policy_refuses_is_not_connected_to(host: str) -> None:
    with pytest.raises(SourceFailed) as refused:
        Opener(VALUES).check(connection=f"postgresql://a:{{{{ASSET.DB.PASSWORD}}}}@{host}:1/d", query="SELECT 1")
    assert "link-local" in refused.value.detail
    denied = Opener(VALUES, policy=ConnectionPolicy(allow=("*.corp.example",)))
    with pytest.raises(SourceFailed, match="does not allow"):
        denied.check(connection="postgresql://a:{{ASSET.DB.PASSWORD}}@127.0.0.1:1/d", query="SELECT 1")


def test_an_unset_value_and_an_unreachable_host_are_said_with_their_field() -> None:
    with pytest.raises(SourceFailed) as unset:
        Opener({}).check(connection="postgresql://a:{{ASSET.DB.PASSWORD}}@127.0.0.1:1/d", query="SELECT 1")
    assert unset.value.sentence("orders", "dev") == (
        "orders in dev: not filled in: DB.PASSWORD has no value in dev (field `connection: password`)."
    )
    for scheme in ("postgresql", "mysql", "mssql", "oracle"):
        with pytest.raises(SourceFailed) as away:
            Opener(VALUES).check(connection=f"{scheme}://a:{{{{ASSET.DB.PASSWORD}}}}@127.0.0.1:1/d", query="SELECT 1")
        assert away.value.sentence("orders", "dev").startswith("orders in dev: not reachable: 127.0.0.1"), scheme
