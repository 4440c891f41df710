"""Runners that give each bot a user of its own: from root, and from an ordinary user with the right to switch."""

import json
import os
import shutil
import signal
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from runner.worker import clearing, privileges
from runner.worker.removal import remove
from tests import own_users
from tests.conftest import Start
from tests.fault.staying import alone
from tests.support import ROOT, Started, descendants, wait_until
from tests.system import START_WITHIN, System

pytestmark = [
    own_users.needs_root,
    pytest.mark.timeout(240),
    # On servers, since an ordinary user does not reach root's database file.
    pytest.mark.parametrize("shared_system", ["server"], indirect=True),
]

#: Says who it is, what it may write and read, and leaves files and processes; then it waits to be let go.
TELLS = """
import json, os, subprocess, sys, time
given = json.load(open(os.environ["BOTKEEP_PARAMETERS_FILE"]))
def attempt(what):
    try:
        return what() or "done"
    except OSError as error:
        return type(error).__name__
home = given["home"]
told = {
    "user": os.getuid(),
    "groups": os.getgroups(),
    "capabilities": [line.split() for line in open("/proc/self/status") if line[:3] == "Cap" and "Bnd" not in line],
    "list home": attempt(lambda: os.listdir(home)),
    "list work": attempt(lambda: os.listdir(home + "/work")),
    "read key": attempt(lambda: open(given["key"]).read()),
    "write environment": attempt(lambda: open(sys.prefix + "/new", "x").close()),
    "value": "value-1" in os.environ.values(),
    "file": open(os.environ["BOTKEEP_ASSET_DIR"] + "/SAP.PASSWORD").read(),
    "stdout": attempt(lambda: open("/dev/stdout", "w").close()),
}
os.makedirs(os.environ["BOTKEEP_OUTPUT_DIR"] + "/inner", 0o700)
open(os.environ["BOTKEEP_OUTPUT_DIR"] + "/inner/left.txt", "w").write("left")
open(os.environ["HOME"] + "/.left", "w").close()
subprocess.Popen(["sleep", "3600"], start_new_session=True)
place = f'{given["meet"]}/{os.environ["BOTKEEP_JOB_ID"]}'
with open(place + "-new", "w") as file:
    json.dump(told, file)
os.rename(place + "-new", place)
while not os.path.exists(given["meet"] + "/gate"):
    time.sleep(0.005)
"""

#: The bounding set can be emptied by root only; what no program has, it gives to nobody.
NONE = [[f"Cap{name}:", "0" * 16] for name in ("Inh", "Prm", "Eff", "Amb")]

TOML = 'entry = "main.py"\nassets = ["SAP.*"]\nfiles = ["SAP.*"]\n'


BOXED = """
import json, os
given = json.load(open(os.environ["BOTKEEP_PARAMETERS_FILE"]))
place = f'{given["meet"]}/{os.environ["BOTKEEP_JOB_ID"]}'
with open(place + "-new", "w") as file:
    json.dump({"user": os.getuid(), "processes": len([name for name in os.listdir("/proc") if name.isdigit()])}, file)
os.rename(place + "-new", place)
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a runner of these tests lives, and where its bots meet the test."""

    folder: Path

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def meet(self) -> Path:
        return self.folder / "meet"

    def environment(self, users: Sequence[int]) -> dict[str, str]:
        """A runner by a Python that bots' users can reach, too, and a home of its own."""
        libraries = sysconfig.get_paths()["purelib"]
        return {
            "PYTHONPATH": f"{ROOT}:{ROOT / 'sdk'}:{libraries}",
            "BOTKEEP_HOME": str(self.home),
            "BOTKEEP_KEY_DIR": str(self.home / "keys"),
            "BOTKEEP_LOG_DIR": str(self.home / "logs"),
            "BOTKEEP_BOT_WRITABLE": json.dumps([str(self.meet)]),
            "BOTKEEP_BOT_USERS": f"{users[0]}-{users[-1]}",
            "BOTKEEP_BOT_USERS_DIR": str(self.folder / "locks"),
            "BOTKEEP_CONCURRENCY": str(len(users)),
            "UV_CACHE_DIR": str(self.home / "cache"),
        }

    def parameters(self) -> dict[str, str]:
        return {"home": str(self.home), "key": str(self.home / "keys/dev.key"), "meet": str(self.meet)}

    def told(self, job_id: str) -> dict[str, object]:
        """What the bot of that job says."""
        place = self.meet / job_id
        wait_until(place.exists, 60, "the bot to tell")
        found: dict[str, object] = json.loads(place.read_text())
        return found


