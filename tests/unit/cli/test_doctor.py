"""Each thing a new operator gets wrong is found, and its mend is said."""

import sqlite3
import sys
from collections.abc import Iterable
from dataclasses import astuple
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from cli import processes
from cli.client import Probe
from cli.database_checks import check_database
from cli.doctor import (
    check_bot_users,
    check_broker,
    check_home,
    check_local_values,
    jobs_wait,
    judge_broker,
    judge_disk,
    judge_local_values,
    judge_python,
    judge_ready,
)
from cli.finding import Finding
from cli.home import Home
from cli.key_checks import check_keys
from cli.row_checks import check_rows
from tests.support import a_closed_folder, an_ordinary_user
from tests.unit.cli.conftest import Answer, Botkeep, Console, items
from vault.decrypt import Identity
from vault.identities import create_key_file

NOW = datetime(2026, 8, 1, 12, tzinfo=UTC)
SOUND = {"aof_enabled": "1", "maxmemory_policy": "noeviction", "redis_version": "7.0.15", "cluster_enabled": "0"}


def levels(findings: Iterable[Finding]) -> dict[str, str]:
    return {finding.name: finding.level for finding in findings}


def mends(findings: Iterable[Finding]) -> str:
    return " ".join(finding.mend for finding in findings)


def test_a_home_that_others_can_enter_fails_with_the_command_that_mends_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    finding, _ = check_home(Home(tmp_path))
    assert (finding.level, finding.mend) == ("fail", f"chmod 700 {tmp_path}")
    tmp_path.chmod(0o700)
    assert levels(check_home(Home(tmp_path)))["home"] == "ok"
    tmp_path.chmod(0o711)  # as a runner leaves it whose bots have users of their own
    assert levels(check_home(Home(tmp_path)))["home"] == "ok"
    tmp_path.chmod(0o701 | 0o004)
    assert levels(check_home(Home(tmp_path)))["home"] == "fail"


