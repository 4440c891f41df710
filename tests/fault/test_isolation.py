"""What a bot tries against another bot, the runner and its files, itself and through a grandchild, and what it gets.

They run as whoever runs the tests, root included (bots have no capabilities); where that is root, the core of it is
done again by an ordinary user.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from runner.worker import landlock
from runner.worker.process import Process
from tests.process_bench import BOTS, PYTHON, Bench, bench, ended, finish, new_spawner, spawner, wait_for_line
from tests.support import ROOT, ProcessId

__all__ = ["bench", "spawner"]

CANARY = "c4n4ry-V4lu3"

pytestmark = pytest.mark.skipif(
    landlock.abi() < landlock.SCOPED_SINCE, reason="this kernel's Landlock does not keep signals apart"
)


@pytest.fixture(params=["python", "command"])
def kind(request: pytest.FixtureRequest) -> str:
    """Whether a bot is started by our bootstrap, or executed as it is."""
    return str(request.param)


@pytest.fixture(params=["itself", "grandchild"])
def by(request: pytest.FixtureRequest) -> dict[str, str]:
    return {"GRANDCHILD": "1"} if request.param == "grandchild" else {}


def started(bench: Bench, bot: str, kind: str, folder: Path, **variables: str) -> Process:
    """A bot with a folder of its own."""
    folder.mkdir(exist_ok=True)
    own = replace(bench, folder=folder)
    argv: str | tuple[str, ...] = bot if kind == "python" else (str(PYTHON), str(BOTS / f"{bot}.py"))
    return own.launch(argv, variables={**variables, "OWN": str(folder)})


def attack(bench: Bench, kind: str, folder: Path, **variables: str) -> dict[str, str]:
    outcome, stdout, stderr = finish(started(bench, "attacks", kind, folder, **variables))
    assert outcome.exit_code == 0, (outcome, stderr)
    found: dict[str, str] = json.loads(stdout)
    return found


def got(found: dict[str, str]) -> dict[str, str]:
    return {name: what for name, what in found.items() if what != "refused"}


@pytest.fixture(params=["python", "command"])
def victim(request: pytest.FixtureRequest, bench: Bench) -> Iterator[tuple[ProcessId, Process, Path, str]]:
    folder, name = bench.folder / "victim", uuid.uuid4().hex
    process = started(bench, "keeps", str(request.param), folder, VALUE=CANARY, ABSTRACT=name)
    identity = ProcessId.of(int(wait_for_line(process)))
    assert identity is not None
    yield identity, process, folder, name
    assert process.wait(0) is None, "the victim has to live through it"
    process.kill()
    ended(process)


def test_a_bot_reaches_no_other_bot(
    bench: Bench, victim: tuple[ProcessId, Process, Path, str], kind: str, by: dict[str, str]
) -> None:
    identity, _, folder, name = victim
    targets = json.dumps([str(folder), str(folder / "kept")])
    found = attack(
        bench, kind, bench.folder / "attacker", VICTIM=str(identity.pid), TARGETS=targets, ABSTRACT=f'["{name}"]', **by
    )
    assert len(found) > 20
    assert got(found) == {}
    assert identity.alive
    assert (folder / "kept").read_text() == CANARY


def test_a_bot_reaches_another_no_earlier(bench: Bench, kind: str) -> None:
    """The attacker hears of the victim as early as anybody, and goes on until that is 0.3 s older."""
    waits = bench.folder / "attacker"
    script = "import os, sys\nwhile not os.path.exists(sys.argv[1]): pass\n"
    script += "os.environ['VICTIM'] = open(sys.argv[1]).read()\n"
    script += f"exec(compile(open({str(BOTS / 'attacks.py')!r}).read(), 'attacks', 'exec'))"
    waits.mkdir()
    told = waits / "victim"
    own = replace(bench, folder=waits)
    attacker = own.launch((str(PYTHON), "-c", script, str(told)), variables={"LAST": "0.3"})
    process = started(bench, "keeps", kind, bench.folder / "victim", VALUE=CANARY, ABSTRACT=uuid.uuid4().hex)
    assert process.started(10)
    (waits / "new").write_text(str(process.pid))
    (waits / "new").rename(told)
    outcome, stdout, stderr = finish(attacker)
    assert outcome.exit_code == 0, stderr
    assert got(json.loads(stdout)) == {}
    assert wait_for_line(process)
    process.kill()
    ended(process)


def test_a_bot_reaches_neither_worker_nor_spawner_nor_its_launcher(
    bench: Bench, tmp_path: Path, kind: str, by: dict[str, str]
) -> None:
    name = uuid.uuid4().hex
    with socket.socket(socket.AF_UNIX) as ours:
        ours.bind("\0" + name)
        ours.listen()
        for pid in (os.getpid(), bench.spawner.pid):
            found = attack(bench, kind, tmp_path / "attacker", VICTIM=str(pid), ABSTRACT=f'["{name}"]', **by)
            assert got(found) == {}, pid


def test_a_bot_reaches_no_file_but_its_own(bench: Bench, tmp_path: Path, kind: str, by: dict[str, str]) -> None:
    home = tmp_path / "home"
    for name in ("keys/dev.key", "botkeep.db", "work/other/home/kept", "client.toml"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(CANARY)
    shared = Path("/dev/shm") / f"botkeep-test-{uuid.uuid4().hex}"
    shared.write_text(CANARY)
    targets = [str(path) for path in (home, home / "keys", home / "work", shared, Path("/tmp"), Path.home())]
    targets += [str(home / name) for name in ("keys/dev.key", "botkeep.db", "work/other/home/kept", "client.toml")]
    targets += [str(ROOT / "pyproject.toml"), str(tmp_path)]
    try:
        own = replace_ground(bench, shared)
        found = attack(own, kind, tmp_path / "attacker", TARGETS=json.dumps(targets), **by)
    finally:
        own.spawner.close()
        shared.unlink()
    assert len(found) > 40
    assert got(found) == {}
    assert {path.read_text() for path in home.rglob("*") if path.is_file()} == {CANARY}


def test_a_wall_keeps_out_of_what_is_made_behind_it_later(bench: Bench, tmp_path: Path, kind: str) -> None:
    settings = tmp_path / "etc"
    settings.mkdir()
    (settings / "known").write_text("known to all")
    barred = settings / "botkeep"
    own = replace(bench, spawner=new_spawner(readable=[settings], barred=barred))
    own.spawner.start()
    try:
        barred.mkdir()
        (barred / "runner.env").write_text(CANARY)
        targets = [str(path) for path in (barred, barred / "runner.env", settings / "known")]
        found = attack(own, kind, tmp_path / "attacker", TARGETS=json.dumps(targets))
    finally:
        own.spawner.close()
    assert found.pop(f"read {settings / 'known'}") != "refused"
    found.pop(f"symbolic link {settings / 'known'}")
    assert len(found) > 10
    assert got(found) == {}


def replace_ground(bench: Bench, values: Path) -> Bench:
    """A bench of a runner that keeps values below that path."""
    own = replace(bench, spawner=new_spawner(values))
    own.spawner.start()
    return own


def test_nobody_writes_what_all_bots_read(bench: Bench, kind: str) -> None:
    targets = [
        str(ROOT / "runner/worker/bot_main.py"),
        str(BOTS / "exits.py"),
        "/etc/passwd",
        str(Path(sys.base_prefix)),
    ]
    found = attack(bench, kind, bench.folder / "attacker", TARGETS=json.dumps(targets))
    reading = ("read ", "symbolic link ", "list ")
    assert {name: what for name, what in got(found).items() if not name.startswith(reading)} == {}
    assert [what for name, what in found.items() if name == "read /etc/passwd"] != ["refused"]


def test_a_bot_does_all_it_likes_with_its_own(bench: Bench, kind: str) -> None:
    script = """
