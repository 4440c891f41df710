"""Run as an ordinary user by `test_isolation.py`: bots attack a bot, this process (a worker in its stead) and its files.

    python -I as_user.py ROOT FOLDER    prints one JSON object: attack to what was got

Standard library and what the spawner needs only: the user may have no other Python than the system's.
"""

import json
import os
import sys
from datetime import timedelta
from pathlib import Path

ROOT, FOLDER = Path(sys.argv[1]), Path(sys.argv[2])
sys.path.insert(0, str(ROOT))

from runner.worker import isolation  # noqa: E402  (its folder has to be known first)
from runner.worker.process import Bounds, Launch, Process, Spawner, python_argv  # noqa: E402
from vault.hardening import harden  # noqa: E402

BOTS, PYTHON = ROOT / "tests/bots", Path(sys.executable)
BASE = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
DAY = timedelta(minutes=2)


def start(spawner: Spawner, bot: str, kind: str, folder: Path, **variables: str) -> Process:
    folder.mkdir(exist_ok=True)
    python = kind == "python"
    argv = (
        python_argv(PYTHON, BOTS, f"{bot}.py", sdk=ROOT / "sdk/botkeep")
        if python
        else (str(PYTHON), str(BOTS / f"{bot}.py"))
    )
    launch = Launch(
        argv=argv,
        cwd=folder,
        bounds=Bounds(open_files=256),
        deadline=DAY,
        grace=timedelta(seconds=1),
        record=FOLDER / f"{folder.name}-{bot}.json",
        environment_fd_mode="bootstrap" if python else "exec",
        base_environment=BASE,
        readable=(BOTS,),
        writable=(folder,),
    )
    environment = {**variables, "OWN": str(folder)}
    return spawner.launch(launch, "".join(f"{name}={value}\0" for name, value in environment.items()).encode())


def main() -> None:
    harden()
    key = FOLDER / "dev.key"
    key.write_text("c4n4ry")
    facts = isolation.examine()
    spawner = Spawner(
        isolation.ground(facts, readable=isolation.system(PYTHON, sdk=ROOT / "sdk/botkeep"), writable=(), own=(key,))
    )
    spawner.start()
    found: dict[str, str] = {}
    for kind in ("python", "command"):
        name = f"victim-{kind}-{os.getpid()}"
        with start(spawner, "keeps", kind, FOLDER / f"victim-{kind}", VALUE="c4n4ry", ABSTRACT=name) as victim:
            pid = int(os.read(victim.stdout, 100))
            targets = json.dumps([str(key), str(FOLDER), str(FOLDER / f"victim-{kind}/kept")])
            for by in ("", "grandchild"):
                for attacked in (pid, os.getpid(), spawner.pid):
                    lines: list[bytes] = []
                    variables = {"VICTIM": str(attacked), "TARGETS": targets, "ABSTRACT": f'["{name}"]'}
                    variables |= {"GRANDCHILD": by} if by else {}
                    with start(spawner, "attacks", kind, FOLDER / "attacker", **variables) as attacker:
                        attacker.drain(lambda _, data: lines.append(data))
                    told = json.loads(b"".join(lines))
                    found |= {f"{kind} {by} {attacked} {what}": got for what, got in told.items()}
            assert victim.wait(0) is None
    spawner.close()
    print(json.dumps({"landlock": facts.landlock, "user": os.geteuid(), "found": found}))


if __name__ == "__main__":
    main()
