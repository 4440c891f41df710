"""Run by an ordinary user for `test_isolation.py`: bots attack a bot, this process (as if a worker) and its files.

    python -I as_user.py ROOT FOLDER    prints one JSON object: attack to what was got

Standard library and what the spawner needs only: the user may have no other Python than the system's.
"""

import json
import os
import sys
import uuid
from datetime import timedelta
from pathlib import Path

ROOT, FOLDER = Path(sys.argv[1]), Path(sys.argv[2])
sys.path.insert(0, str(ROOT))

from runner.worker import descendants, isolation  # noqa: E402  (its folder has to be known first)
from runner.worker.bounds import Bounds  # noqa: E402
from runner.worker.launch import Launch, python_argv  # noqa: E402
from runner.worker.outcomes import Journal  # noqa: E402
from runner.worker.process import Process, Spawner  # noqa: E402
from runner.worker.sandbox import wrapped  # noqa: E402
from vault.hardening import harden  # noqa: E402

BOTS, PYTHON, SDK = ROOT / "tests/bots", Path(sys.executable), ROOT / "sdk/botkeep"
VALUE = "c4n4ry-V4lu3"
KEY = FOLDER / "dev.key"
FACTS = isolation.examine()
GRANTS = isolation.granted(FACTS, readable=isolation.system(PYTHON, sdk=SDK), writable=(), own=(KEY,))
JOURNAL = Journal(FOLDER / "outcomes", instance=uuid.uuid4())
BASE = {"PATH": "/usr/local/bin:/usr/bin:/bin"}


def start(spawner: Spawner, bot: str, kind: str, folder: Path, **variables: str) -> Process:
    folder.mkdir(exist_ok=True)
    argv: tuple[str, ...] = (str(PYTHON), str(BOTS / f"{bot}.py"))
    if kind != "command":
        argv = python_argv(PYTHON, BOTS, f"{bot}.py", sdk=SDK)
    if kind == "sandbox":
        argv = wrapped(
            argv,
            bubblewrap=str(FACTS.bubblewrap),
            grants=GRANTS,
            readable=(BOTS,),
            writable=(folder,),
            cwd=folder,
            network="OFFLINE" not in variables,
        )
    launch = Launch(
        argv=argv,
        cwd=folder,
        bounds=Bounds(open_files=256, disk_bytes=1 << 30, memory_bytes=1 << 30, processes=50),
        deadline=timedelta(minutes=2),
        grace=timedelta(seconds=20),
        entry=JOURNAL.entry(uuid.uuid4(), 1),
        environment_fd_mode="exec" if kind == "command" else "bootstrap",
        base_environment=BASE,
        readable=(BOTS,),
        writable=(folder,),
        sandbox=kind == "sandbox",
    )
    environment = {**variables, "OWN": str(folder)}
    return spawner.launch(launch, "".join(f"{name}={value}\0" for name, value in environment.items()).encode())


def said(process: Process) -> bytes:
    lines: list[bytes] = []
    process.drain(lambda _, data: lines.append(data))
    return b"".join(lines)


def main() -> None:
    harden()
    KEY.write_text(VALUE)
    spawner = Spawner(isolation.ground(FACTS, GRANTS, isolation.wall(FACTS, isolation.OUR_SETTINGS)))
    spawner.start()
    kinds = ["python", "command", *(["sandbox"] if FACTS.bubblewrap else [])]
    found: dict[str, str] = {}
    intact: list[bool] = []
    for kind in kinds:
        name = f"victim-{kind}-{os.getpid()}"
        with start(spawner, "keeps", kind, FOLDER / f"victim-{kind}", VALUE=VALUE, ABSTRACT=name) as victim:
            os.read(victim.stdout, 100)
            assert victim.started(30)
            pid = deepest(victim.pid or 0)
            for by in kinds:
                found |= attacks(spawner, by, (pid, os.getpid(), spawner.pid or 0), name, FOLDER / f"victim-{kind}")
            assert victim.wait(0) is None
            kept = (FOLDER / f"victim-{kind}/kept").read_text() == VALUE
        intact = [KEY.read_text() == VALUE, kept]
    told = {"landlock": FACTS.landlock, "user": os.geteuid(), "kinds": kinds, "found": found, "intact": intact}
    if FACTS.bubblewrap:
        told["sandbox"] = in_a_sandbox(spawner)
    spawner.close()
    json.dump(told, sys.stdout)


def attacks(spawner: Spawner, kind: str, victims: tuple[int, ...], name: str, folder: Path) -> dict[str, str]:
    """What each attack by a bot of this kind, itself and through a grandchild, got."""
    found: dict[str, str] = {}
    targets = json.dumps([str(KEY), str(FOLDER), str(folder / "kept")])
    for by in ("itself", "grandchild"):
        for victim in victims:
            variables = {"VICTIM": str(victim), "TARGETS": targets, "ABSTRACT": f'["{name}"]'}
            variables |= {"GRANDCHILD": "1"} if by == "grandchild" else {}
            with start(spawner, "attacks", kind, FOLDER / "attacker", **variables) as attacker:
                told = json.loads(said(attacker))
            found |= {f"{kind} by {by} on {name} {victim} {what}": got for what, got in told.items()}
    return found


def in_a_sandbox(spawner: Spawner) -> dict[str, object]:
    """How bots in a sandbox fare that look around, have no network, fail, die, and are asked to end."""
    with start(spawner, "looks", "sandbox", FOLDER / "looks") as bot:
        seen = json.loads(said(bot))
    with start(spawner, "looks", "sandbox", FOLDER / "looks", OFFLINE="1") as bot:
        offline = json.loads(said(bot))
    told: dict[str, object] = {"seen": seen, "offline": offline}
    for code in (3, -15):
        with start(spawner, "exits", "sandbox", FOLDER / "exits", CODE=str(code)) as bot:
            told[f"exit {code}"] = ended(bot)
    with start(spawner, "obeys_term", "sandbox", FOLDER / "obeys") as bot:
        os.read(bot.stdout, 100)
        bot.terminate()
        told["terminated"] = ended(bot)
    return told


def ended(bot: Process) -> tuple[int | None, int | None, str, int]:
    outcome = bot.wait(30)
    assert outcome is not None
    return outcome.exit_code, outcome.signal, outcome.reason, outcome.survivors


def deepest(pid: int) -> int:
    """The bot itself below bubblewrap's processes."""
    below = descendants.children(pid)
    return deepest(below[0]) if below else pid


if __name__ == "__main__":
    main()
