"""Bots with users of their own: what a bot tries against another one where nothing but its user keeps it apart.

There is no Landlock, no filter of system calls and no sandbox in these tests; nothing is granted or barred by paths.
"""

import json
import os
import signal
import stat
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from runner.worker import clearing, collection
from runner.worker.bounds import Bounds
from runner.worker.launch import Launch, SpawnerFailed, python_argv
from runner.worker.leases import BotUsers
from runner.worker.masker import Masker
from runner.worker.outcomes import Entry, Journal
from runner.worker.process import Process, Spawner
from runner.worker.removal import remove
from tests import own_users
from tests.process_bench import BOTS, ended, finish, launchers, state_of, wait_for_line
from tests.support import ROOT, ProcessId, wait_until

pytestmark = own_users.needs_root

CANARY = "c4n4ry-V4lu3"

STAYS = "import os, time; print(os.getuid(), flush=True); time.sleep(50)"


class Yard:
    """A runner's processes with a pool of users, and a folder for each attempt."""

    def __init__(self, folder: Path, users: int = 2, locks: Path | None = None) -> None:
        self.folder = folder
        self.users = BotUsers(own_users.some(users), locks or folder)
        self.spawner = Spawner(users=self.users)
        self.journal = Journal(folder / "outcomes", instance=uuid.uuid4())
        self.entries: list[Entry] = []
        self.launched: list[Process] = []
        self.spawner.start()

    def own(self, name: str) -> Path:
        """An attempt's folder, as the runner makes it."""
        made = self.folder / name
        for one in (made, made / "output", made / "tmp"):
            one.mkdir(mode=0o700, exist_ok=True)
        return made

    def launch(
        self, bot: str | tuple[str, ...], folder: Path, *, bounds: Bounds | None = None, **variables: str
    ) -> Process:
        self.entries.append(self.journal.entry(uuid.uuid4(), 1))
        python = own_users.python()
        argv = python_argv(python, BOTS, f"{bot}.py", sdk=ROOT / "sdk") if isinstance(bot, str) else bot
        launch = Launch(
            argv=argv,
            cwd=folder,
            bounds=bounds or Bounds(),
            deadline=timedelta(seconds=50),
            grace=timedelta(seconds=5),
            entry=self.entries[-1],
            environment_fd_mode="bootstrap" if isinstance(bot, str) else "exec",
            base_environment={"PATH": "/usr/local/bin:/usr/bin:/bin"},
            writable=(folder,),
            owned=(folder,),
        )
        environment = {**variables, "OWN": str(folder), "TMPDIR": str(folder / "tmp")}
        self.launched.append(
            self.spawner.launch(launch, "".join(f"{name}={value}\0" for name, value in environment.items()).encode())
        )
        return self.launched[-1]

    def script(self, text: str, folder: Path, *, bounds: Bounds | None = None, **variables: str) -> Process:
        return self.launch((str(own_users.python()), "-c", text), folder, bounds=bounds, **variables)

    def close(self) -> None:
        for process in self.launched:
            process.close()
        self.spawner.close()


def living(user: int) -> int:
    """How many processes of a user live; dead ones of the test before may wait to be collected."""
    return sum(clearing.processes(user).values())


@pytest.fixture
def passable() -> Iterator[Path]:
    """A folder that other users can pass through."""
    path = Path(tempfile.mkdtemp(prefix="bk-", dir="/tmp"))
    path.chmod(0o711)
    yield path
    remove(path)


@pytest.fixture
def yard(passable: Path) -> Iterator[Yard]:
    made = Yard(passable)
    yield made
    made.close()
    assert [number for number in own_users.numbers() if clearing.lives(number)] == []


