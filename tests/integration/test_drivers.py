"""What drivers say when something fails never holds a value, and a driver that is missing is named with its extra."""

import contextlib
import socket
import sqlite3
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.worker.failures import SourceFailed
from runner.worker.questions import Question
from tests.sources import Opener, folder_policy
from tests.support import free_port

CANARY = "Kanari-2f7c91;x'}"
CONNECTIONS = {
    "psycopg": "postgresql://{user}:{password}@127.0.0.1:{port}/{user}",
    "pymysql": "mysql://{user}:{password}@127.0.0.1:{port}/{user}",
    "pymssql": "Server=127.0.0.1,{port};User ID={user};Password={password};Database={user};Encrypt=false",
    "oracledb": "jdbc:oracle:thin:{user}/{password}@//127.0.0.1:{port}/x",
    "pyodbc": "DRIVER={{PostgreSQL Unicode}};SERVER=127.0.0.1;PORT={port};UID={user};PWD={password};DATABASE={user}",
    "pyodbc without its driver": "DRIVER={{No SQL Server}};SERVER=127.0.0.1,{port};UID={user};PWD={password}",
}


@pytest.fixture(params=[b"", b"HTTP/1.1 400 Kanari-2f7c91\r\n\r\n", b"\xff" * 200], ids=["closes", "http", "noise"])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    """A server that is none: it says something else, and hangs up."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        while True:
            try:
                taken, _ = listener.accept()
            except OSError:
                return
            with taken, contextlib.suppress(OSError):
                taken.sendall(request.param)

    thread = threading.Thread(target=answer)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)


# oracledb forgets its socket where the other side hung up, and leaves it to the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("driver", CONNECTIONS)
def test_an_error_of_a_driver_names_the_field_and_holds_no_value(driver: str, port: int) -> None:
    text = CONNECTIONS[driver].format(user="{{ASSET.DB.USER}}", password="{{ASSET.DB.PASSWORD}}", port=port)
    opener = Opener({"DB.USER": "kanariuser", "DB.PASSWORD": CANARY})
    with pytest.raises(SourceFailed) as failed:
        opener.check(connection=text, query="SELECT 1", connect_timeout="2s")
    shown = failed.value.sentence("orders", "dev") + repr(failed.value)
    assert failed.value.field.startswith("connection")
    assert "2f7c91" not in shown
    assert "kanariuser" not in shown


@pytest.mark.parametrize("driver", ["pymysql", "pymssql", "oracledb"])
def test_a_driver_that_is_missing_is_named_with_its_extra(driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    extras = {"pymysql": "mysql", "pymssql": "mssql", "oracledb": "oracle"}
    monkeypatch.setitem(sys.modules, driver, None)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        text = CONNECTIONS[driver].format(user="u", password="{{ASSET.DB.PASSWORD}}", port=listener.getsockname()[1])
        with pytest.raises(SourceFailed) as failed:
            Opener({"DB.PASSWORD": CANARY}).check(connection=text, query="SELECT 1")
    assert f"botkeep[{extras[driver]}]" in failed.value.detail


def test_a_certificate_that_cannot_be_checked_is_not_taken_for_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        text = f"mssql://u:{{{{ASSET.DB.PASSWORD}}}}@127.0.0.1:{listener.getsockname()[1]}/d"
        with pytest.raises(SourceFailed) as failed:
            Opener({"DB.PASSWORD": CANARY}).check(connection=text, query="SELECT 1", tls="verify")
    assert failed.value.field == "tls"


def test_a_parquet_file_without_its_library_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "x.db"
    sqlite3.connect(path).close()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    opener = Opener({}, policy=folder_policy(tmp_path))
    opened = opener.open(connection=f"sqlite:///{path}", query="SELECT 1")
    with pytest.raises(SourceFailed, match=r"botkeep\[parquet\]"):
        next(opened.answer(Question("GET", "", {"format": "parquet"})).chunks)
    opened.close(succeeded=False)


def test_a_port_where_nobody_listens_is_not_reachable() -> None:
    text = CONNECTIONS["pymssql"].format(user="u", password="{{ASSET.DB.PASSWORD}}", port=free_port())
    with pytest.raises(SourceFailed) as failed:
        Opener({"DB.PASSWORD": CANARY}).check(connection=text, query="SELECT 1")
    assert failed.value.sentence("a", "dev").startswith("a in dev: not reachable")
