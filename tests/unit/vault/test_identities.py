"""Key files: written once, readable by their owner, and refused with a sentence in every other state."""

import os
import stat
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support import a_closed_folder, an_ordinary_user
from vault.decrypt import Identity
from vault.errors import IdentityFileError, InvalidName
from vault.identities import (
    Command,
    Credential,
    append_identity,
    create_key_file,
    file_passphrase,
    key_path,
    load_identities,
    newest,
    prompt_new_passphrase,
    read_identities,
    remove_identity,
)
from vault.private_files import present

PASSPHRASE = "correct horse battery staple"


@pytest.fixture
def keys_dir(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.fixture
def prod(keys_dir: Path) -> Path:
    """A plain key file of prod."""
    path = key_path(keys_dir, "prod")
    create_key_file(path, Identity.generate("prod"))
    return path


def passphrase(_environment: str) -> str:
    return PASSPHRASE


def other_passphrase(_environment: str) -> str:
    return PASSPHRASE + "!"


def test_a_key_file_and_its_directory_are_for_their_owner_only(keys_dir: Path) -> None:
    previous = os.umask(0)
    try:
        create_key_file(key_path(keys_dir, "prod"), Identity.generate("prod"))
    finally:
        os.umask(previous)
    assert stat.S_IMODE(keys_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE((keys_dir / "prod.key").stat().st_mode) == 0o600
    assert [path.name for path in keys_dir.iterdir()] == ["prod.key"]


def test_what_was_written_is_read_back(keys_dir: Path) -> None:
    identities = {environment: Identity.generate(environment) for environment in ("dev", "prod")}
    for environment, identity in identities.items():
        create_key_file(key_path(keys_dir, environment), identity)
    loaded = load_identities({environment: key_path(keys_dir, environment) for environment in identities})
    assert loaded == {environment: {it.id: it} for environment, it in identities.items()}


def test_a_key_file_says_to_whom_it_belongs(prod: Path) -> None:
    assert prod.read_text().startswith("# Private keys of prod, newest last.")


def test_an_existing_key_file_is_never_overwritten(prod: Path) -> None:
    before = prod.read_bytes()
    with pytest.raises(IdentityFileError, match=r"never overwritten.*rotate"):
        create_key_file(prod, Identity.generate("prod"))
    assert prod.read_bytes() == before
    assert len(list(prod.parent.iterdir())) == 1


def test_of_many_creators_at_once_one_wins_and_its_key_stays(keys_dir: Path) -> None:
    path = key_path(keys_dir, "prod")

    def create(identity: Identity) -> Identity | None:
        try:
            create_key_file(path, identity)
        except IdentityFileError:
            return None
        return identity

    with ThreadPoolExecutor(max_workers=8) as pool:
        created = [it for it in pool.map(create, [Identity.generate("prod") for _ in range(8)]) if it]
    assert list(read_identities(path, "prod").values()) == created
    assert len(created) == 1


def test_rotations_at_the_same_time_lose_no_identity(prod: Path) -> None:
    added = [Identity.generate("prod") for _ in range(8)]
    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(lambda identity: append_identity(prod, identity), added))
    assert len(read_identities(prod, "prod")) == 9


def test_a_rotation_adds_the_newest_and_keeps_the_old(prod: Path) -> None:
    old = newest(read_identities(prod, "prod"))
    new = Identity.generate("prod")
    append_identity(prod, new)
    held = read_identities(prod, "prod")
    assert list(held.values()) == [old, new]
    assert newest(held) == new
    assert stat.S_IMODE(prod.stat().st_mode) == 0o600
    with pytest.raises(IdentityFileError, match="already"):
        append_identity(prod, new)


def test_an_identity_of_another_environment_is_not_added(prod: Path) -> None:
    before = prod.read_bytes()
    with pytest.raises(IdentityFileError, match="swapped"):
        append_identity(prod, Identity.generate("dev"))
    assert prod.read_bytes() == before


def test_an_old_identity_is_removed_and_the_newest_is_not(prod: Path) -> None:
    old = newest(read_identities(prod, "prod"))
    new = Identity.generate("prod")
    append_identity(prod, new)
    with pytest.raises(IdentityFileError, match="newest"):
        remove_identity(prod, "prod", key_id=new.id)
    remove_identity(prod, "prod", key_id=old.id)
    assert list(read_identities(prod, "prod").values()) == [new]
    with pytest.raises(IdentityFileError, match="holds no key"):
        remove_identity(prod, "prod", key_id=old.id)
    with pytest.raises(IdentityFileError, match="newest"):
        remove_identity(prod, "prod", key_id=new.id)


def test_a_missing_key_file_says_how_to_make_one(keys_dir: Path) -> None:
    with pytest.raises(IdentityFileError, match="keygen"):
        read_identities(key_path(keys_dir, "prod"), "prod")


@pytest.mark.parametrize("content", ["", "\n\n", "# only a comment\n"])
def test_an_empty_key_file_is_refused(prod: Path, content: str) -> None:
    prod.write_text(content)
    with pytest.raises(IdentityFileError, match=r"no key.*restore"):
        read_identities(prod, "prod")


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o620, 0o601, 0o644, 0o666])
def test_a_key_file_that_others_may_use_is_refused(prod: Path, mode: int) -> None:
    prod.chmod(mode)
    with pytest.raises(IdentityFileError, match=r"chmod 600 .*rotate the key"):
        read_identities(prod, "prod")


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
def test_a_directory_where_others_may_replace_the_file_is_refused(prod: Path, mode: int) -> None:
    prod.parent.chmod(mode)
    with pytest.raises(IdentityFileError, match="chmod 700"):
        read_identities(prod, "prod")
    with pytest.raises(IdentityFileError, match="chmod 700"):
        create_key_file(prod.with_name("dev.key"), Identity.generate("dev"))
    prod.parent.chmod(0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_key_file_of_another_user_is_refused(prod: Path) -> None:
    os.chown(prod, 12345, -1)
    with pytest.raises(IdentityFileError, match="belongs to the user 12345"):
        read_identities(prod, "prod")


def test_a_folder_of_keys_that_is_closed_to_us_is_refused_with_the_mend() -> None:
    with a_closed_folder() as folder:
        path = folder / "prod.key"
        create_key_file(path, Identity.generate("prod"))
        folder.chmod(0o000)
        with an_ordinary_user():
            with pytest.raises(IdentityFileError, match=r"closed to the user \d+: run as its owner"):
                read_identities(path, "prod")
            with pytest.raises(IdentityFileError, match=r"closed to the user \d+: run as its owner"):
                present(path)


def test_what_is_present_is_said_of_links_to_nowhere_too(prod: Path) -> None:
    link = prod.with_name("dev.key")
    assert (present(prod), present(link), present(prod / "below")) == (True, False, False)
    link.symlink_to("nowhere")
    assert present(link)


def test_a_symbolic_link_is_refused_even_to_a_good_file(prod: Path) -> None:
    link = prod.with_name("staging.key")
    link.symlink_to(prod)
    with pytest.raises(IdentityFileError, match="symbolic link"):
        read_identities(link, "prod")
    with pytest.raises(IdentityFileError, match="never overwritten"):
        create_key_file(link, Identity.generate("staging"))


def test_a_directory_and_a_pipe_are_refused_without_waiting(prod: Path) -> None:
    pipe, directory = prod.with_name("pipe.key"), prod.with_name("dir.key")
    os.mkfifo(pipe, 0o600)
    directory.mkdir(0o700)
    for path in (pipe, directory):
        with pytest.raises(IdentityFileError, match="not a plain file"):
            read_identities(path, "prod")


def test_two_swapped_key_files_are_noticed(prod: Path) -> None:
    dev = prod.with_name("dev.key")
    create_key_file(dev, Identity.generate("dev"))
    prod.rename(prod.with_name("x"))
    dev.rename(prod)
    prod.with_name("x").rename(dev)
    with pytest.raises(IdentityFileError, match=r"keys of dev, where those of prod.*swapped"):
        read_identities(prod, "prod")
    with pytest.raises(IdentityFileError, match="keys of prod, where those of dev"):
        read_identities(dev, "dev")


def test_a_relabelled_key_file_is_noticed(prod: Path) -> None:
    prod.write_text(prod.read_text().replace("prod", "dev"))
    with pytest.raises(IdentityFileError, match="damaged"):
        read_identities(prod, "dev")


def test_a_malformed_line_is_named_by_number_and_not_shown(prod: Path) -> None:
    content = prod.read_text()
    prod.write_text(content + content.splitlines()[1][:-5] + "\n")
    with pytest.raises(IdentityFileError, match="line 3") as caught:
        read_identities(prod, "prod")
    assert content.splitlines()[1][-40:-5] not in "".join(traceback.format_exception(caught.value))


def test_bytes_that_are_no_text_are_refused_and_not_shown(prod: Path) -> None:
    prod.write_bytes(prod.read_bytes() + b"\xff\xfe\x00")
    with pytest.raises(IdentityFileError, match="line 3") as caught:
        read_identities(prod, "prod")
    assert caught.value.__context__ is None or "\\xff" not in repr(caught.value.__context__)


def test_an_unknown_environment_is_refused(prod: Path) -> None:
    with pytest.raises(InvalidName):
        read_identities(prod, "test")
    with pytest.raises(InvalidName):
        key_path(prod.parent, "../prod")


def test_a_protected_key_file_opens_with_its_passphrase_only(keys_dir: Path) -> None:
    path, identity = key_path(keys_dir, "prod"), Identity.generate("prod")
    create_key_file(path, identity, passphrase=passphrase)
    assert identity.to_text()[60:] not in path.read_text()
    assert read_identities(path, "prod", passphrase=passphrase) == {identity.id: identity}
    with pytest.raises(IdentityFileError, match="does not open"):
        read_identities(path, "prod", passphrase=other_passphrase)
    with pytest.raises(IdentityFileError, match="give it at the prompt or as a file"):
        read_identities(path, "prod")


def test_a_protected_key_file_stays_protected_and_asks_once(keys_dir: Path) -> None:
    path, answers = key_path(keys_dir, "prod"), [PASSPHRASE]
    create_key_file(path, Identity.generate("prod"), passphrase=passphrase)
    new = Identity.generate("prod")
    append_identity(path, new, passphrase=lambda _: answers.pop())
    assert "BOTKEEP-IDENTITY" not in path.read_text()
    assert newest(read_identities(path, "prod", passphrase=passphrase)) == new


def test_a_plain_key_file_stays_plain(prod: Path) -> None:
    append_identity(prod, Identity.generate("prod"), passphrase=passphrase)
    assert len(read_identities(prod, "prod")) == 2


def test_a_protected_key_file_that_was_changed_is_refused(keys_dir: Path) -> None:
    path = key_path(keys_dir, "prod")
    create_key_file(path, Identity.generate("prod"), passphrase=passphrase)
    content = path.read_text()
    for changed, message in [
        (content.replace(".prod.", ".dev."), "swapped"),
        (content[:-20] + ("A" if content[-20] != "A" else "B") + content[-19:], "does not open"),
        (content.replace("V1.prod.", "V1.prod.A"), "damaged"),
        (content[: content.rindex(".")] + "\n", "damaged"),
        (content[: content.rindex(".")] + ".A\n", "damaged"),
        (content[: content.rindex(".")] + ".AAAA\n", "does not open"),
    ]:
        path.write_text(changed)
        with pytest.raises(IdentityFileError, match=message):
            read_identities(path, "prod", passphrase=passphrase)


@pytest.mark.parametrize("short", ["", "hunter2"])
def test_a_passphrase_that_is_quickly_guessed_is_refused(keys_dir: Path, short: str) -> None:
    with pytest.raises(IdentityFileError, match="at least 12") as caught:
        create_key_file(key_path(keys_dir, "prod"), Identity.generate("prod"), passphrase=lambda _: short)
    assert "hunter2" not in str(caught.value)
    assert not key_path(keys_dir, "prod").exists()


def test_the_same_passphrase_in_another_unicode_form_opens_the_file(keys_dir: Path) -> None:
    path = key_path(keys_dir, "prod")
    create_key_file(path, Identity.generate("prod"), passphrase=lambda _: "p\u00e4ssword-12345")
    assert read_identities(path, "prod", passphrase=lambda _: "pa\u0308ssword-12345")


def test_a_passphrase_comes_from_a_file_held_to_the_same_rules(prod: Path) -> None:
    path = prod.with_name("passphrase")
    path.write_text(PASSPHRASE + "\n")
    path.chmod(0o600)
    assert file_passphrase(path)("prod") == PASSPHRASE
    path.chmod(0o644)
    with pytest.raises(IdentityFileError, match="chmod 600"):
        file_passphrase(path)("prod")


def test_a_new_passphrase_is_asked_for_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["one passphrase", "another passphrase", "the same one", "the same one"])
    monkeypatch.setattr("vault.identities.getpass", lambda _prompt: next(answers))
    with pytest.raises(IdentityFileError, match="nothing was written"):
        prompt_new_passphrase("prod")
    assert prompt_new_passphrase("prod") == "the same one"