def test_a_bot_runs_as_a_user_of_its_own_with_nothing_of_the_runners(yard: Yard) -> None:
    text = "import os; print(os.getresuid(), os.getresgid(), os.getgroups()); print(open('/proc/self/status').read())"
    outcome, stdout, stderr = finish(yard.script(text, yard.own("one")))
    assert outcome.exit_code == 0, (outcome, stderr)
    said = stdout.decode()
    number = own_users.numbers()[0]
    assert f"({number}, {number}, {number}) ({number}, {number}, {number}) []" in said
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert f"{name}:\t0000000000000000" in said
    assert "NoNewPrivs:\t1" in said
    assert outcome.user == str(number)
    assert outcome.survivors == 0


def test_the_next_attempt_gets_another_user_and_each_has_one_alone(yard: Yard) -> None:
    first, second = (yard.script(STAYS, yard.own(name)) for name in "ab")
    seen = {int(wait_for_line(one)) for one in (first, second)}
    assert seen == set(own_users.numbers()[:2])
    with pytest.raises(SpawnerFailed, match="none of the 2 users"):
        yard.users.lease(patience=0.05)
    first.kill()
    assert ended(first).survivors == 0
    finish(yard.script("pass", yard.own("c")))


@pytest.mark.parametrize("by", ["itself", "grandchild"])
@pytest.mark.parametrize("kind", ["python", "command"])
def test_a_bot_reaches_no_other_bot_by_its_user_alone(yard: Yard, kind: str, by: str) -> None:
    folder = yard.own("victim")
    bot: dict[str, str | tuple[str, ...]] = {
        "python": "keeps",
        "command": (str(own_users.python()), str(BOTS / "keeps.py")),
    }
    victim = yard.launch(bot[kind], folder, VALUE=CANARY, ABSTRACT=uuid.uuid4().hex)
    identity = ProcessId.of(int(wait_for_line(victim)))
    assert identity
    assert victim.started(10)
    (launcher,) = launchers(yard.spawner)
    itself = "1" if by == "grandchild" else ""
    targets = json.dumps([str(folder), str(folder / "kept"), str(yard.folder / "outcomes"), str(yard.folder)])
    for pid in (identity.pid, launcher.pid, yard.spawner.pid, os.getpid()):
        attacker = yard.launch("attacks", yard.own("attacker"), VICTIM=str(pid), TARGETS=targets, GRANDCHILD=itself)
        outcome, stdout, stderr = finish(attacker)
        assert outcome.exit_code == 0, (outcome, stderr)
        found = json.loads(stdout)
        assert len(found) > 20
        assert {name: what for name, what in found.items() if what != "refused"} == {}, pid
    assert identity.alive
    assert victim.wait(0) is None
    victim.kill()
    assert ended(victim).survivors == 0
    assert (folder / "kept").read_text() == CANARY
    assert (folder / "kept").stat().st_uid == os.geteuid()


TRICKS = """
import os, stat
out = os.environ["OWN"] + "/output"
os.chdir(out)
def attempt(what):
    try:
        what()
    except OSError as error:
        print(error)
open("plain.txt", "w").write("plain")
os.makedirs("closed/inner")
open("closed/inner/deep.txt", "w").write("deep")
open("unreadable.txt", "w").write("x")
os.symlink("/etc/passwd", "link.txt")
os.symlink("/etc", "linked")
os.symlink(os.environ["ELSEWHERE"], "elsewhere")
attempt(lambda: os.link("/etc/passwd", "hard.txt"))
attempt(lambda: os.link(os.environ["ELSEWHERE"], "hard-elsewhere.txt"))
open("twice.txt", "w").write("twice")
os.link("twice.txt", "again.txt")
os.mkfifo("pipe")
open("tool", "w").write("#!/bin/sh")
attempt(lambda: os.chmod("tool", 0o6755))
deep = "."
os.mkdir("d")
at = os.open("d", os.O_RDONLY)
for _ in range(200):
    os.mkdir("d", dir_fd=at)
    inner = os.open("d", os.O_RDONLY, dir_fd=at)
    os.close(at)
    at = inner
os.chmod("unreadable.txt", 0)
os.chmod("closed/inner", 0)
os.chmod("closed", 0)
os.chmod(os.environ["OWN"] + "/tmp", 0o1777)
os.chmod(os.environ["OWN"], 0)
"""


