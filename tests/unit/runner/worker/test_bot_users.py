"""Which users bots may have, leases of them, and what the runner opens for them."""

import os
import stat
import threading
from pathlib import Path

import pytest

from runner.errors import Invalid
from runner.worker import bot_users, privileges
from runner.worker.bot_users import parse
from runner.worker.launch import SpawnerFailed
from runner.worker.leases import BotUser, BotUsers
from tests import own_users

USERS = own_users.some(3)


def test_users_are_named_by_name_number_and_range() -> None:
    found = parse(" 370000, daemon ,370002-370004,")
    assert [(one.number, one.name) for one in found] == [
        (370000, "370000"),
        (1, "daemon"),
        (370002, "370002"),
        (370003, "370003"),
        (370004, "370004"),
    ]
    assert [one.group for one in found] == [370000, 1, 370002, 370003, 370004]
    assert parse("") == []
    assert parse(" , ") == []
    assert parse("1")[0].name == "daemon"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("0", "who is root"),
        ("root", "who is root"),
        ("0-5", "who is root"),
        ("nobody", "who stands for anybody"),
        ("65534-65540", "who stands for anybody"),
        ("no-such-user", "this host has no such user"),
        ("../../etc", "this host has no such user"),
        ("a\0b", "this host has no such user"),
        ("-1", "this host has no such user"),
        ("5-3", "the smaller number first"),
        ("370000-99999999999", "this host has no such user"),
        ("4294967295", "the smaller number first"),
        ("370000-379999", "more than 4,096"),
        ("370000,370000", "names user 370000 twice"),
        ("370000-370005,370003", "names user 370003 twice"),
    ],
)
def test_what_is_no_user_for_a_bot_is_refused_with_its_reason(text: str, sentence: str) -> None:
    with pytest.raises(Invalid, match=sentence):
        parse(text)


def test_neither_the_runners_user_nor_one_of_its_groups_is_a_bots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 370000)
    monkeypatch.setattr(os, "getgroups", lambda: [370001])
    with pytest.raises(Invalid, match="names user 370000, who is the runner's own"):
        parse("370000-370003")
    with pytest.raises(Invalid, match="names user 370001, whose group 370001 is root's or the runner's own"):
        parse("370001")


def test_a_pool_needs_as_many_users_as_bots_at_the_same_time() -> None:
    with pytest.raises(Invalid, match="names 3 users for 4 bots at the same time"):
        bot_users.require(USERS, concurrency=4)


def test_a_runner_that_may_not_switch_is_told_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privileges, "missing", lambda: ["CAP_KILL", "CAP_SETUID"])
    with pytest.raises(Invalid, match=r"lacks CAP_KILL, CAP_SETUID.*AmbientCapabilities=CAP_CHOWN CAP_KILL"):
        bot_users.require(USERS, concurrency=3)


def test_each_lease_is_of_another_user_and_let_go_when_all_have_closed_it(tmp_path: Path) -> None:
    pool, other = BotUsers(USERS, tmp_path), BotUsers(USERS, tmp_path)
    leases = [pool.lease(0), other.lease(0), pool.lease(0)]
    assert {lease.user.number for lease in leases} == {user.number for user in USERS}
    with pytest.raises(SpawnerFailed, match="for 0 s none of the 3 users"):
        other.lease(0)
    kept = os.dup(leases[1].file)  # as a launcher has it
    leases[1].close()
    with pytest.raises(SpawnerFailed):
        pool.lease(0)
    os.close(kept)
    again = pool.lease(0)
    assert again.user == leases[1].user
    for lease in (*leases, again):
        lease.close()
        lease.close()


def test_users_take_turns(tmp_path: Path) -> None:
    pool = BotUsers(USERS, tmp_path)
    seen = []
    for _ in range(6):
        lease = pool.lease(0)
        seen.append(lease.user)
        lease.close()
    assert seen == [*USERS, *USERS]


def test_many_threads_never_share_a_user(tmp_path: Path) -> None:
    pool = BotUsers(USERS, tmp_path)
    held: set[int] = set()
    doubled: list[int] = []

    def take() -> None:
        for _ in range(100):
            lease = pool.lease(30)
            if lease.user.number in held:
                doubled.append(lease.user.number)
            held.add(lease.user.number)
            held.remove(lease.user.number)
            lease.close()

    threads = [threading.Thread(target=take) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert doubled == []


def test_a_user_with_a_living_process_is_passed_over_and_named_once(tmp_path: Path) -> None:
    mine = BotUser(os.getuid(), os.getgid(), "mine")
    named: list[str] = []
    pool = BotUsers([mine, USERS[0]], tmp_path, occupied=named.append)
    for _ in range(3):
        lease = pool.lease(0)
        assert lease.user == USERS[0]
        lease.close()
    assert named == ["mine"]


def test_locks_lie_where_nobody_else_may_write(tmp_path: Path) -> None:
    folder = tmp_path / "locks"
    folder.mkdir(mode=0o700)
    bot_users.open_locks(folder, USERS)
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o660}
    folder.chmod(0o777)
    with pytest.raises(Invalid, match="not writable by everybody"):
        bot_users.open_locks(folder, USERS)
    folder.rename(tmp_path / "other")
    folder.symlink_to(tmp_path / "other")
    with pytest.raises(Invalid, match="must be a folder"):
        bot_users.open_locks(folder, USERS)


def test_a_lock_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / str(USERS[0].number)).symlink_to("/etc/passwd")
    with pytest.raises(Invalid, match="cannot be opened"):
        bot_users.open_locks(tmp_path, USERS)


def test_the_home_lets_pass_lists_nothing_and_may_hold_nothing_open(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "keys").mkdir(mode=0o700)
    (home / "botkeep.db").touch(mode=0o600)
    bot_users.let_through(bot_users.passages(home, None))
    opened = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (home, *home.iterdir())}
    assert opened == {"home": 0o711, "keys": 0o700, "botkeep.db": 0o600, "work": 0o711, "environments": 0o711}
    bot_users.require_closed(home)
    (home / "botkeep.db").chmod(0o604)
    with pytest.raises(Invalid, match=r"chmod o-rwx .*botkeep\.db"):
        bot_users.require_closed(home)


def test_an_environment_is_opened_to_be_read_and_never_to_be_written(tmp_path: Path) -> None:
    home = tmp_path / "environment"
    (home / "bin").mkdir(mode=0o700, parents=True)
    home.chmod(0o700)
    (home / "bin/tool").touch(mode=0o700)
    (home / "bin/python").symlink_to("/usr/bin/python3")
    (home / "data.py").touch(mode=0o600)
    bot_users.open_environment(home)
    modes = {
        path.name: stat.S_IMODE(path.lstat().st_mode) for path in (home, *home.rglob("*")) if not path.is_symlink()
    }
    assert modes == {"environment": 0o705, "bin": 0o705, "tool": 0o705, "data.py": 0o604}
    (home / "later").touch(mode=0o600)
    bot_users.open_environment(home)
    assert stat.S_IMODE((home / "later").stat().st_mode) == 0o600, "it is looked at once"


def test_a_lock_that_cannot_be_opened_is_a_start_that_failed(tmp_path: Path) -> None:
    pool = BotUsers([BotUser(370_000, 370_000, "bot-1")], tmp_path / "gone")
    with pytest.raises(SpawnerFailed, match=r"lock of user bot-1 cannot be opened \(No such file"):
        pool.lease()
