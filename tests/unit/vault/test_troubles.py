"""What a driver's error becomes: a sentence that says what to do."""

import sqlite3
from pathlib import Path

import psycopg
import pytest

from vault.db import trouble
from vault.errors import Unavailable


def sqlite_without_room(path: Path) -> sqlite3.Error:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(sqlite3.Error) as caught:
        connection.execute("CREATE TABLE much (text)")
    connection.close()
    return caught.value


def test_a_full_disk_is_no_database_to_wait_for(tmp_path: Path) -> None:
    for error in (sqlite_without_room(tmp_path / "small.db"), psycopg.errors.DiskFull("could not extend file")):
        told = trouble(error)
        assert isinstance(told, Unavailable)
        assert "cannot be written" in str(told)
        assert str(told).endswith("Make room where it is, then try again.")


def test_a_database_that_is_away_is_waited_for() -> None:
    told = trouble(psycopg.OperationalError("connection refused\nDETAIL: of a statement"))
    assert str(told) == "The database cannot be used now (connection refused); try again when it is back."
