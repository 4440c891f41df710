"""What spawner, launcher, isolation and bootstrap cost: a bot through them, beside plain `subprocess` of the same bot.

    python -m benchmarks.spawn [--json] [--rounds N]

The sides (plain, ours without Landlock and seccomp, ours as it is) take turns in one run, with the interpreter of one
bare virtual environment. The bot prints a line; measured are launch to first line, launch to known end, and the CPU
time of everything involved per start. Misses its target when launcher and isolation together take more than 3 ms above
the baseline, to the first line or of CPU time.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from runner.worker import descendants, isolation
from runner.worker.bounds import Bounds
from runner.worker.launch import Launch, python_argv
from runner.worker.outcomes import Journal
from runner.worker.process import Spawner

SDK = Path(__file__).resolve().parent.parent / "sdk/botkeep"
BOT = "print('ready')\n"
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
#: What an attempt may cost above the plain process, in seconds, to the first line and of CPU time.
BUDGET = 0.003
#: Starts of one side before the other's turn.
TURN = 10


@dataclass(slots=True)
class Side:
    """The figures of one side, in seconds."""

    first_line: list[float] = field(default_factory=list)
    end: list[float] = field(default_factory=list)
    cpu: float = 0.0

    def summary(self) -> dict[str, float]:
        return {
            "first_line_p50_ms": statistics.median(self.first_line) * 1000,
            "first_line_p90_ms": statistics.quantiles(self.first_line, n=10)[-1] * 1000,
            "end_p50_ms": statistics.median(self.end) * 1000,
            "cpu_ms": self.cpu / len(self.end) * 1000,
        }


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.spawn", description="What starting a bot costs.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=20, help=f"turns of {TURN} starts for each side")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        sides = measure(Path(folder), arguments.rounds)
    rows = {name: side.summary() for name, side in sides.items()}
    plain, bare, ours = rows.values()
    rows["above plain"] = {name: value - plain[name] for name, value in ours.items()}
    rows["isolation"] = {name: value - bare[name] for name, value in ours.items()}
    rows["ratio"] = {name: value / plain[name] for name, value in ours.items()}
    if arguments.json:
        print(json.dumps(rows))
    else:
        show(rows)
        print(
            "`above plain` is launcher and isolation together, `isolation` the domain, the filter and the limits alone."
        )
    excess = [rows["above plain"][name] for name in ("first_line_p50_ms", "cpu_ms")]
    return 1 if max(excess) > BUDGET * 1000 else 0


def show(rows: dict[str, dict[str, float]]) -> None:
    names = list(rows["ratio"])
    print(" " * 12 + "".join(f"{name:>20}" for name in names))
    for label, row in rows.items():
        print(f"{label:12}" + "".join(f"{row[name]:20.2f}" for name in names))


def measure(folder: Path, rounds: int) -> dict[str, Side]:
    """Turns of all sides; the first turn of each warms up and is not counted."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv/bin/python"
    (folder / "bot.py").write_text(BOT)
    facts = isolation.examine()
    readable = isolation.system(python, sdk=SDK)
    grants = isolation.granted(facts, readable=readable, writable=(), own=(Path("/dev/shm/own"),))
    wall = isolation.wall(facts, isolation.OUR_SETTINGS)
    bare, confined = Spawner(), Spawner(isolation.ground(facts, grants, wall))
    journal = Journal(folder / "outcomes", instance=uuid.uuid4())
    starts: dict[str, Callable[[Side], None]] = {
        "subprocess": lambda side: start_plain(python, folder, side),
        "not isolated": lambda side: start_ours(bare, journal, python, folder, side),
        "botkeep": lambda side: start_ours(confined, journal, python, folder, side),
    }
    sides = {name: Side() for name in starts}
    bare.start()
    confined.start()
    try:
        for turn in range(rounds + 1):
            for name, start in starts.items():
                take_turn(sides[name] if turn else Side(), start)
    finally:
        bare.close()
        confined.close()
    return sides


def take_turn(side: Side, start: Callable[[Side], None]) -> None:
    before = cpu_seconds(os.getpid())
    for _ in range(TURN):
        start(side)
    side.cpu += cpu_seconds(os.getpid()) - before


def start_plain(python: Path, folder: Path, side: Side) -> None:
    began = time.perf_counter()
    with subprocess.Popen(
        [python, folder / "bot.py"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=ENVIRONMENT,
        cwd=folder,
    ) as bot:
        assert bot.stdout is not None
        assert bot.stdout.readline() == b"ready\n"
        side.first_line.append(time.perf_counter() - began)
        bot.stdout.read()
        assert bot.wait() == 0
    side.end.append(time.perf_counter() - began)


def start_ours(spawner: Spawner, journal: Journal, python: Path, folder: Path, side: Side) -> None:
    launch = Launch(
        argv=python_argv(python, folder, "bot.py", sdk=SDK),
        cwd=folder,
        bounds=Bounds(open_files=1024, memory_bytes=1 << 32, processes=1024, disk_bytes=1 << 34),
        deadline=timedelta(minutes=1),
        grace=timedelta(seconds=1),
        entry=journal.entry(uuid.uuid4(), 1),
        environment_fd_mode="bootstrap",
        base_environment=ENVIRONMENT,
        readable=(folder / "venv", folder / "values"),
        writable=(folder,),
    )
    values = b"".join(f"{name}={value}\0".encode() for name, value in ENVIRONMENT.items())
    seen: list[float] = []
    began = time.perf_counter()
    with spawner.launch(launch, values) as bot:
        outcome = bot.drain(lambda _name, _data: seen.append(time.perf_counter() - began))
    side.end.append(time.perf_counter() - began)
    side.first_line.append(seen[0])
    assert outcome.exit_code == 0, outcome


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and all living below it, with what each waited for (proc(5), fields 14 to 17 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return own + sum(map(cpu_seconds, descendants.children(pid)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