@pytest.fixture
def place(system: System) -> Iterator[Place]:
    made = Place(Path(tempfile.mkdtemp(prefix="bk-", dir="/tmp")))
    made.folder.chmod(0o711)
    made.home.mkdir(mode=0o700)
    made.meet.mkdir()
    made.meet.chmod(0o1777)
    (made.folder / "locks").mkdir(mode=0o700)
    shutil.copytree(system.home / "keys", made.home / "keys")
    system.add_bot("own", TELLS, toml=TOML)
    system.set_value("SAP.PASSWORD", "value-1")
    yield made
    (made.meet / "gate").touch()
    remove(made.folder)


def begin(
    system: System,
    start: Start,
    place: Place,
    users: Sequence[int],
    *,
    group: str,
    become: Sequence[str] = (),
    **env: str,
) -> Started:
    served = ["--environment", "dev", "--group", group, "--name", group]
    program = [str(own_users.python()), "-m", "runner.worker"]
    return start(*become, *program, *served, env={**system.env, **place.environment(users), **env}, name=group)


def switching(user: int) -> list[str]:
    """The words before a command that make it that of an ordinary user with the right to switch."""
    names = ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in privileges.NEEDED)
    given = [f"--inh-caps=-all,{names}", f"--ambient-caps=-all,{names}", f"--bounding-set=-all,{names}"]
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *given]


def assert_apart(system: System, place: Place, group: str, users: Sequence[int]) -> None:
    """Two jobs at the same time, each as a user of its own; then nothing of them is left."""
    jobs = [system.enqueue("own", group=group, parameters=place.parameters()) for _ in range(2)]
    told = [place.told(job_id) for job_id in jobs]
    assert {one["user"] for one in told} == set(users[:2])
    for one in told:
        refused = {name: one[name] for name in ("list home", "list work", "read key", "write environment")}
        assert set(refused.values()) == {"PermissionError"}, refused
        assert (one["groups"], one["capabilities"]) == ([], NONE)
        assert (one["value"], one["file"], one["stdout"]) == (True, "value-1", "done")
    assert all(clearing.lives(user) for user in users[:2])
    (place.meet / "gate").touch()
    for job_id, one in zip(jobs, told, strict=True):
        job = system.wait_for(job_id)
        assert job["state"] == "succeeded", job
        (attempt,) = job["attempts"]
        assert (attempt["user"], attempt["survivors"]) == (str(one["user"]), 0)
        assert attempt["artefact_bytes"] == len("left")
        assert job["warnings"] == []
    assert not any(clearing.lives(user) for user in users)
    (place.meet / "gate").unlink()


def test_a_runner_of_root_runs_each_bot_as_a_user_of_its_own(system: System, start: Start, place: Place) -> None:
    users, group = own_users.numbers()[:2], alone("rooted")
    runner = begin(system, start, place, users, group=group)
    runner.wait_for("runner.ready", START_WITHIN)
    assert_apart(system, place, group, users)
    assert_apart(system, place, group, users)
    (row,) = [one for one in system.runners() if one["name"] == group]
    assert (row["isolation"]["users"], row["isolation"]["root"]) == (2, False)
    if row["isolation"]["bubblewrap"] is not None:
        system.add_bot("boxed", BOXED, toml='entry = "main.py"\nisolation = "sandbox"\n')
        job_id = system.enqueue("boxed", group=group, parameters=place.parameters())
        job = system.wait_for(job_id)
        assert (job["state"], job["warnings"]) == ("succeeded", []), job
        told = place.told(job_id)
        assert (str(told["user"]), told["processes"]) == (job["attempts"][0]["user"], 2)
    assert "user.occupied" not in runner.log