def test_a_credential_of_the_service_manager_may_show_its_access_list(prod: Path) -> None:
    prod.chmod(0o440)
    assert read_identities(Credential(prod), "prod")
    with pytest.raises(IdentityFileError):
        read_identities(prod, "prod")
    prod.chmod(0o444)
    with pytest.raises(IdentityFileError):
        read_identities(Credential(prod), "prod")


def test_a_command_prints_a_key_file(prod: Path) -> None:
    printing = Command((sys.executable, "-c", "import sys; print(open(sys.argv[1]).read())", str(prod)))
    assert read_identities(printing, "prod") == read_identities(prod, "prod")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("/nonexistent/command",), "could not be started"),
        ((sys.executable, "-c", "print('CANARY'); raise SystemExit(3)"), "ended with status 3"),
        ((sys.executable, "-c", ""), "no key"),
        ((sys.executable, "-c", "print('CANARY')"), "line 1"),
    ],
)
def test_a_command_that_fails_says_so_and_its_output_is_not_shown(argv: tuple[str, ...], message: str) -> None:
    with pytest.raises(IdentityFileError, match=message) as caught:
        read_identities(Command(argv), "prod")
    assert "CANARY" not in "".join(traceback.format_exception(caught.value))


def test_a_command_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vault.identities.COMMAND_TIMEOUT", 0.3)
    hanging = (sys.executable, "-uc", "print('CANARY'); import time; time.sleep(60)")
    with pytest.raises(IdentityFileError, match="took longer") as caught:
        read_identities(Command(hanging), "prod")
    assert caught.value.__context__ is None


def test_a_full_or_read_only_disk_leaves_the_old_file(prod: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = prod.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(IdentityFileError, match="No space left"):
        append_identity(prod, Identity.generate("prod"))
    assert prod.read_bytes() == before
    assert len(list(prod.parent.iterdir())) == 1
