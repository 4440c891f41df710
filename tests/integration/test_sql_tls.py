"""SQL over TLS: a certificate from a private authority, checked against the name, in each driver that is here."""

import contextlib
from collections.abc import Iterator

import pyodbc
import pytest
from psycopg import sql

from runner.worker.failures import SourceFailed
from tests.certificates import Authority, new_authority
from tests.databases import MariaDbServer
from tests.services import PostgresServer, unprivileged_account
from tests.sources import Opener
from tests.support import wait_until

POSTGRESQL = {
    "libpq": "host={host} port={port} user=tls_app dbname=postgres password={token}",
    "odbc": "DRIVER={{PostgreSQL Unicode}};SERVER={host};PORT={port};DATABASE=postgres;UID=tls_app;PWD={token}",
}
MARIADB = {
    "url": "mysql+pymysql://tls_app:{token}@{host}:{port}/mysql",
    "odbc": "DRIVER={{MariaDB Unicode}};SERVER={host};PORT={port};DATABASE=mysql;UID=tls_app;PWD={token}",
}
TOKEN, SECRET = "{{ASSET.DB.PASSWORD}}", "p;w} {x"
ENCRYPTED = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl"


@pytest.fixture(scope="module")
def authority() -> Authority:
    """Of the PostgreSQL server, whose certificate is for `localhost`."""
    return new_authority()


@pytest.fixture(scope="module")
def postgresql(secured_postgres: PostgresServer, authority: Authority) -> Iterator[PostgresServer]:
    """The server with TLS on, until the end of this module."""
    authority.write(secured_postgres.data, "tls", owner=unprivileged_account())
    with secured_postgres.connect() as connection:
        made = sql.SQL("CREATE ROLE tls_app LOGIN PASSWORD {}").format(sql.Literal(SECRET))
        connection.execute(made)
        for setting in ("ssl = on", "ssl_cert_file = 'tls.pem'", "ssl_key_file = 'tls.key'"):
            connection.execute(f"ALTER SYSTEM SET {setting}")
        connection.execute("SELECT pg_reload_conf()")
    wait_until(lambda: _ssl(secured_postgres) == "on", 20, "TLS")
    yield secured_postgres
    with secured_postgres.connect() as connection:
        connection.execute("ALTER SYSTEM RESET ALL")
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("DROP ROLE tls_app")
    wait_until(lambda: _ssl(secured_postgres) == "off", 20, "no TLS")


def _ssl(server: PostgresServer) -> str:
    with server.connect() as connection:
        row = connection.execute("SHOW ssl").fetchone()
    return str(row[0]) if row else ""


@pytest.fixture
def mysql(mariadb: MariaDbServer) -> Iterator[MariaDbServer]:
    with contextlib.closing(mariadb.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE USER 'tls_app'@'127.0.0.1' IDENTIFIED BY %s REQUIRE SSL", (SECRET,))
        cursor.execute("GRANT SELECT ON mysql.* TO 'tls_app'@'127.0.0.1'")
        yield mariadb
        cursor.execute("DROP USER 'tls_app'@'127.0.0.1'")


def driven(texts: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The dialects for which this machine has a driver."""
    for name, text in texts.items():
        if name != "odbc" or any(f"{{{driver}}}" in text for driver in pyodbc.drivers()):
            yield name, text


def opener() -> Opener:
    return Opener({"DB.PASSWORD": SECRET, "DB.CA": new_authority().pem})


def refused(**definition: object) -> SourceFailed:
    with pytest.raises(SourceFailed) as failed:
        opener().check(query="SELECT 1", **definition)
    sentence = failed.value.sentence("orders", "dev")
    assert SECRET not in sentence
    return failed.value


def test_a_certificate_of_a_private_authority_is_trusted_where_it_is_named(
    postgresql: PostgresServer, mysql: MariaDbServer, authority: Authority
) -> None:
    for name, text in driven(POSTGRESQL):
        connection = text.format(host="localhost", port=postgresql.port, token=TOKEN)
        found = opener().rows(connection=connection, query=ENCRYPTED, tls="verify", tls_ca=authority.pem)
        assert found[0][0].startswith("TLSv1."), name
    for name, text in driven(MARIADB):
        host = "127.0.0.1" if name == "odbc" else "localhost"
        connection = text.format(host=host, port=mysql.port, token=TOKEN)
        query = "SHOW SESSION STATUS LIKE 'Ssl_version'"
        found = opener().rows(connection=connection, query=query, tls="verify", tls_ca=mysql.authority.pem)
        assert found[0][1].startswith("TLSv1."), name


@pytest.mark.parametrize("trusted", ["{{ASSET.DB.CA}}", None], ids=["another authority", "the system's"])
def test_what_another_authority_signed_is_refused(
    postgresql: PostgresServer, mysql: MariaDbServer, trusted: str | None
) -> None:
    named = {} if trusted is None else {"tls_ca": trusted}
    for texts, port in ((POSTGRESQL, postgresql.port), (MARIADB, mysql.port)):
        for name, text in driven(texts):
            connection = text.format(host="localhost", port=port, token=TOKEN)
            failure = refused(connection=connection, tls="verify", **named)
            assert failure.field.startswith("connection"), name
            assert not failure.retriable


def test_a_certificate_for_another_name_is_refused(
    postgresql: PostgresServer, authority: Authority, mysql: MariaDbServer
) -> None:
    """PostgreSQL's names `localhost` only, MariaDB's both, so that is asked for by yet another address."""
    for name, text in driven(POSTGRESQL):
        connection = text.format(host="127.0.0.1", port=postgresql.port, token=TOKEN)
        assert refused(connection=connection, tls="verify", tls_ca=authority.pem).field.startswith("conn"), name
    connection = MARIADB["url"].format(host="127.0.0.2", port=mysql.port, token=TOKEN)
    refused(connection=connection, tls="verify", tls_ca=mysql.authority.pem)


def test_required_encryption_is_used_unchecked_and_a_server_that_demands_it_refuses_without(
    postgresql: PostgresServer, mysql: MariaDbServer
) -> None:
    for name, text in driven(POSTGRESQL):
        connection = text.format(host="127.0.0.1", port=postgresql.port, token=TOKEN)
        assert opener().rows(connection=connection, query=ENCRYPTED, tls="require"), name
        assert opener().rows(connection=connection, query=ENCRYPTED, tls="off") == [], name
    for name, text in driven(MARIADB):
        connection = text.format(host="127.0.0.1", port=mysql.port, token=TOKEN)
        assert opener().rows(connection=connection, query="SELECT 1", tls="require") == [(1,)], name
    refused(connection=MARIADB["url"].format(host="127.0.0.1", port=mysql.port, token=TOKEN), tls="off")


def test_a_ca_that_is_none_is_named(postgresql: PostgresServer, mysql: MariaDbServer) -> None:
    for texts, port in ((POSTGRESQL, postgresql.port), (MARIADB, mysql.port)):
        for name, text in driven(texts):
            connection = text.format(host="localhost", port=port, token=TOKEN)
            assert refused(connection=connection, tls="verify", tls_ca="no certificate").field == "tls_ca", name
