"""A host with the keys of some environments, as those who rotate and verify there use it."""

import json
import socket
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import literal, select, update

from cli.finding import Finding
from cli.home import Home
from cli.key_checks import check_keys
from tests import nursery
from tests.nursery import Program
from tests.support import Stores, clean_environment
from tests.values import NOW, PASSWORD, USER, made_world
from vault import db, rotation
from vault.decrypt import Identity
from vault.identities import create_key_file
from vault.keyhost import Failure
from vault.models import Asset, AssetValue, CurrentValue


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


DAMAGES = {
    "a byte": update(AssetValue).where(AssetValue.number == 1).values(envelope=literal(b"no envelope")),
    "a number": update(AssetValue).where(AssetValue.number == 1).values(number=-5),
    "a name": update(Asset).where(Asset.name == USER.name).values(name="a-b"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_one_damaged_value_keeps_no_other_from_a_new_key_and_is_named(
    stores: Stores, home: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "BATCH", 2)
    with made_world(stores, home) as world:
        for value in (b"second", b"third", b"fourth"):
            world.set_value(PASSWORD, value)
        users = AssetValue.asset_id.in_(select(Asset.id).where(Asset.name == USER.name))
        with db.writing(world.engine) as session:
            session.execute(DAMAGES[damage] if damage == "a name" else DAMAGES[damage].where(users))
        keys = set()
        for _ in range(2):  # the second is a rotation of its own, not the rest of the first
            failures: list[Failure] = []
            steps = rotation.rotate(world.engine, "dev", settings=world.settings, failures=failures, now=NOW)
            assert [step.done for step in steps][-1] == 4
            assert [failure.asset for failure in failures] == ["SAP.a-b" if damage == "a name" else "SAP.USER"]
            with db.reading(world.engine) as session:
                (key,) = session.scalars(select(AssetValue.recipient_id).where(AssetValue.number == 4))
                numbers = session.scalars(select(AssetValue.number).where(AssetValue.recipient_id == key))
                assert sorted(numbers) == [1, 2, 3, 4]
            keys.add(key)
        assert len(keys) == 2
        rotated = vault(stores, home, "rotate", "--env", "dev")
        assert (rotated.returncode, "4 values are wrapped for the new key. 1 do not open and" in rotated.stdout) == (
            1,
            True,
        ), rotated
        verified = vault(stores, home, "verify", "--env", "dev", "--json")
        assert verified.returncode == 1
        assert json.loads(verified.stdout.splitlines()[-1]) == {
            "checked": 5,
            "failed": 2 if damage == "a number" else 1,  # the number in force is missing, too
        }


def test_a_value_that_is_in_force_and_gone_is_found(stores: Stores, home: Path) -> None:
    with made_world(stores, home) as world:
        with db.writing(world.engine) as session:
            session.execute(update(CurrentValue).values(number=7))
        verified = vault(stores, home, "verify")
        assert verified.returncode == 1
        for name in (USER, PASSWORD):
            words = f"dev {name} number 7: The value 7 of {name} in dev is in force, and it is not in the database."
            assert words in verified.stdout


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