def test_what_a_bot_leaves_is_the_runners_again_and_nothing_else_is(yard: Yard, tmp_path: Path) -> None:
    elsewhere = yard.folder / "elsewhere"
    elsewhere.write_text("of somebody else")
    os.chown(elsewhere, 65534, 65534)
    elsewhere.chmod(0o666)
    before = Path("/etc/passwd").stat()
    folder = yard.own("tricks")
    outcome, _, stderr = finish(yard.script(TRICKS, folder, ELSEWHERE=str(elsewhere)))
    assert (outcome.exit_code, outcome.survivors) == (0, 0), stderr
    assert Path("/etc/passwd").stat() == before
    assert elsewhere.stat().st_uid == 65534
    output = folder / "output"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    mine = {path.name: path.lstat().st_uid == os.geteuid() for path in output.iterdir()}
    assert mine["plain.txt"], mine
    assert mine["closed"]
    assert (output / "closed/inner/deep.txt").read_text() == "deep"
    assert (output / "tool").stat().st_mode & 0o6000 == 0
    assert not mine["twice.txt"], "what has two names is left to its owner"
    assert not mine["link.txt"]
    store = Kept()
    found = collection.collect(output, Masker(), store=store, job_id=uuid.uuid4(), attempt=1, most=1 << 20)  # type: ignore[arg-type]
    taken = {one.path for one in found.files}
    assert {"plain.txt", "closed/inner/deep.txt", "tool"} <= taken
    assert not taken & {
        "link.txt",
        "linked",
        "elsewhere",
        "hard.txt",
        "hard-elsewhere.txt",
        "twice.txt",
        "pipe",
    }
    remove(folder)
    assert not folder.exists()
    assert elsewhere.read_text() == "of somebody else"


class Kept:
    """A store that keeps nothing."""

    def keep(self, _job: uuid.UUID, _attempt: int, _number: int, blocks: Iterator[bytes]) -> None:
        for _ in blocks:
            pass


LEAVES = """
import ctypes, multiprocessing.shared_memory, os, subprocess, sys, tempfile
for place in ("/dev/shm", "/tmp", "/var/tmp"):
    open(f"{place}/left-{os.getuid()}", "w").close()
    os.makedirs(f"{place}/left-{os.getuid()}-folder/inner")
libc = ctypes.CDLL(None, use_errno=True)
print(libc.shmget(0, 4096, 0o1600), libc.semget(0, 1, 0o1600), libc.msgget(0, 0o1600))
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        import signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.close(1); os.close(2)
        time.sleep(3600)
    os._exit(0)
os.wait()
"""


def test_nothing_of_a_bot_is_left_that_can_be_found_by_its_user(yard: Yard) -> None:
    before = segments()
    outcome, stdout, stderr = finish(yard.script(LEAVES, yard.own("leaves")))
    assert (outcome.exit_code, outcome.survivors) == (0, 0), stderr
    assert b"-1" not in stdout
    number = outcome.user
    assert [path for place in ("/dev/shm", "/tmp", "/var/tmp") for path in Path(place).glob(f"left-{number}*")] == []
    assert segments() == before
    assert not clearing.lives(int(number or 0))


def segments() -> set[str]:
    """What System V IPC of this process's users there is."""
    mine = {str(number) for number in own_users.numbers()}
    lines = [line for kind in clearing.IPC for line in Path(f"/proc/sysvipc/{kind}").read_text().splitlines()]
    return {line for line in lines if mine & set(line.split())}


