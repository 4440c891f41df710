"""`examples/debtors`: a bot that reads a data source does what its README says, by the commands that it shows."""

import csv
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg import sql

from tests.services import PostgresServer
from tests.support import ROOT, clean_environment
from tests.system import START_WITHIN, System

pytestmark = pytest.mark.timeout(240)

FOLDER = ROOT / "examples/debtors"
PASSWORD = "n0t;to be=shown"
ORDERS = (("Ann", "10.50", None), ("Bob", "3.25", None), ("Ann", "0.75", None), ("Ann", "2", None), ("Eve", "9", "now"))


@pytest.fixture
def shop(secured_postgres: PostgresServer) -> Iterator[PostgresServer]:
    """A shop's database, which `reader` may read."""
    with secured_postgres.connect() as connection:
        connection.execute("CREATE DATABASE shop")
        connection.execute(sql.SQL("CREATE ROLE reader LOGIN PASSWORD {}").format(sql.Literal(PASSWORD)))
    with secured_postgres.connect("shop") as connection:
        connection.execute("CREATE TABLE orders (customer text, amount numeric(12, 2), paid_on timestamptz)")
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO orders VALUES (%s, %s, %s)", ORDERS)
        connection.execute("GRANT SELECT ON orders TO reader")
    yield secured_postgres
    with secured_postgres.connect() as connection:
        connection.execute("DROP DATABASE shop WITH (FORCE)")
        connection.execute("DROP ROLE reader")


def botkeep(system: System, *words: str, given: str = "") -> str:
    """What a command says, which must succeed."""
    address = {"BOTKEEP_URL": str(system.client.base_url), "BOTKEEP_TOKEN": system.token}
    done = subprocess.run(
        [sys.executable, "-m", "cli", *words],
        cwd=ROOT,
        env={**clean_environment(), **address, "BOTKEEP_HOME": str(system.home), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        input=given,
        timeout=START_WITHIN,
    )
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


def test_the_bot_lists_debtors_of_the_environment_s_database(
    system: System, shop: PostgresServer, tmp_path: Path
) -> None:
    botkeep(system, "bot", "add", "debtors", str(FOLDER))
    for name, value in (("HOST", "127.0.0.1"), ("PORT", str(shop.port)), ("PASSWORD", PASSWORD)):
        botkeep(system, "asset", "set", f"SHOP.{name}", "--env", "prod", given=value)
    botkeep(system, "source", "add", "orders", "--kind", "sql", "--config", str(FOLDER / "orders.toml"))
    said = botkeep(system, "source", "check", "orders", "--env", "prod")
    assert "3 rows" in said, said
    printed = botkeep(system, "run", "debtors", "--env", "prod", "--follow")
    assert "2 customers owe 15.75 in prod." in printed
    assert PASSWORD not in printed
    (job,) = system.client.get("/api/v1/jobs", params={"bot": "debtors"}).json()["items"]
    botkeep(system, "job", "outputs", job["id"], "--download", str(tmp_path))
    (file,) = tmp_path.rglob("debtors.csv")
    assert list(csv.reader(file.read_text().splitlines())) == [["customer", "owes"], ["Ann", "12.50"], ["Bob", "3.25"]]