import os, signal, socket, subprocess, sys, tempfile
folder = os.environ["OWN"]
os.makedirs(f"{folder}/a/b")
open(f"{folder}/a/x", "w").write("x")
os.rename(f"{folder}/a/x", f"{folder}/a/b/y")
os.link(f"{folder}/a/b/y", f"{folder}/z")
os.symlink("z", f"{folder}/s")
open(f"{folder}/tool", "w").write("#!/bin/sh\\necho tool $0\\n")
os.chmod(f"{folder}/tool", 0o700)
print(subprocess.check_output([f"{folder}/tool"]).decode().split()[0])
child = subprocess.Popen(["sleep", "3600"])
child.send_signal(signal.SIGTERM)
print(child.wait())
ours = socket.socket(socket.AF_UNIX); ours.bind(f"{folder}/socket"); ours.listen()
theirs = socket.socket(socket.AF_UNIX); theirs.connect(f"{folder}/socket")
abstract = socket.socket(socket.AF_UNIX); abstract.bind("\\0" + folder); abstract.listen()
socket.socket(socket.AF_UNIX).connect("\\0" + folder)
print(socket.gethostbyname("localhost"), os.path.isfile("/etc/hosts"))
print(open(f"/proc/self/comm").read().strip() != "", open("/dev/null", "r+") is not None, len(os.urandom(3)))
"""
    folder = bench.folder / "own"
    folder.mkdir()
    (folder / "main.py").write_text(script)
    own = replace(bench, folder=folder)
    process = own.launch((str(PYTHON), str(folder / "main.py")), variables={"OWN": folder})
    outcome, stdout, stderr = finish(process)
    assert outcome.exit_code == 0, stderr
    assert stdout.decode().split() == ["tool", str(-signal.SIGTERM), "127.0.0.1", "True", "True", "True", "3"]


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run as an ordinary user already")
def test_an_ordinary_users_bots_are_kept_apart_as_well() -> None:
    become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    # It has to start another: setpriv itself still has root's capabilities.
    able = "import subprocess, sys; subprocess.run([sys.executable, '-c', '']); sys.exit(sys.version_info < (3, 11))"
    # The Python of the tests may lie where only root may look. Not their environment's: that is no bot's.
    pythons = (os.path.realpath(sys.executable), "/usr/bin/python3")
    python = next(
        (one for one in pythons if subprocess.run([*become, one, "-c", able], check=False).returncode == 0), ""
    )
    if not python:
        pytest.skip("no Python that an ordinary user may start")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chown(folder, 65534, 65534)
        driver = [*become, python, "-I", str(ROOT / "tests/fault/as_user.py"), str(ROOT), folder]
        done = subprocess.run(driver, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["user"] == 65534
    assert len(told["found"]) > 200
    assert got({name: what for name, what in told["found"].items() if not name.startswith("sandbox")}) == {}
    assert told["intact"] == [True, True]
    if "sandbox" not in told["kinds"]:
        pytest.skip("bubblewrap is not installed, or may not make namespaces: only the domains were tried")
    # In a sandbox nothing is refused: what is attacked is not there, and what has its name is the bot's own.
    inside = {name: what for name, what in told["found"].items() if name.startswith("sandbox")}
    assert not [name for name, what in inside.items() if CANARY in what]
    assert {what for name, what in inside.items() if "/" not in name} <= {"refused", "ESRCH", "ENOENT", "ECONNREFUSED"}
    sandbox = told["sandbox"]
    seen, offline = sandbox["seen"], sandbox["offline"]
    assert len(seen["processes"]) == 2, "the bot and the reaper of its namespace"
    assert seen["tmp"] == [Path(folder).name], "the way to its own folder"
    assert (seen["shared"], seen["home"], seen["writable"], seen["locks"]) == ([], False, False, True)
    assert set(seen["interfaces"]) >= {"lo"}
    assert offline["interfaces"] == ["lo"]
    assert sandbox["exit 3"] == [3, None, "exit", 0]
    assert sandbox["exit -15"] == [None, signal.SIGTERM, "exit", 0]
    assert sandbox["terminated"] == [7, None, "killed", 0]


#: Locks, a pool and a shared segment, as data science uses them.
TOGETHER = """
import multiprocessing, multiprocessing.shared_memory as shared
def double(number):
    with lock:
        return 2 * number
lock = multiprocessing.Lock()
context = multiprocessing.get_context("fork")
with context.Pool(2) as pool:
    print(pool.map(double, range(4)))
segment = shared.SharedMemory(create=True, size=8)
segment.buf[0] = 7
other = shared.SharedMemory(segment.name)
print(other.buf[0])
other.close()
segment.close()
segment.unlink()
"""


def test_a_python_bot_has_locks_pools_and_shared_memory_where_no_values_lie_there(bench: Bench) -> None:
    package = bench.folder / "package"
    package.mkdir()
    (package / "main.py").write_text(TOGETHER)
    outcome, stdout, stderr = finish(bench.launch("main", package=package))
    assert (outcome.exit_code, stdout) == (0, b"[0, 2, 4, 6]\n7\n"), stderr
