"""A bot that prints much, beside `subprocess` that reads the same into a file, in one run; and how soon a line is seen.

    python -m benchmarks.logs [--json] [--megabytes N] [--lines N] [--store sqlite|postgresql]

- capture: seconds from the bot's start to the last byte stored: masked with 20 values, cut into lines, in chunks
- memory: what Python holds at most meanwhile, for one bot (tracemalloc, in a run of its own)
- size: bytes stored for each byte printed
- worker: what a runner's resident memory grows by at most while one bot prints a gigabyte, in a whole system
- follow: from a line's `print` to its event at a client of the stream, in a whole system (milliseconds)
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
import uuid
from pathlib import Path

import httpx

from runner.output import LogWriter
from runner.stores import directory
from runner.worker.masker import Masker
from runner.worker.pump import Pump
from tests.services import new_services
from tests.system import System, new_stores, running

#: Bytes that are read from a pipe at once, in both worlds.
CHUNK = 65536

#: Prints so many lines of the same length.
PRINTER = """
import sys
lines, size = int(sys.argv[1]), int(sys.argv[2])
words = "2026-01-01 12:00:00,000 INFO worker: processing invoice {} of customer 4711 "
for start in range(0, lines, 1000):
    some = range(start, min(start + 1000, lines))
    sys.stdout.write("".join(words.format(number).ljust(size - 1, "=")[: size - 1] + "\\n" for number in some))
"""

#: Prints megabytes of lines that say something else each.
FLOOD = """
import botkeep, sys
line = "{:08d} processing an invoice of customer 4711, nothing unusual about it\\n"
block = "".join(map(line.format, range(13_000)))
for _ in range(int(botkeep.parameters()["megabytes"])):
    sys.stdout.write(block[:1_000_000])
"""

#: Prints the time, a line every 25 ms.
CLOCK = """
import time
time.sleep(1)
for _ in range(200):
    print(repr(time.time()), flush=True)
    time.sleep(0.025)
"""


def main(argv: list[str]) -> int:
    """Print ours beside the baseline; non-zero when a target is missed."""
    options = _options(argv)
    with tempfile.TemporaryDirectory(prefix="bk") as folder:
        figures = _capture(Path(folder), options)
    figures |= _follow(options.store, flood=options.flood)
    return _report(figures, as_json=options.json)


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.logs")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--flood", type=int, default=1000, help="megabytes that one bot prints in a whole system")
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--store", choices=["sqlite", "postgresql"], default="sqlite")
    return parser.parse_args(argv)


def _capture(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    size = options.megabytes * 1_000_000 // options.lines
    printer = folder / "printer.py"
    printer.write_text(PRINTER)
    command = [sys.executable, str(printer), str(options.lines), str(size)]
    plain, ours, cpu, stored = [], [], [], 0
    for number in range(3):
        plain.append(_plain(command, folder / f"plain-{number}"))
        before = time.process_time()
        seconds, stored = _ours(command, folder / f"ours-{number}")
        ours.append(seconds)
        cpu.append(time.process_time() - before)
    few = [*command[:2], str(options.lines // 10), str(size)]
    tracemalloc.start()
    _ours(few, folder / "memory")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {
        "plain_seconds": min(plain),
        "ours_seconds": min(ours),
        "ours_over_plain": min(ours) / min(plain),
        "ours_cpu_ms_per_megabyte": 1000 * min(cpu) / options.megabytes,
        "stored_per_printed": stored / (options.lines * size),
        "memory_megabytes": peak / 1e6,
    }


def _plain(command: list[str], file: Path) -> float:
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as bot, file.open("wb") as output:
        assert bot.stdout is not None
        while data := os.read(bot.stdout.fileno(), CHUNK):
            output.write(data)
    return time.perf_counter() - started


def _ours(command: list[str], folder: Path) -> tuple[float, int]:
    masker = Masker([(f"A.V{number}", f"value-{number}-{uuid.UUID(int=number)}".encode()) for number in range(20)])
    started = time.perf_counter()
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as bot,
        LogWriter(directory(folder), uuid.uuid4(), 1) as writer,
    ):
        assert bot.stdout is not None
        pump = Pump(writer, masker, limit=1 << 40)
        while data := os.read(bot.stdout.fileno(), CHUNK):
            pump.feed("stdout", data)
            if writer.due() == 0:
                writer.settle()
        pump.close()
    return time.perf_counter() - started, writer.size


def _follow(store: str, *, flood: int) -> dict[str, float]:
    services = new_services(on_disk=True)
    kind = "embedded" if store == "sqlite" else "server"
    try:
        with new_stores(services, services.postgres, kind) as (stores, _), running(stores) as system:
            system.add_bot("clock", CLOCK)
            system.run("clock", parameters={})
            delays = sorted(_delays(system))
            flooded = _flooded(system, flood)
    finally:
        services.stop()
    return flooded | {
        "follow_p50_ms": statistics.median(delays),
        "follow_p95_ms": delays[len(delays) * 95 // 100],
        "follow_worst_ms": delays[-1],
    }


def _flooded(system: System, megabytes: int) -> dict[str, float]:
    """One bot that prints so much; the runner's peak is counted anew from here on (proc(5), clear_refs)."""
    system.add_bot("flood", FLOOD)
    pid = system.processes["runner"].pid
    before = _resident(pid, "VmRSS")
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    started = time.perf_counter()
    job = system.wait_for(system.enqueue("flood", parameters={"megabytes": megabytes}), timeout=600)
    seconds = time.perf_counter() - started
    assert job["state"] == "succeeded", job
    return {
        "flood_seconds": seconds,
        "flood_warnings": len(job["warnings"]),
        "worker_grows_megabytes": _resident(pid, "VmHWM") - before,
    }


def _resident(pid: int, name: str) -> float:
    """A line of a process's status, in megabytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024 / 1e6


def _delays(system: System) -> list[float]:
    job_id = system.enqueue("clock")
    url, found = f"{system.client.base_url}/api/v1/jobs/{job_id}/log/stream", list[float]()
    with httpx.stream("GET", url, headers=system.client.headers, timeout=60) as answer:
        for text in answer.iter_lines():
            if text.startswith('data: {"number"'):
                line = json.loads(text.removeprefix("data: "))
                if line["stream"] == "stdout":
                    found.append((time.time() - float(line["text"])) * 1000)
    return found


def _report(figures: dict[str, float], *, as_json: bool) -> int:
    if as_json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:26} {value:10.3f}")
    met = (
        figures["memory_megabytes"] <= 8 and figures["worker_grows_megabytes"] <= 8 and figures["follow_p95_ms"] <= 200
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
