"""Connection strings: what is read from them, and what is refused before anything could be filled in."""

import pytest

from runner.connections import reading
from runner.connections.parsed import ConnectionInvalid, Dialect, System, Unwritable, check_filled
from vault.errors import InvalidToken

TOKEN = "{{ASSET.DB.PASSWORD}}"


@pytest.mark.parametrize(
    ("text", "system", "host", "user", "database"),
    [
        (
            f"postgresql+psycopg://app:{TOKEN}@db.example:5433/orders",
            System.POSTGRESQL,
            ("db.example", "5433"),
            "app",
            "orders",
        ),
        (f"postgres://app:{TOKEN}@[::1]/orders", System.POSTGRESQL, ("::1", ""), "app", "orders"),
        (f"mysql://app%40x:{TOKEN}@db/or%2Fders", System.MYSQL, ("db", ""), "app@x", "or/ders"),
        (f"host=db port=1 user='a b' dbname=o password={TOKEN}", System.POSTGRESQL, ("db", "1"), "a b", "o"),
        (
            f"Server=tcp:db,1434;Initial Catalog=o;User Id=app;Pwd={TOKEN};",
            System.SQLSERVER,
            ("db", "1434"),
            "app",
            "o",
        ),
        (
            f"Data Source=db; Database = 'o;o'; UID=\"a\"\"b\"; PASSWORD='{TOKEN}'",
            System.SQLSERVER,
            ("db", ""),
            'a"b',
            "o;o",
        ),
        (
            f"Driver={{ODBC Driver 18 for SQL Server}};Server=db,1;UID={{a;}}}}}};PWD={{{TOKEN}}}",
            System.SQLSERVER,
            ("db", "1"),
            "a;}",
            None,
        ),
        (
            f"jdbc:sqlserver://db:1433;databaseName=o;user=a;password={TOKEN}",
            System.SQLSERVER,
            ("db", "1433"),
            "a",
            "o",
        ),
        (f"jdbc:postgresql://db/o?user=a&password={TOKEN}", System.POSTGRESQL, ("db", ""), "a", "o"),
        (f'jdbc:oracle:thin:a/"{TOKEN}"@//db:1521/svc', System.ORACLE, ("db", "1521"), "a", "svc"),
        (f"jdbc:oracle:thin:a/{TOKEN}@db:1521:sid", System.ORACLE, ("db", "1521"), "a", "sid"),
    ],
)
def test_the_parts_of_a_connection_are_read_in_every_dialect(
    text: str, system: System, host: tuple[str, str], user: str, database: str | None
) -> None:
    found = reading.read(text)
    assert (found.system, found.hosts, found.user, found.database) == (system, (host,), user, database)
    assert found.password == TOKEN


def test_a_reference_may_stand_in_any_value_alone_or_inside_of_text() -> None:
    text = "postgresql://{{ASSET.A.USER}}:x{{ASSET.A.B}}y@db-{{ASSET.A.H}}.example:{{ASSET.A.P}}/{{ASSET.A.D}}"
    found = reading.read(text + "?application_name={{ASSET.A.N}}")
    values = {"USER": "u:@/", "B": "p}", "H": "eu", "P": "6000", "D": "d?x=y", "N": "n&m"}

    def fill(_name: str, part: str) -> str:
        for name, value in values.items():
            part = part.replace(f"{{{{ASSET.A.{name}}}}}", value)
        return part

    filled = found.filled(fill)
    check_filled(filled)
    assert (filled.user, filled.password, filled.hosts) == ("u:@/", "xp}y", (("db-eu.example", "6000"),))
    assert (filled.database, filled.options) == ("d?x=y", (("application_name", "n&m"),))
    assert reading.parse(reading.write(filled)) == filled


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("postgresql://app:hunter2@db/o", "password itself"),
        ("Server=db;User ID=a;Password=hunter2", "password itself"),
        (f"Server=db;Pwd={TOKEN};Password={TOKEN}", "twice"),
        (f"Server=db;Data Source=other;Password={TOKEN}", "twice"),
        (f"postgresql://a:{TOKEN}@db/o?host=evil", "twice"),
        (f"postgresql://a:{TOKEN}@db/o?password=x", "twice"),
        (f"jdbc:sqlserver://db:1;port=2;user=a;password={TOKEN}", "twice"),
        (f"Server=db;{TOKEN}=x", "not taken"),
        ("postgresql://a:%7B%7BASSET.DB.PASSWORD%7D%7D@db/o", "other characters"),
        (f"host=db hostaddr=10.0.0.1 password={TOKEN}", "hostaddr"),
        (f"host=db service=x password={TOKEN}", "service"),
        (f"host=db passfile=/etc/x password={TOKEN}", "passfile"),
        ("DRIVER={ODBC Driver 18 for SQL Server};DSN=x", "hides the host"),
        (f"DRIVER=/tmp/evil/postgres.so;SERVER=db;PWD={TOKEN}", "path"),
        ("Server=db;Integrated Security=true", "identity"),
        (f"Server=db\\INSTANCE;Password={TOKEN}", "port of the instance"),
        (f"Server=db;Passwort={TOKEN}", "did you mean password"),
        (f"host=db password='{TOKEN}", "does not close"),
        (f'Server=db;Password="{TOKEN}', "does not close"),
        (f"DRIVER={{ODBC Driver 18 for SQL Server}};SERVER=db;PWD={{a{TOKEN}", "does not close"),
        (f"postgresql://:{TOKEN}@/o", "no host"),
        ("ftp://db/o", "scheme is none"),
        ("secret://DB/URL", "its parts"),
        ("sqlite:///relative.db", "whole path"),
        ("postgresql://a@db/\U000f0000", "private character"),
    ],
)
def test_what_could_lead_elsewhere_is_refused_when_it_is_read(text: str, words: str) -> None:
    with pytest.raises(ConnectionInvalid) as refused:
        reading.read(text)
    assert words in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_text_that_begins_a_reference_and_is_none_is_refused() -> None:
    with pytest.raises(InvalidToken):
        reading.read("postgresql://a:{{ASSET.DB}}@db/o")


@pytest.mark.parametrize(
    ("part", "value"), [("host", "db,evil"), ("host", "db/x"), ("host", "a b"), ("port", "1,2"), ("password", "a\0b")]
)
def test_a_value_that_is_no_host_or_port_or_holds_nul_is_refused_by_its_part(part: str, value: str) -> None:
    found = reading.read(f"host=db port=1 user=a password={TOKEN}")
    filled = found.filled(lambda name, text: value if name == part else text)
    with pytest.raises(Unwritable) as refused:
        check_filled(filled)
    assert refused.value.part == part


def test_an_oracle_url_cannot_carry_a_double_quote_and_says_so() -> None:
    filled = reading.read(f"jdbc:oracle:thin:a/{TOKEN}@//h:1/s").filled(
        lambda name, text: '"' if name == "password" else text
    )
    with pytest.raises(Unwritable):
        reading.write(filled)
    assert filled.dialect is Dialect.JDBC
