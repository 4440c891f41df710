"""Values that would do something else in a connection string arrive as that password, in every way of writing one."""

import contextlib
from collections.abc import Iterator

import pyodbc
import pytest
from psycopg import sql

from runner.worker.failures import SourceFailed
from tests.databases import HOSTILE, MariaDbServer
from tests.services import PostgresServer
from tests.sources import Opener

ODBC = "DRIVER={{PostgreSQL Unicode}};SERVER=127.0.0.1;PORT={port};DATABASE=postgres;UID={user};"
POSTGRESQL = {
    "url": "postgresql://{user}:{password}@127.0.0.1:{port}/postgres",
    "libpq": "host=127.0.0.1 port={port} user={user} dbname=postgres password={password}",
    "libpq in quotes": "host=127.0.0.1 port={port} user={user} dbname=postgres password='{password}'",
    "ado.net": "Host=127.0.0.1;Port={port};Database=postgres;Username={user};Password={password}",
    "ado.net in quotes": 'Server=127.0.0.1:{port};Database=postgres;User ID={user};Pwd="{password}"',
    "jdbc": "jdbc:postgresql://127.0.0.1:{port}/postgres?user={user}&password={password}",
    "odbc": ODBC + "PWD={password}",
    "odbc in braces": ODBC + "PWD={{{password}}}",
}
MARIADB = {
    "url": "mysql+pymysql://{user}:{password}@127.0.0.1:{port}/mysql",
    "ado.net": "Server=127.0.0.1;Port={port};Database=mysql;Uid={user};Pwd={password};SslMode=none",
    "jdbc": "jdbc:mariadb://127.0.0.1:{port}/mysql?user={user}&password={password}",
}
TOKEN = "{{ASSET.DB.PASSWORD}}"


@pytest.fixture(params=HOSTILE, ids=ascii)
def password(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def postgres_user(secured_postgres: PostgresServer, password: str) -> Iterator[str]:
    name = "hostile_app"
    with secured_postgres.connect() as connection:
        made = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), sql.Literal(password))
        connection.execute(made)
    yield name
    with secured_postgres.connect() as connection:
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture
def mariadb_user(mariadb: MariaDbServer, password: str) -> Iterator[str]:
    with contextlib.closing(mariadb.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE USER 'app'@'127.0.0.1' IDENTIFIED BY %s", (password,))
        cursor.execute("GRANT SELECT ON *.* TO 'app'@'127.0.0.1'")
        yield "app"
        cursor.execute("DROP USER 'app'@'127.0.0.1'")


def test_a_hostile_password_logs_in_to_postgresql_in_every_dialect(
    secured_postgres: PostgresServer, postgres_user: str, password: str
) -> None:
    opener = Opener({"DB.PASSWORD": password, "B.Y": "another"})
    for dialect, text in POSTGRESQL.items():
        if dialect.startswith("odbc") and not has_odbc():
            continue
        connection = text.format(user=postgres_user, password=TOKEN, port=secured_postgres.port)
        system = {"system": "postgresql"} if dialect.startswith("ado.net") else {}
        rows = opener.rows(connection=connection, query="SELECT current_user, current_database()", **system)
        assert rows == [("hostile_app", "postgres")], dialect


def test_a_hostile_password_logs_in_to_mariadb_in_every_dialect(
    mariadb: MariaDbServer, mariadb_user: str, password: str
) -> None:
    opener = Opener({"DB.PASSWORD": password, "B.Y": "another"})
    for dialect, text in MARIADB.items():
        connection = text.format(user=mariadb_user, password=TOKEN, port=mariadb.port)
        system = {"system": "mysql"} if dialect == "ado.net" else {}
        rows = opener.rows(connection=connection, query="SELECT current_user(), database()", **system)
        assert rows == [("app@127.0.0.1", "mysql")], dialect


@pytest.mark.parametrize("password", ["right"], indirect=True)
def test_a_wrong_password_is_said_without_it(
    secured_postgres: PostgresServer, mariadb: MariaDbServer, postgres_user: str, mariadb_user: str
) -> None:
    tried = {"DB.PASSWORD": "Wr0ng;value'}"}
    places = ((POSTGRESQL, secured_postgres.port, postgres_user), (MARIADB, mariadb.port, mariadb_user))
    for texts, port, user in places:
        for dialect, text in texts.items():
            if dialect.startswith("odbc") and not has_odbc():
                continue
            connection = text.format(user=user, password=TOKEN, port=port)
            system = {"system": "mysql" if texts is MARIADB else "postgresql"} if "ado" in dialect else {}
            with pytest.raises(SourceFailed) as failed:
                Opener(tried).check(connection=connection, query="SELECT 1", **system)
            sentence = failed.value.sentence("orders", "dev")
            assert sentence.startswith("orders in dev: not authenticated"), sentence
            assert "Wr0ng" not in sentence
            assert "connection" in failed.value.field
            assert "Wr0ng" not in repr(failed.value) + str(failed.value.args)


def has_odbc() -> bool:
    return any("PostgreSQL" in name for name in pyodbc.drivers())
