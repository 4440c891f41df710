"""Local values as a person uses them, on a folder: no database, no console, no network."""

import json
import stat
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked

from runner.local_values import Definition
from runner.worker.local import custody as custodies
from runner.worker.local import journal, known
from runner.worker.local.correspondence import Correspondence
from runner.worker.local.custody import Custody
from runner.worker.local.errors import Changed, Damaged, Locked, NotDeclared, NotSet
from runner.worker.local.host import Host
from runner.worker.local.known import Resident
from runner.worker.local.settings import LocalSettings
from runner.worker.local.values import LocalValues
from tests.local_values import NOW, PASSPHRASE, asset, make, revealed
from vault import private_files
from vault.errors import Conflict, IdentityFileError, InvalidValue
from vault.names import AssetName
from vault.reader import SealedValue

USER, PIN, OTHER = asset("SAP.USER"), asset("SAP.PIN"), asset("SAP.USER", "reports")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return make(tmp_path / "one", USER, PIN, OTHER)


def deeds(host: Host) -> list[str]:
    return [f"{line['action']} {line['outcome']}" for line in journal.read(host.folder)]


def test_a_value_is_its_bots_and_its_environments_alone(host: Host) -> None:
    host.set_value(USER, "dev", b"one", now=NOW)
    host.set_value(OTHER, "dev", b"two", now=NOW)
    host.set_value(USER, "prod", b"three", now=NOW)
    assert [revealed(host, USER), revealed(host, OTHER), revealed(host, USER, "prod")] == [b"one", b"two", b"three"]
    assert not any(part in host.store.path.read_bytes() for part in (b"one", b"two", b"three"))
    with pytest.raises(NotSet, match=r"botkeep local set reports SAP.USER --env prod"):
        revealed(host, OTHER, "prod")


def test_numbers_go_on_after_a_value_was_removed(host: Host) -> None:
    assert [host.set_value(USER, "dev", b"a value", now=NOW)[0].number for _ in range(2)] == [1, 2]
    host.remove("invoices", USER.name, ["dev"], now=NOW)
    with pytest.raises(NotSet):
        revealed(host, USER)
    assert host.set_value(USER, "dev", b"a value", now=NOW)[0].number == 3


@pytest.mark.parametrize("value", [b"", b"\0\xff nul", b"x" * 200_000], ids=["empty", "NUL", "large"])
def test_whatever_an_asset_may_hold_comes_back_byte_for_byte_and_with_advice(host: Host, value: bytes) -> None:
    _, advice = host.set_value(USER, "dev", value, now=NOW)
    assert revealed(host, USER) == value
    assert advice


def test_a_value_beyond_the_limit_is_refused(host: Host) -> None:
    with pytest.raises(InvalidValue, match="at most 1048576"):
        host.set_value(USER, "dev", b"x" * (1024 * 1024 + 1), now=NOW)
    assert not host.custody.exists


def test_an_unknown_name_is_refused_with_names_of_the_same_bot_only(host: Host) -> None:
    with pytest.raises(NotDeclared, match=r"Did you mean SAP.USER\?"):
        host.find("invoices", AssetName.parse("SAP.USR"))
    with pytest.raises(NotDeclared, match=r"Did you mean SAP.USER\?") as near:
        host.find("reports", AssetName.parse("SAP.USERS"))
    assert "PIN" not in str(near.value)
    with pytest.raises(NotDeclared, match=r"botkeep asset local SAP.USER --bot nobody"):
        host.find("nobody", AssetName.parse("SAP.USER"))