def test_a_process_of_the_user_that_no_bot_started_is_neither_joined_nor_killed(yard: Yard) -> None:
    number = own_users.numbers()[0]
    occupied: list[str] = []
    yard.users._occupied = occupied.append
    with subprocess.Popen(
        ["setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups", "sleep", "50"]
    ) as stranger:
        wait_until(lambda: clearing.lives(number), 40, "the stranger")
        seen = {finish(yard.script("import os; print(os.getuid())", yard.own("own")))[1] for _ in range(3)}
        assert seen == {b"%d\n" % own_users.numbers()[1]}
        assert occupied == [str(number)]
        assert stranger.poll() is None
        stranger.kill()


def test_all_of_a_users_processes_end_with_its_attempt_whoever_their_parent_is(yard: Yard) -> None:
    """One that was not born of the bot, as one would be that found a way out of its tree."""
    process = yard.script(STAYS, yard.own("one"))
    number = int(wait_for_line(process))
    with subprocess.Popen(
        ["setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups", "sleep", "50"]
    ) as escaped:
        wait_until(lambda: living(number) == 2, 40, "both")
        process.kill()
        # It is this test's child: until that is collected it counts.
        assert wait_until(escaped.poll, 40, "its end") == -signal.SIGKILL
        assert ended(process).survivors == 0


@pytest.mark.parametrize("killed", ["launcher", "launcher and spawner"])
def test_a_bot_whose_supervisors_are_killed_leaves_nothing_and_frees_its_user(yard: Yard, killed: str) -> None:
    pids = yard.own("one") / "tmp" / "pids"
    process = yard.launch("forks", yard.own("one"), PIDS=str(pids), THEN="sleep")
    wait_for_line(process)
    assert process.started(10)
    number = own_users.numbers()[0]
    assert living(number) >= 4
    (launcher,) = launchers(yard.spawner)
    if killed != "launcher":
        os.kill(yard.spawner.pid or 0, signal.SIGKILL)
    os.kill(launcher.pid, signal.SIGKILL)
    outcome = ended(process, 30)
    assert (outcome.reason, outcome.survivors, outcome.user) == ("launcher_died", 0, str(number))
    assert not clearing.lives(number)
    assert (yard.folder / "one").stat().st_uid == os.geteuid()
    process.close()
    for name in "bc":
        assert finish(yard.script("pass", yard.own(name)))[0].exit_code == 0


def test_a_bot_that_is_paused_stands_still_with_all_below_it(yard: Yard) -> None:
    pids = yard.own("one") / "tmp" / "pids"
    process = yard.launch("forks", yard.own("one"), PIDS=str(pids), THEN="sleep")
    wait_for_line(process)
    heard: list[bool] = []
    process.on_pause = lambda *, standing: heard.append(standing)
    process.pause()
    wait_until(lambda: process.wait(0.01) is None and heard == [True], what="the stand")
    found = [ProcessId.of(pid) for pid in clearing.processes(own_users.numbers()[0])]
    assert [state_of(one) for one in found if one] == ["T"] * 4
    process.resume()
    process.terminate()
    assert ended(process).survivors == 0


def test_limits_hold_for_a_bot_with_a_user_of_its_own(yard: Yard) -> None:
    assert finish(yard.launch("forks_on", yard.own("forks")))[0].survivors == 0
    # Folders of 0700 that the runner itself may not look into, were it not root.
    text = (
        "import os, time\nos.mkdir('private', 0o700)\n"
        "for name in 'ab': open(f'private/{name}', 'wb').write(bytes(2 << 20))\ntime.sleep(50)"
    )
    outcome, _, stderr = finish(yard.script(text, yard.own("disk"), bounds=Bounds(disk_bytes=3 << 20)))
    assert (outcome.reason, "its limit `disk` is 3 MB" in outcome.detail) == ("limit", True), (outcome, stderr)
    text = "import resource; print(resource.getrlimit(resource.RLIMIT_NPROC))"
    _, stdout, _ = finish(yard.script(text, yard.own("threads"), bounds=Bounds(processes=40)))
    assert stdout == b"(320, 320)\n"