def test_a_home_that_is_closed_to_us_is_said_so_by_every_check(
    botkeep: Botkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_closed_folder() as folder:
        for name in ("keys", "broker", "run"):
            (folder / name).mkdir()
        folder.chmod(0o000)
        monkeypatch.setenv("BOTKEEP_HOME", str(folder))
        with an_ordinary_user():
            looked, status, down = botkeep("doctor"), botkeep("status"), botkeep("down")
    for check in ("home", "keys", "broker", "client"):
        assert f"fail  {check}: {folder}" in looked.out
    assert looked.status == 1
    for done in (status, down):
        assert (done.status, done.out) == (1, "")
        assert done.err.startswith(f"botkeep: {folder}/run/up.lock: Permission denied. Run Botkeep")


def test_each_key_file_is_judged_by_itself(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    create_key_file(keys / "dev.key", Identity.generate("dev"))
    (keys / "staging.key").write_text("not read")
    (keys / "staging.key").chmod(0o640)
    (keys / "prod.key").symlink_to(keys / "dev.key")
    found = list(check_keys(Home(tmp_path), {}))
    assert levels(found) == {"keys": "ok", "key dev": "ok", "key staging": "fail", "key prod": "fail"}
    assert f"chmod 600 {keys / 'staging.key'}" in mends(found)
    (keys / "prod.key").unlink()
    assert levels(check_keys(Home(tmp_path), {}))["key prod"] == "warn"
    (keys / "prod.key").mkdir(mode=0o700)
    assert levels(check_keys(Home(tmp_path), {}))["key prod"] == "fail"


def test_keys_of_a_command_or_of_the_service_manager_are_known(tmp_path: Path) -> None:
    def found(**environ: str) -> Finding:
        (one,) = check_keys(Home(tmp_path), environ)
        return one

    assert found(BOTKEEP_KEY_COMMAND='["sh", "{environment}"]').level == "ok"
    assert "not there" in found(BOTKEEP_KEY_COMMAND='["no-such-program"]').message
    for wrong in ("sh", "[]", "[1]", "{}"):
        assert "no JSON list" in found(BOTKEEP_KEY_COMMAND=wrong).message
    create_key_file(tmp_path / "prod.key", Identity.generate("prod"))
    passed, key = check_keys(Home(tmp_path), {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert (passed.level, f"the keys of prod in {tmp_path}" in passed.message) == ("ok", True)
    assert (key.name, key.level, "holds 1 key of prod" in key.message) == ("key prod", "ok", True)


def test_keys_are_looked_for_where_the_runner_looks(tmp_path: Path) -> None:
    keys = tmp_path / "elsewhere"
    environ = {"BOTKEEP_KEY_DIR": str(keys)}
    (missing,) = check_keys(Home(tmp_path), environ)
    assert (missing.level, "BOTKEEP_KEY_DIR" in missing.mend) == ("fail", True)
    create_key_file(keys / "dev.key", Identity.generate("dev"))
    found = list(check_keys(Home(tmp_path), environ))
    assert [(each.name, each.level) for each in found] == [
        ("keys", "ok"), ("key dev", "ok"), ("key staging", "warn"), ("key prod", "warn"),
    ]  # fmt: skip
    assert f"{keys / 'dev.key'} holds 1 key of dev" in found[1].message
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere"], "something was made"


def test_what_only_its_owner_can_read_and_is_no_key_fails(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o700)
    (keys / "dev.key").touch(mode=0o600)
    create_key_file(keys / "prod.key", Identity.generate("staging"))
    found = {finding.name: finding for finding in check_keys(Home(tmp_path), {})}
    assert (found["key dev"].level, "there is no key" in found["key dev"].message) == ("fail", True)
    assert (found["key prod"].level, "may have been swapped" in found["key prod"].message) == ("fail", True)


def test_rows_that_cannot_be_looked_at_are_a_warning_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "botkeep.db").write_bytes(b"no database" * 1000)
    (finding,) = check_rows(Home(tmp_path), {})
    assert (finding.level, "file is not a database" in finding.message) == ("warn", True)


@pytest.mark.parametrize(
    ("name", "setting", "why"),
    [
        ("BOTKEEP_CONCURRENCY", "many", "BOTKEEP_CONCURRENCY: Input should be a valid integer"),
        ("BOTKEEP_DATABASE_URL", "postgresql:://u:x7!Kq@host/db", "BOTKEEP_DATABASE_URL is not an address"),
        ("BOTKEEP_DATABASE_URL", "mysql://u:x7!Kq@host/db", "BOTKEEP_DATABASE_URL"),
    ],
)
def test_keys_that_cannot_be_looked_at_are_a_warning_with_the_reason(
    tmp_path: Path, name: str, setting: str, why: str
) -> None:
    create_key_file(tmp_path / "keys" / "dev.key", Identity.generate("dev"))
    found = list(check_keys(Home(tmp_path), {name: setting}))
    assert [(each.name, each.level) for each in found if each.level != "ok"] == [
        ("key staging", "warn"), ("key prod", "warn"), ("keys", "warn"),
    ]  # fmt: skip
    assert found[-1].message.startswith(f"What is in them could not be looked at. {why}")
    assert "key_findings" in found[-1].mend
    assert "x7!Kq" not in repr(found)


def test_keys_whose_process_takes_too_long_are_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_key_file(tmp_path / "keys" / "dev.key", Identity.generate("dev"))
    monkeypatch.setattr(processes, "PATIENCE", 0.01)
    *_, finding = check_keys(Home(tmp_path), {})
    assert (finding.level, "It took more than 0.01 s." in finding.message) == ("warn", True)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("", ""),
        ("Traceback (most recent call last):\n  x\nValueError: x7!Kq\n", ""),
        ("A warning.\nThe \x1b[31mreason.\n", "The ?[31mreason."),
        ("long " * 1000, ("long " * 60)),
    ],
)
def test_a_process_that_says_nothing_is_quoted_with_its_last_sentence_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, shown: str
) -> None:
    (tmp_path / "said").write_text(said)
    program = "import sys, pathlib; sys.stderr.write(pathlib.Path(sys.argv[1]).read_text())"
    monkeypatch.setattr(processes, "module", lambda *words: (sys.executable, "-c", program, words[1]))
    answer = processes.answer_or_reason("a.module", str(tmp_path / "said"), home=tmp_path, environ={})
    assert answer == (None, shown)