def test_the_files_are_for_their_owner_only_and_one_that_is_not_is_refused(host: Host) -> None:
    host.set_value(USER, "dev", b"a value", now=NOW)
    files = [host.store.path, host.custody.path, host.folder / "known.json", host.folder / "journal" / "deeds.jsonl"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    for path in files[:3]:
        path.chmod(0o644)
        with pytest.raises(IdentityFileError, match=r"can be used by others \(mode 0644\)"):
            revealed(host, USER)
        path.chmod(0o600)
    assert revealed(host, USER) == b"a value"


def test_a_file_that_was_edited_is_refused_and_left_as_it_is(host: Host) -> None:
    host.set_value(USER, "dev", b"a value", now=NOW)
    stored = json.loads(host.store.path.read_bytes())
    stored["values"][0]["environment"] = "prod"
    edited = json.dumps(stored).encode()
    host.store.path.write_bytes(edited)
    for deed in (
        lambda: revealed(host, USER, "prod"),
        lambda: host.set_value(PIN, "dev", b"another", now=NOW),
        host.verify,
    ):
        with pytest.raises(Damaged, match="changed by something else than Botkeep"):
            deed()
    assert host.store.path.read_bytes() == edited


def test_another_hosts_file_is_refused(host: Host, tmp_path: Path) -> None:
    second = make(tmp_path / "two", USER)
    for one in (host, second):
        one.set_value(USER, "dev", b"a value", now=NOW)
    second.store.path.write_bytes(host.store.path.read_bytes())
    with pytest.raises(Damaged, match=r"another host's .* `botkeep local export`"):
        revealed(second, USER)


def test_a_key_that_is_gone_is_never_replaced_while_there_are_values(host: Host) -> None:
    host.set_value(USER, "dev", b"a value", now=NOW)
    host.custody.path.unlink()
    with pytest.raises(IdentityFileError, match="restore it from a backup"):
        host.set_value(USER, "dev", b"another", now=NOW)
    assert not host.custody.path.exists()


def test_a_passphrase_locks_and_unlocks(host: Host, tmp_path: Path) -> None:
    host.set_value(USER, "dev", b"a value", now=NOW)
    host.protect("passphrase", PASSPHRASE, now=NOW)
    assert host.custody.state().locked
    assert [row.entries["dev"].number for row in host.rows() if row.entries] == [1], "names and ages need no key"
    for deed in (lambda: revealed(host, USER), lambda: host.set_value(USER, "dev", b"x", now=NOW)):
        with pytest.raises(Locked, match="botkeep local unlock"):
            deed()
    with pytest.raises(Locked, match="does not open"):
        host.unlock(PASSPHRASE + "!", now=NOW)
    where = host.unlock(PASSPHRASE, now=NOW)
    assert where.is_relative_to(tmp_path / "one" / "memory")
    assert stat.S_IMODE(where.stat().st_mode) == 0o600
    assert revealed(host, USER) == b"a value"
    host.lock(now=NOW)
    assert not where.exists()
    with pytest.raises(Locked):
        revealed(host, USER)
    assert deeds(host).count("local.unlocked refused") == 1
    assert deeds(host).count("local.revealed refused") == 2
    host.unlock(PASSPHRASE, now=NOW)
    with pytest.raises(IdentityFileError, match="at least 12"):
        host.protect("passphrase", "too short", now=NOW)


def test_a_passphrase_file_unlocks_without_anybody(host: Host, tmp_path: Path) -> None:
    host.set_value(USER, "dev", b"a value", now=NOW)
    host.protect("passphrase", PASSPHRASE, now=NOW)
    file = tmp_path / "passphrase"
    file.write_text(f"{PASSPHRASE}\n")
    settings = LocalSettings(home=tmp_path / "one", local_passphrase_file=file)
    unattended = Host(host.folder, Custody(settings, memory=()), actor="runner")
    file.chmod(0o640)
    with pytest.raises(IdentityFileError, match="can be used by others"):
        revealed(unattended, USER)
    file.chmod(0o600)
    assert revealed(unattended, USER) == b"a value"
    assert not unattended.custody.state().locked


def test_a_credential_of_the_service_manager_goes_before(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.set_value(USER, "dev", b"a value", now=NOW)
    passed = tmp_path / "credentials"
    passed.mkdir(mode=0o700)
    host.custody.path.rename(passed / "local.key")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(passed))
    unit = Host(host.folder, Custody(LocalSettings(home=tmp_path / "one"), memory=()), actor="runner")
    assert revealed(unit, USER) == b"a value"
    with pytest.raises(Conflict, match="change its credential"):
        unit.protect("file", None, now=NOW)


class Ring(KeyringBackend):
    """A keyring of this test: the real library, with nothing of the operating system behind it."""

    priority = 1

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # not annotated
        self.held: dict[tuple[str, str], str] = {}
        self.closed = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.closed:
            raise KeyringLocked
        return self.held.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.held[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.held[service, username]


@pytest.fixture
def ring() -> Iterator[Ring]:
    former, made = keyring.get_keyring(), Ring()
    keyring.set_keyring(made)
    yield made
    keyring.set_keyring(former)


def test_a_keyring_keeps_the_key(host: Host, ring: Ring) -> None:
    host.set_value(USER, "dev", b"a value", now=NOW)
    host.protect("keyring", None, now=NOW)
    assert [service for service, _ in ring.held] == [custodies.SERVICE]
    assert next(iter(ring.held.values())) not in host.custody.path.read_text()
    assert revealed(host, USER) == b"a value"
    ring.closed = True
    with pytest.raises(Locked, match="KeyringLocked"):
        revealed(host, USER)
    ring.closed = False
    host.protect("file", None, now=NOW)
    assert ring.held == {}
    assert revealed(host, USER) == b"a value"


def test_two_that_save_at_once_lose_nothing(host: Host) -> None:
    definitions = [asset(f"A.N{number}") for number in range(16)]
    known.write(host.folder, definitions)
    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(lambda one: host.set_value(one, "dev", str(one.name).encode(), now=NOW), definitions))
    assert host.verify() == 16
    assert all(revealed(host, one) == str(one.name).encode() for one in definitions)
    assert journal.broken(host.folder) is None


def test_whoever_saves_over_a_value_that_changed_meanwhile_is_told(host: Host) -> None:
    first, _ = host.set_value(USER, "dev", b"first", now=NOW, over=None)
    host.set_value(USER, "dev", b"second", now=NOW, over=first.number)
    for seen in (None, first.number):
        with pytest.raises(Changed, match="meanwhile"):
            host.set_value(USER, "dev", b"third", now=NOW, over=seen)
    assert revealed(host, USER) == b"second"


def test_a_writer_that_does_not_end_is_not_waited_for(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.worker.local.store.PATIENCE", timedelta(0))
    host.set_value(USER, "dev", b"a value", now=NOW)
    with private_files.locked(host.folder), pytest.raises(IdentityFileError, match="nothing was saved, try again"):
        host.set_value(USER, "dev", b"another", now=NOW)
    assert revealed(host, USER) == b"a value"


def test_what_is_not_declared_any_more_is_an_orphan_until_somebody_takes_it(host: Host) -> None:
    host.set_value(USER, "dev", b"a value", now=NOW)
    again = asset("SAP.USER", number=2)
    known.write(host.folder, [PIN, OTHER, again])
    orphans = [row for row in host.rows() if row.orphan]
    assert [row.definition.asset_id for row in orphans] == [USER.asset_id]
    assert revealed(host, USER) == b"a value"
    host.adopt(orphans[0], again, now=NOW + timedelta(days=1))
    assert not any(row.orphan for row in host.rows())
    taken = next(row for row in host.rows() if row.definition == again).entries["dev"]
    assert (taken.set_at, taken.number) == (NOW, 1), "its age is that of the value"
    assert revealed(host, again) == b"a value"


def test_an_export_brings_values_to_a_second_host(host: Host, tmp_path: Path) -> None:
    for definition, value in ((USER, b"\0 binary"), (PIN, b"1234"), (OTHER, b"two")):
        host.set_value(definition, "dev", value, now=NOW)
    file = tmp_path / "export.json"
    assert host.export(file, bot=None, passphrase=PASSPHRASE, now=NOW) == 3
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    # With signs that no base64 holds: three letters alone are somewhere in many a ciphertext.
    assert not any(name in file.read_bytes() for name in (b"SAP.USER", b'"SAP"'))
    with pytest.raises(Conflict, match="never written over"):
        host.export(file, bot=None, passphrase=PASSPHRASE, now=NOW)
    moved = asset("SAP.USER", number=2)
    second = make(tmp_path / "two", moved, PIN)
    second.set_value(PIN, "dev", b"its own", now=NOW)
    with pytest.raises(Locked, match="does not open"):
        second.take_in(file, passphrase=PASSPHRASE + "!", replacing=False, now=NOW)
    done = second.take_in(file, passphrase=PASSPHRASE, replacing=False, now=NOW + timedelta(days=1))
    assert [len(done.saved), [one.name for one in done.kept], len(done.orphans)] == [2, [PIN.name], 1]
    assert [revealed(second, moved), revealed(second, PIN), revealed(second, OTHER)] == [
        b"\0 binary",
        b"its own",
        b"two",
    ]
    second.take_in(file, passphrase=PASSPHRASE, replacing=True, now=NOW)
    assert revealed(second, PIN) == b"1234"
    assert second.custody.key().id != host.custody.key().id
    changed = file.read_text().replace('"made_at": "2026', '"made_at": "2027')
    file.write_text(changed)
    with pytest.raises(Locked, match="export again if it was changed"):
        second.take_in(file, passphrase=PASSPHRASE, replacing=True, now=NOW)
    file.write_text(changed[:-9])
    with pytest.raises(Damaged, match="cut short"):
        second.take_in(file, passphrase=PASSPHRASE, replacing=True, now=NOW)


def test_the_journal_says_who_did_what_and_notices_a_missing_line(host: Host) -> None:
    host.set_value(USER, "dev", b"a value", now=NOW)
    revealed(host, USER)
    host.remove("invoices", USER.name, ["dev"], now=NOW)
    assert deeds(host) == ["local.set done", "local.revealed done", "local.removed done"]
    path = host.folder / "journal" / "deeds.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    assert journal.broken(host.folder) is None
    path.write_bytes(lines[0] + lines[2])
    assert journal.broken(host.folder) == 2
    path.write_bytes(lines[0] + lines[1].replace(b"alice", b"malice") + lines[2])
    assert journal.broken(host.folder) == 2


def test_nothing_is_revealed_that_the_journal_cannot_say(host: Host) -> None:
    host.set_value(USER, "dev", b"a value", now=NOW)
    path = host.folder / "journal" / "deeds.jsonl"
    path.unlink()
    path.symlink_to("/dev/null")
    with pytest.raises(IdentityFileError, match="nothing was done"):
        revealed(host, USER)


def sealed(*definitions: Definition) -> list[SealedValue]:
    return [SealedValue(one.asset_id, one.name, "local", "-", None, None, local=True) for one in definitions]


def test_a_worker_finds_what_is_here_and_notices_a_change_and_a_lock(host: Host) -> None:
    values = LocalValues(host.store, host.custody)
    assert values.find(sealed(USER, PIN), "dev") == {}
    host.set_value(USER, "dev", b"first", now=NOW)
    found = values.find(sealed(USER, PIN), "dev")
    assert values.open(found[USER.name]).reveal() == b"first"
    assert list(found) == [USER.name]
    assert values.find(sealed(USER), "prod") == {}, "a value of another environment is none"
    host.set_value(USER, "prod", b"of prod", now=NOW)
    for environment, value in (("dev", b"first"), ("prod", b"of prod")):
        assert values.open(values.find(sealed(USER), environment)[USER.name]).reveal() == value
    host.set_value(USER, "dev", b"second", now=NOW)
    assert values.open(values.find(sealed(USER), "dev")[USER.name]).reveal() == b"second"
    host.protect("passphrase", PASSPHRASE, now=NOW)
    for look in (lambda: values.find(sealed(USER), "dev"), lambda: values.open(found[USER.name])):
        with pytest.raises(Locked):
            look()
    assert values.find(sealed(PIN), "dev") == {}, "who needs nothing of it is not refused"
    assert values.find(sealed(USER), "staging") == {}, "nor who would get nothing"
    host.unlock(PASSPHRASE, now=NOW)
    assert values.open(values.find(sealed(USER), "dev")[USER.name]).reveal() == b"second"


def test_a_value_in_another_place_does_not_open(host: Host) -> None:
    entry, _ = host.set_value(USER, "dev", b"a value", now=NOW)
    key = host.custody.key()
    for moved in (
        replace(entry, environment="prod"),
        replace(entry, asset_id=PIN.asset_id),
        replace(entry, bot="reports"),
        replace(entry, number=2),
        replace(entry, name=PIN.name),
    ):
        with pytest.raises(Damaged):
            moved.open(key)


def test_what_cannot_be_read_costs_no_heartbeat(host: Host) -> None:
    host.set_value(USER, "dev", b"a value", now=NOW)
    host.store.path.write_text("{")
    resident = Resident(("dev",), "")
    letters = Correspondence(None, host.store, host.custody, runner="r1", instance=uuid.uuid4(), resident=resident)  # type: ignore[arg-type]  # no database is asked
    with private_files.locked(host.folder), pytest.raises(IdentityFileError, match="does not end"):
        letters._hear([USER])  # a command that was stopped while it saved is not waited for
    said = letters._here([USER])
    assert "cut short" in said["problem"]
    assert str(host.store.path) in said["problem"]
