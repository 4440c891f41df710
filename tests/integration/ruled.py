"""PostgreSQL under `deploy/postgres/roles.sql`, for the tests of the roles.

Roles belong to a cluster, so these tests have one of their own.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from uuid import uuid4

from tests.services import PostgresServer, migrate, postgres_binary
from tests.support import ROOT

ROLES_SQL = ROOT / "deploy" / "postgres" / "roles.sql"

#: The processes; `botkeep_owner` owns the tables and is none.
ROLES = ("console", "scheduler", "runner", "keyhost")


@contextlib.contextmanager
def ruled_cluster(postgres: PostgresServer) -> Iterator[PostgresServer]:
    """A cluster with the migrated database `ruled`, whose roles come from roles.sql and cannot log in."""
    server = PostgresServer(postgres.directory.with_name(f"roles-{os.getpid()}-{uuid4().hex[:8]}"), os.getpid())
    server.create()
    server.start()
    try:
        migrate(server.create_database("ruled"))
        done = run_roles_sql(server, "ruled")
        assert done.returncode == 0, done.stderr
        yield server
    finally:
        server.stop()
        shutil.rmtree(server.directory)


@contextlib.contextmanager
def copy_of_ruled(server: PostgresServer) -> Iterator[str]:
    """The name of a copy of the ruled database; from now on the roles may log in."""
    name = f"copy_{uuid4().hex}"
    server.create_database(name, template="ruled")
    with server.connect() as connection:
        for role in ("owner", *ROLES):
            connection.execute(f"ALTER ROLE botkeep_{role} LOGIN".encode())
    yield name
    server.drop_database(name)


def run_roles_sql(server: PostgresServer, database: str, *, user: str = "postgres") -> subprocess.CompletedProcess[str]:
    """Runs the file as an operator does."""
    command = [str(postgres_binary("psql")), "-X", "-h", str(server.directory), "-U", user, "-d", database]
    return subprocess.run([*command, "-f", str(ROLES_SQL)], capture_output=True, text=True, check=False)


def query(server: PostgresServer, database: str, statement: str) -> list[tuple[object, ...]]:
    """The rows of a statement, as the superuser sees them."""
    with server.connect(database) as connection:
        return connection.execute(statement.encode()).fetchall()
