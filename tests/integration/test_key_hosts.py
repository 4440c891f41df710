"""A host with the keys of some environments, as those who rotate and verify there use it."""

import socket
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from cli.finding import Finding
from cli.home import Home
from cli.key_checks import check_keys
from tests import nursery
from tests.nursery import Program
from tests.support import Stores, clean_environment
from vault.decrypt import Identity
from vault.identities import create_key_file


def vault(stores: Stores, home: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    env = {**clean_environment(), **stores.environment, "BOTKEEP_HOME": str(home)}
    return nursery.run(Program("vault"), *argv, env=env)


def test_what_has_no_key_pair_is_not_verified_and_a_key_that_is_missing_is(stores: Stores, home: Path) -> None:
    assert vault(stores, home, "keygen", "--env", "prod").returncode == 0
    verified = vault(stores, home, "verify")
    assert (verified.returncode, verified.stderr) == (0, ""), verified.stderr
    asked = vault(stores, home, "verify", "--env", "dev")
    assert (asked.returncode, "make it on a key host: python -m vault keygen --env dev" in asked.stderr) == (5, True)
    (home / "keys" / "prod.key").unlink()
    lost = vault(stores, home, "verify")
    assert (lost.returncode, "prod.key: bring it from a key host or from a backup." in lost.stderr) == (5, True)


@pytest.fixture
def key_host(stores: Stores, home: Path) -> Path:
    """The home of a host with the keys of every environment, which the database knows."""
    made = vault(stores, home, "keygen", "--all")
    assert made.returncode == 0, made.stderr
    return home


def doctor(stores: Stores, home: Path, **environ: str) -> dict[str, Finding]:
    env = {**clean_environment(), **stores.environment, **environ}
    return {finding.name: finding for finding in check_keys(Home(home), env)}


def test_doctor_knows_the_keys_of_the_database(stores: Stores, key_host: Path) -> None:
    found = doctor(stores, key_host)
    assert [(name, finding.level) for name, finding in found.items()] == [
        ("keys", "ok"), ("key dev", "ok"), ("key staging", "ok"), ("key prod", "ok"),
    ]  # fmt: skip
    assert "prod.key holds 1 key of prod, and the database's is among them." in found["key prod"].message


def spoil(keys: Path, how: str) -> None:
    if how == "swapped":
        (keys / "dev.key").rename(keys / "kept")
        (keys / "prod.key").rename(keys / "dev.key")
        (keys / "kept").rename(keys / "prod.key")
        return
    (keys / "prod.key").unlink()
    create_key_file(keys / "prod.key", Identity.generate("prod"))


@pytest.mark.parametrize(
    ("how", "faults", "words"),
    [
        ("swapped", ["key dev", "key prod"], "put each environment's key file in its own place"),
        ("foreign", ["key prod"], "Put the right key file in place; nothing was overwritten."),
    ],
)
def test_doctor_finds_keys_that_a_runner_would_refuse(
    stores: Stores, key_host: Path, how: str, faults: list[str], words: str
) -> None:
    spoil(key_host / "keys", how)
    found = doctor(stores, key_host)
    assert [name for name, finding in found.items() if finding.level == "fail"] == faults
    assert all(words in found[name].message for name in faults)
    spoiled = (key_host / "keys" / "prod.key").read_text().splitlines()[-1]
    assert spoiled[30:60] not in repr(found)


def test_doctor_says_where_the_database_knows_no_key_and_registers_none(stores: Stores, home: Path) -> None:
    create_key_file(home / "keys" / "prod.key", Identity.generate("prod"))
    for _ in range(2):
        found = doctor(stores, home)
        assert (found["key prod"].level, "keygen --env prod" in found["key prod"].mend) == ("warn", True)


def test_doctor_asks_nobody_for_a_passphrase(stores: Stores, key_host: Path, tmp_path: Path) -> None:
    (key_host / "keys" / "prod.key").unlink()
    words = tmp_path / "words"
    words.write_text("correct horse battery staple\n")
    words.chmod(0o600)
    create_key_file(
        key_host / "keys" / "prod.key", Identity.generate("prod"), passphrase=lambda _: words.read_text()[:-1]
    )
    finding = doctor(stores, key_host)["key prod"]
    assert (finding.level, "protected by a passphrase" in finding.message) == ("ok", True)
    finding = doctor(stores, key_host, BOTKEEP_KEY_PASSPHRASE_FILE=str(words))["key prod"]
    assert (finding.level, "does not open what the database" in finding.message) == ("fail", True)


def test_doctor_judges_keys_also_while_the_database_is_away(stores: Stores, key_host: Path) -> None:
    away = {"BOTKEEP_DATABASE_URL": "postgresql+psycopg://ann@127.0.0.1:1/x"}
    finding = doctor(stores, key_host, **away)["key prod"]
    assert (finding.level, "cannot be asked" in finding.message) == ("ok", True)
    spoil(key_host / "keys", "swapped")
    assert doctor(stores, key_host, **away)["key prod"].level == "fail"


def test_doctor_asks_a_database_that_is_away_once_for_all_keys(stores: Stores, key_host: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port, calls = listening.getsockname()[1], []

        def hang_up() -> None:
            with suppress(OSError):
                while True:
                    listening.accept()[0].close()
                    calls.append(port)

        answering = threading.Thread(target=hang_up, daemon=True)
        answering.start()
        url = f"postgresql+psycopg://nobody@127.0.0.1:{port}/none?sslmode=disable&gssencmode=disable"
        found = doctor(stores, key_host, BOTKEEP_DATABASE_URL=url)
        listening.shutdown(socket.SHUT_RDWR)
        answering.join()
    assert [found[f"key {name}"].level for name in ("dev", "staging", "prod")] == ["ok"] * 3
    assert all("the database cannot be asked" in found[f"key {name}"].message for name in ("dev", "staging", "prod"))
    assert len(calls) == 1
