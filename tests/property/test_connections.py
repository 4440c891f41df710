"""Whatever values are put into a connection, each arrives as that part, in every dialect and for its own readers."""

from dataclasses import replace

import psycopg.conninfo
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sqlalchemy import make_url

from runner.connections import reading
from runner.connections.parsed import Connection, Dialect, System

#: Texts that are full of what dialects mean something by.
nasty = st.text(
    alphabet=st.sampled_from(" ;=,'\"{}[]()@/\\:?&#%+|\t\n")
    | st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
    max_size=30,
)
some = nasty.filter(bool)

TEMPLATES = {
    "url": "postgresql://{{ASSET.A.U}}:{{ASSET.A.P}}@{{ASSET.A.H}}:{{ASSET.A.N}}/{{ASSET.A.D}}",
    "libpq": "host={{ASSET.A.H}} port={{ASSET.A.N}} user={{ASSET.A.U}} password='{{ASSET.A.P}}' dbname={{ASSET.A.D}}",
    "adonet": 'Server={{ASSET.A.H}},{{ASSET.A.N}};UID={{ASSET.A.U}};PWD="{{ASSET.A.P}}";Database={{ASSET.A.D}}',
    "odbc": "DRIVER={ODBC Driver 18 for SQL Server};SERVER={{ASSET.A.H}},{{ASSET.A.N}};UID={{ASSET.A.U}};"
    "PWD={{{ASSET.A.P}}};DATABASE={{ASSET.A.D}}",
    "jdbc": "jdbc:mysql://{{ASSET.A.H}}:{{ASSET.A.N}}/{{ASSET.A.D}}?user={{ASSET.A.U}}&password={{ASSET.A.P}}",
    "jdbc sqlserver": "jdbc:sqlserver://{{ASSET.A.H}}:{{ASSET.A.N}};user={{ASSET.A.U}};password={{ASSET.A.P}};"
    "databaseName={{ASSET.A.D}}",
    "jdbc oracle": 'jdbc:oracle:thin:{{ASSET.A.U}}/"{{ASSET.A.P}}"@//{{ASSET.A.H}}:{{ASSET.A.N}}/{{ASSET.A.D}}',
}


def filled(name: str, user: str, password: str, database: str) -> Connection:
    values = {"U": user, "P": password, "D": database, "H": "db.example", "N": "6543"}
    template = reading.read(TEMPLATES[name])
    return template.filled(
        lambda _name, part: next((values[k] for k in values if part == f"{{{{ASSET.A.{k}}}}}"), part)
    )


@pytest.mark.parametrize("name", TEMPLATES)
@given(user=some, password=nasty, database=some)
def test_values_come_back_from_a_written_connection_as_they_went_in(
    name: str, user: str, password: str, database: str
) -> None:
    if "oracle" in name:
        assume(not {'"', "/"} & set(user + password + database) and database.isalnum())
    made = filled(name, user, password, database)
    again = reading.parse(reading.write(made))
    assert (again.user, again.password, again.database) == (user, password, database)
    assert (again.hosts, again.options, again.system) == (made.hosts, made.options, made.system)


@given(user=some, password=some, database=some)
def test_libpq_reads_what_we_write(user: str, password: str, database: str) -> None:
    for dialect in (Dialect.LIBPQ, Dialect.URL):
        made = replace(filled("libpq", user, password, database), dialect=dialect, scheme="postgresql")
        read = psycopg.conninfo.conninfo_to_dict(reading.write(made))
        assert (read["user"], read["password"], read["dbname"]) == (user, password, database)
        assert (read["host"], read["port"]) == ("db.example", "6543")
        assert set(read) == {"user", "password", "dbname", "host", "port"}


@given(user=some, password=nasty, database=some)
def test_sqlalchemy_reads_what_we_write(user: str, password: str, database: str) -> None:
    read = make_url(reading.write(filled("url", user, password, database)))
    assert (read.username, read.password, read.host, read.port) == (user, password, "db.example", 6543)
    assert read.query == {}
    assert read.database is not None


@given(password=nasty)
def test_a_system_is_never_changed_by_a_value(password: str) -> None:
    for name in TEMPLATES:
        if "oracle" in name and '"' in password:
            continue
        made = filled(name, "u", password, "d")
        assert reading.parse(reading.write(made)).hosts == (("db.example", "6543"),)
        assert made.system in set(System)