@pytest.mark.parametrize(
    ("found", "level", "words"),
    [
        ({"protection": "file", "locked": False, "set": 2, "missing": 1, "orphans": 0}, "ok", "2 set, 1 missing"),
        ({"locked": True, "waiting": ["inv", "pay"]}, "fail", "these bots need them: inv, pay"),
        ({"locked": True, "waiting": []}, "warn", "no bot needs them"),
        ({"error": {"message": "The file is cut short."}}, "fail", "cut short"),
    ],
)
def test_locked_local_values_that_bots_wait_for_are_a_fault(found: dict[str, object], level: str, words: str) -> None:
    finding = judge_local_values(found)
    assert finding.level == level
    assert words in finding.message


@pytest.mark.parametrize(
    ("arguments", "prefix", "level"),
    [
        ("'--enable-optimizations' '--with-lto'", "/usr/local", "ok"),
        ("'--enable-shared'", "/usr", "ok"),
        ("'--enable-shared'", "/home/ann/.pyenv/versions/3.11.7", "warn"),
        ("", "/opt/python", "warn"),
    ],
)
def test_a_python_that_was_built_without_optimisation_is_noticed(arguments: str, prefix: str, level: str) -> None:
    finding = judge_python(arguments, prefix=prefix)
    assert (finding.level, prefix in finding.message) == (level, level == "warn")
    assert bool(finding.mend) == (level == "warn")


