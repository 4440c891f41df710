"""Folders given to a bot's user and taken back, whatever is in them."""

import os
import tempfile
from pathlib import Path

import pytest

from runner.worker import belongings, clearing, privileges
from runner.worker.belongings import Strange, hand_over, take_back
from runner.worker.watch import Watch
from tests import own_users

pytestmark = own_users.needs_root

BOT, OTHER = own_users.numbers()[:2]


def owners(tree: Path) -> dict[str, int]:
    return {str(path.relative_to(tree)): path.lstat().st_uid for path in (tree, *tree.rglob("*"))}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    made = tmp_path / "tree"
    (made / "package/inner").mkdir(parents=True)
    (made / "package/inner/main.py").touch()
    (made / "home").mkdir()
    return made


def test_a_tree_is_given_and_taken_back_whole(tree: Path) -> None:
    hand_over([str(tree)], BOT, BOT)
    assert set(owners(tree).values()) == {BOT}
    take_back([str(tree)], OTHER)
    assert set(owners(tree).values()) == {BOT}, "it was not that user's"
    take_back([str(tree)], BOT)
    assert set(owners(tree).values()) == {os.geteuid()}


@pytest.mark.parametrize("strange", ["link", "second name", "pipe", "of somebody else"])
def test_nothing_is_given_that_the_runner_did_not_make(tree: Path, tmp_path: Path, strange: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch()
    made = tree / "home/made"
    if strange == "link":
        made.symlink_to(elsewhere)
    elif strange == "second name":
        made.hardlink_to(elsewhere)
    elif strange == "pipe":
        os.mkfifo(made)
    else:
        made.touch()
        os.chown(made, OTHER, OTHER)
    with pytest.raises(Strange):
        hand_over([str(tree)], BOT, BOT)
    assert elsewhere.stat().st_uid == os.geteuid()


def test_a_link_in_the_place_of_a_tree_leads_nowhere(tree: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tree)
    with pytest.raises(OSError, match="link"):
        hand_over([str(link)], BOT, BOT)
    hand_over([str(tree)], BOT, BOT)
    take_back([str(link)], BOT)
    assert set(owners(tree).values()) == {BOT}


def test_a_nest_of_folders_is_taken_back_however_deep(tree: Path) -> None:
    hand_over([str(tree)], BOT, BOT)
    deep = tree / "home"
    for _ in range(belongings.DEEPEST * 3):
        deep /= "d"
    deep.mkdir(parents=True)
    (deep / "file").touch()
    for path in tree.rglob("*"):
        os.chown(path, BOT, BOT)
    take_back([str(tree)], BOT)
    assert {path.lstat().st_uid for path in tree.rglob("*")} == {os.geteuid()}
    assert [path.name for path in tree.rglob("file")] == ["file"]


def test_a_process_that_is_not_that_user_alone_kills_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[object] = []
    monkeypatch.setattr(os, "kill", lambda *words: killed.append(words))
    for user in (os.getuid(), BOT):
        with pytest.raises(privileges.NotAllowed):
            clearing._kill_all(user, user)
    assert killed == []


@pytest.mark.parametrize(("user", "group"), [(0, 370000), (370000, 0), (-1, 370000)])
def test_nobody_becomes_root_or_everybody(user: int, group: int) -> None:
    with pytest.raises(privileges.NotAllowed):
        privileges.become(user, group)
    assert os.getuid() == 0


def test_the_disk_is_measured_with_the_bots_rights() -> None:
    """So that what is the bot's counts, though the runner may not look into it, and nothing else does."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        for owner, name in ((BOT, "own"), (OTHER, "foreign")):
            made = Path(folder, name)
            made.mkdir(mode=0o700)
            (made / "file").write_bytes(bytes(1 << 20))
            os.chown(made, owner, owner)
        Path(folder).chmod(0o755)
        found = []
        for limit in (1 << 19, (1 << 20) + (1 << 19)):
            watch = Watch({"disk": limit}, [folder], user=(BOT, BOT, "bot"))
            found.append(watch._disk() is not None)
    assert found == [True, False]


def test_files_are_seen_as_the_bots_user_within_the_block_only(tree: Path) -> None:
    closed = tree / "closed"
    closed.mkdir(mode=0o700)
    with privileges.as_user(BOT, BOT), pytest.raises(PermissionError):
        list(closed.iterdir())
    assert list(closed.iterdir()) == []