def test_a_runner_that_may_switch_users_does_so_and_no_bot_may(system: System, start: Start, place: Place) -> None:
    *users, own = own_users.numbers()[:3]
    group = alone("switching")
    for path in (place.home, *place.home.rglob("*"), place.folder / "locks"):
        os.chown(path, own, own)
    runner = begin(system, start, place, users, group=group, become=switching(own), BOTKEEP_RUN_AS_ROOT="")
    runner.wait_for("runner.ready", START_WITHIN)
    assert {sets(process.pid)["Uid"] for process in descendants(runner.pid)} == {str(own)}
    assert sets(runner.pid)["CapEff"] == sets(runner.pid)["CapAmb"] == "0" * 16
    assert_apart(system, place, group, users)
    assert_apart(system, place, group, users)


def sets(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: words.split()[0] for name, _, words in (line.partition(":") for line in lines) if words.split()}


def test_a_killed_runner_leaves_no_user_behind_and_the_next_one_has_them_all(
    system: System, start: Start, place: Place
) -> None:
    users, group = own_users.numbers()[:1], alone("killed")
    runner = begin(system, start, place, users, group=group)
    runner.wait_for("runner.ready", START_WITHIN)
    job_id = system.enqueue("own", group=group, parameters=place.parameters())
    place.told(job_id)
    below = descendants(runner.pid)
    assert runner.stop(signal.SIGKILL) == -signal.SIGKILL
    wait_until(lambda: not any(process.alive for process in below), 30, "everything below the runner to end")
    assert not clearing.lives(users[0])
    (place.meet / job_id).unlink()
    again = begin(system, start, place, users, group=group)
    again.wait_for("runner.ready", START_WITHIN)
    place.told(job_id)
    (place.meet / "gate").touch()
    job = system.wait_for(job_id)
    assert (job["state"], job["attempt"]) == ("succeeded", 2)
    assert [attempt["user"] for attempt in job["attempts"]] == [str(users[0])] * 2
    assert len(list((place.home / "work").iterdir())) == 1, "what the killed runner left was removed"


def test_two_runners_of_a_host_never_share_a_user(system: System, start: Start, place: Place) -> None:
    users, groups = own_users.numbers()[:2], [alone("one"), alone("two")]
    for group in groups:
        env = {"BOTKEEP_CONCURRENCY": "1", "BOTKEEP_HOME": str(place.folder / group)}
        env["BOTKEEP_LOG_DIR"] = str(place.folder / group / "logs")
        (place.folder / group).mkdir(mode=0o700)
        begin(system, start, place, users, group=group, **env).wait_for("runner.ready", START_WITHIN)
    jobs = [system.enqueue("own", group=group, parameters=place.parameters()) for group in groups]
    assert {place.told(job_id)["user"] for job_id in jobs} == set(users)
    (place.meet / "gate").touch()
    assert [system.wait_for(job_id)["state"] for job_id in jobs] == ["succeeded"] * 2


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        ({"BOTKEEP_CONCURRENCY": "3"}, "names 2 users for 3 bots at the same time"),
        ({"BOTKEEP_BOT_USERS": "0-1"}, "names user root, who is root"),
        ({"BOTKEEP_BOT_USERS": "nobody-of-this-name"}, "this host has no such user"),
        ({"BOTKEEP_BOT_USERS_DIR": "/tmp"}, "not writable by everybody"),
    ],
)
def test_a_pool_that_cannot_work_is_refused_at_the_start(
    system: System, start: Start, place: Place, env: dict[str, str], sentence: str
) -> None:
    refused = begin(system, start, place, own_users.numbers()[:2], group=alone("refused"), **env)
    assert refused.wait(START_WITHIN) == 5, refused.log
    assert sentence in refused.log
    assert "Traceback" not in refused.log


def test_a_runner_that_may_not_switch_users_says_so_and_one_whose_home_is_open_too(
    system: System, start: Start, place: Place
) -> None:
    users = own_users.numbers()
    plain = ["setpriv", f"--reuid={users[2]}", f"--regid={users[2]}", "--clear-groups"]
    refused = begin(system, start, place, users[:2], group=alone("plain"), become=plain)
    assert refused.wait(START_WITHIN) == 5, refused.log
    assert "lacks CAP_CHOWN, CAP_KILL, CAP_SETGID, CAP_SETUID" in refused.log
    (place.home / "open.txt").write_text("open to all")
    (place.home / "open.txt").chmod(0o644)
    refused = begin(system, start, place, users[:2], group=alone("open"))
    assert refused.wait(START_WITHIN) == 5, refused.log
    assert f"chmod o-rwx {place.home / 'open.txt'}" in refused.log