def test_local_values_are_asked_for_where_there_are_any(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert list(check_local_values(home, {})) == []
    (tmp_path / "local").mkdir(mode=0o700)
    (tmp_path / "local" / "values.json").write_text("{")
    (tmp_path / "local" / "values.json").chmod(0o600)
    (finding,) = check_local_values(home, {})
    assert (finding.level, "key" in finding.message) == ("fail", True)


def test_users_for_bots_are_asked_for_where_the_setting_names_some(tmp_path: Path) -> None:
    ((name, level, message, _),) = map(astuple, check_bot_users(Home(tmp_path), {}))
    assert (name, level, "BOTKEEP_BOT_USERS" in message) == ("bot users", "ok", True)
    few = {"BOTKEEP_BOT_USERS": "370000-370001", "BOTKEEP_CONCURRENCY": "3"}
    first, *_ = check_bot_users(Home(tmp_path), few)
    assert (first.level, first.message) == ("fail", "BOTKEEP_BOT_USERS names 2 users for 3 bots at the same time.")


@pytest.mark.parametrize(
    ("change", "name", "level"),
    [
        ({}, "broker persistence", "ok"),
        ({"aof_enabled": "0"}, "broker persistence", "warn"),
        ({"maxmemory_policy": "allkeys-lru"}, "broker eviction", "fail"),
        ({"cluster_enabled": "1"}, "broker cluster", "fail"),
    ],
)
def test_a_broker_that_forgets_is_found(change: dict[str, str], name: str, level: str) -> None:
    assert levels(judge_broker(SOUND | change))[name] == level


def test_stores_that_are_away_fail_without_their_passwords(home: Path) -> None:
    environ = {
        "BOTKEEP_DATABASE_URL": "postgresql+psycopg://ann:hunter2@127.0.0.1:1/x",
        "BOTKEEP_REDIS_URL": "redis://:hunter2@127.0.0.1:1",
    }
    found = [*check_database(Home(home), environ), *check_broker(Home(home), environ)]
    assert levels(found) == {"database": "fail", "broker": "fail"}
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize("url", ["http://x", "redis://:hunter2#3@h:1/0", "hunter2", "redis://:hunter2@h:port/0"])
def test_an_address_that_is_none_is_said_to_be_none_and_not_quoted(home: Path, url: str) -> None:
    (finding,) = check_broker(Home(home), {"BOTKEEP_REDIS_URL": url})
    assert (finding.level, finding.message) == ("fail", "What is in BOTKEEP_REDIS_URL is not an address.")
    assert "percent-encoded" in finding.mend
    assert "hunter2" not in repr(finding)


@pytest.mark.parametrize(
    ("url", "why"),
    [("redis://:hunter2@127.0.0.1:1", "The broker cannot be asked"), ("nowhere", "BOTKEEP_REDIS_URL is not an addr")],
)
def test_it_is_said_at_once_why_jobs_would_wait(home: Path, url: str, why: str) -> None:
    said = jobs_wait(Home(home), {"BOTKEEP_REDIS_URL": url})
    assert said is not None
    assert said.startswith("Jobs wait until this is mended. ")
    assert why in said
    assert "hunter2" not in said


def test_a_database_that_is_no_database_fails(home: Path) -> None:
    Home(home).database.write_text("hello" * 100)
    assert levels(check_database(Home(home), {})) == {"database": "fail"}


def test_an_embedded_database_in_wal_mode_is_fine(home: Path) -> None:
    database = sqlite3.connect(Home(home).database)
    database.execute("PRAGMA journal_mode=wal")
    database.execute("CREATE TABLE t (x)")
    database.close()
    Home(home).database.chmod(0o600)
    assert levels(check_database(Home(home), {})) == {"database": "ok"}


def test_a_disk_that_is_nearly_full_is_a_fault(tmp_path: Path) -> None:
    assert judge_disk(Home(tmp_path), 2**30).level == "ok"
    found = judge_disk(Home(tmp_path), 5 * 2**20)
    assert (found.level, found.message) == ("fail", f"The disk of {tmp_path} has 5 MiB left.")


@pytest.mark.parametrize(("behind", "level"), [(0, "ok"), (10, "warn"), (-90, "fail")])
def test_a_clock_that_differs_is_found(behind: float, level: str) -> None:
    probe = Probe(200, {}, NOW - timedelta(seconds=behind))
    assert levels(judge_ready(probe, now=NOW))["clock"] == level


def test_a_console_that_is_not_ready_is_quoted() -> None:
    body = {"error": {"code": "unavailable", "message": "The database does not answer."}}
    found = list(judge_ready(Probe(503, body, None), now=NOW))
    assert levels(found)["console"] == "fail"
    assert "The database does not answer." in found[0].message


def test_another_version_of_the_console_is_a_warning() -> None:
    assert levels(judge_ready(Probe(200, {"version": "0.0.1"}, None), now=NOW))["version"] == "warn"


def test_the_command_exits_with_1_when_something_fails(console: Console, botkeep: Botkeep, home: Path) -> None:
    date = {"Date": format_datetime(datetime.now(UTC), usegmt=True)}
    console.on("GET", "/readyz", Answer({"status": "ready"}, headers=date))
    console.on("GET", "/api/v1/bots", items())
    result = botkeep("doctor", "--json")
    assert result.status == 0
    assert {"check": "token", "level": "ok", "message": "The console takes the token.", "mend": ""} in result.lines
    console.on("GET", "/api/v1/bots", Answer({"error": {"message": "No such token."}}, 401))
    result = botkeep("doctor")
    assert result.status == 1
    assert "fail  console: No such token." in result.out
    home.chmod(0o755)
    assert f"chmod 700 {home}" in botkeep("doctor").out
