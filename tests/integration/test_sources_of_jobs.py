"""Data sources of real jobs: checked on a runner, read by bots without the credentials, and without a trace of them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg import sql
from sqlalchemy import text

from tests.services import PostgresServer
from tests.support import wait_until
from tests.system import System
from vault import db

TOKEN = "{{ASSET.DB.PASSWORD}}"
CANARY = "Kanari;'}\"{x} 2f7c91"
READS = """
import botkeep, json, os, sys
source = botkeep.source("orders")
rows = list(source)
print(json.dumps({"rows": len(rows), "first": str(rows[0]["amount"]), "kind": type(rows[0]["amount"]).__name__}))
source.save(os.path.join(os.environ["BOTKEEP_OUTPUT_DIR"], "orders.csv"))
print(open(os.path.join(os.environ["BOTKEEP_OUTPUT_DIR"], "orders.csv")).readline().strip())
seen = " ".join(map(str, os.environ.items())) + " ".join(str(asset) for asset in botkeep.assets)
print("sees the password:", "Kanari" in seen)
"""
TRIES = """
import botkeep
try:
    list(botkeep.source("orders"))
except botkeep.SourceError as error:
    print(error)
"""
TAKES = """
import botkeep, sys
try:
    found = botkeep.source("orders").connection()
except botkeep.SourceError as error:
    print("refused:", error)
    sys.exit()
for text in [found["password"], *found["written"].values()]:
    print(text)
    print("whole:", text in "".join(sys.argv), flush=True)
"""


@pytest.fixture
def source(system: System, secured_postgres: PostgresServer) -> Iterator[str]:
    with secured_postgres.connect() as connection:
        connection.execute(sql.SQL("CREATE ROLE canary LOGIN PASSWORD {}").format(sql.Literal(CANARY)))
    system.set_value("DB.PASSWORD", CANARY, "dev")
    system.set_value("DB.PASSWORD", "wrong " + CANARY, "prod")
    add(system, secured_postgres)
    yield "orders"
    system.client.delete("/api/v1/sources/orders")
    with secured_postgres.connect() as connection:
        connection.execute("DROP ROLE canary")


def add(system: System, server: PostgresServer, **changes: object) -> None:
    definition = {
        "connection": f"host=127.0.0.1 port={server.port} user=canary dbname=postgres password='{TOKEN}'",
        "query": "SELECT g AS id, g * 1.50 AS amount FROM generate_series(1, :most) g",
        "parameters": {"most": 2500},
    }
    order = {"name": "orders", "kind": "sql", "definition": definition, **changes}
    answer = system.client.post("/api/v1/sources", json=order)
    assert answer.status_code == 201, answer.text


def check(system: System, environment: str) -> tuple[str, str]:
    found = system.client.post("/api/v1/sources/orders/checks", json={"environment": environment}).json()

    def answered() -> bool:
        nonlocal found
        found = system.client.get(f"/api/v1/sources/orders/checks/{found['id']}").json()
        return found["state"] not in {"waiting", "running"}

    wait_until(answered, 40, "the check to be answered")
    return found["state"], found["sentence"]


def test_a_check_is_done_by_a_runner_of_the_environment_and_answered_in_one_sentence(
    system: System, source: str
) -> None:
    assert check(system, "dev") == (
        "ok",
        "orders in dev: resolved, reachable, authenticated, query ok, more than 1,000 rows.",
    )
    state, sentence = check(system, "prod")
    assert (state, "not authenticated" in sentence, "Kanari" in sentence) == ("failed", True, False), sentence
    state, sentence = check(system, "staging")
    assert (state, "DB.PASSWORD has no value in staging" in sentence) == ("failed", True), sentence
    actions = [row["action"] for row in system.client.get("/api/v1/audit").json()["items"]]
    assert actions.count("source.checked") >= 2


def test_a_check_works_while_redis_is_away(system: System, source: str) -> None:
    with system.without_redis():
        assert check(system, "dev")[0] == "ok"


def test_a_bot_reads_rows_and_files_and_never_sees_the_password(system: System, source: str) -> None:
    system.add_bot("reads", READS, toml='entry = "main.py"\nassets = []\n')
    job = system.run("reads")
    lines = system.log(job["id"], "stdout")
    assert job["state"] == "succeeded", (job, system.log(job["id"]))
    assert json.loads(lines[0]) == {"rows": 2500, "first": "1.50", "kind": "Decimal"}
    assert lines[1:] == ["id,amount", "sees the password: False"]
    assert [each["asset"] for each in job["readings"]] == ["DB.PASSWORD"]


def test_a_bot_has_the_connection_only_where_it_declares_it_and_every_form_is_masked(
    system: System, source: str
) -> None:
    system.add_bot("takes", TAKES, toml='entry = "main.py"\nassets = []\n')
    job = system.run("takes")
    assert system.log(job["id"], "stdout")[0].startswith("refused: The bot does not declare"), system.log(job["id"])
    system.add_bot("takes", TAKES, toml='entry = "main.py"\nassets = []\nconnections = ["orders"]\n')
    job = system.run("takes")
    lines = system.log(job["id"])
    assert job["state"] == "succeeded", lines
    assert "***" in lines
    assert not [line for line in lines if "Kanari" in line or "2f7c91" in line]


@pytest.mark.parametrize(
    ("toml", "changes", "words"),
    [
        ('sources = ["others"]\n', {}, "does not declare"),
        ("", {"bots": ["another"]}, "not open to the bot"),
        ("", {"environments": ["prod"]}, "not open in dev"),
    ],
)
def test_a_bot_that_may_not_use_a_source_is_told_so(
    system: System, source: str, secured_postgres: PostgresServer, toml: str, changes: dict[str, object], words: str
) -> None:
    assert system.client.delete("/api/v1/sources/orders").status_code == 204
    add(system, secured_postgres, **changes)
    system.add_bot("reads", TRIES, toml=f'entry = "main.py"\nassets = []\n{toml}')
    job = system.run("reads")
    assert words in system.log(job["id"], "stdout")[0], system.log(job["id"])
    assert job["readings"] == []


def test_no_connection_outlives_its_job(system: System, source: str, secured_postgres: PostgresServer) -> None:
    program = (
        "import botkeep\nnext(iter(botkeep.source('orders')))\nprint('has one', flush=True)\nimport os; os._exit(3)"
    )
    system.add_bot("leaves", program)
    assert system.run("leaves")["state"] == "failed"
    with secured_postgres.connect() as connection:

        def none() -> bool:
            query = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'canary'"
            return connection.execute(query).fetchone() == (0,)

        wait_until(none, 10, "the connection to end")


def test_nothing_that_is_kept_holds_the_password(system: System, source: str, tmp_path: Path) -> None:
    check(system, "prod")
    system.add_bot("reads", TRIES)
    job = system.run("reads", "prod")
    assert "not authenticated" in "".join(system.log(job["id"], "stdout")), system.log(job["id"])
    kept = json.dumps([system.job(job["id"]), system.log(job["id"]), system.client.get("/api/v1/sources").json()])
    kept += "".join(process.log for process in system.processes.values())
    with db.reading(system.engine) as session:
        for table in ("data_sources", "source_checks", "jobs", "attempts", "audit_events", "readings"):
            kept += str(session.execute(text(f"SELECT * FROM {table}")).all())
    assert "ASSET.DB.PASSWORD" in kept
    assert "Kanari" not in kept
    assert "2f7c91" not in kept
