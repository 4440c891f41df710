"""How long cancel, pause and resume take to reach a bot, beside the same without signals, in one run.

    python -m benchmarks.control [--json] [--rounds N] [--store sqlite|postgresql]

A round starts a bot that spins, pauses, resumes and cancels it through the real console. What is measured is the time
from the request to the effect: the bot's process stands still, runs again, is gone (proc_pid_stat(5), looked at every
millisecond). The baseline is a runner that hears no signals and finds each wish by looking every few seconds
(`held.POLL`); it works on a lane of its own, on the same stores and at the same time. The target is a 95th percentile
of at most 500 ms.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.api import zipped
from tests.services import Services, new_services
from tests.support import Started, free_port, read_stat, start_process, wait_until

#: Most milliseconds for the 95th percentile of each.
MOST_MS = 500

#: What is asked of a bot, in this order.
VERBS = ("pause", "resume", "cancel")

#: Says its process id, then spins, so that a bot that runs is seen to run.
BOT = "import os\nprint(os.getpid(), flush=True)\nwhile True:\n    pass\n"

#: A worker that hears nothing.
DEAF = (
    "import sys\nfrom runner.worker import listener\nlistener.Listener.start = lambda self: None\n"
    "from runner.worker.__main__ import main\nsys.exit(main())"
)


def main(argv: list[str]) -> int:
    """Print the percentiles; non-zero when a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.control")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--store", choices=["sqlite", "postgresql"], default="sqlite")
    options = parser.parse_args(argv)
    services = new_services(on_disk=True)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="bk") as folder,
            _installation(services, Path(folder), options.store) as client,
        ):
            found = _side_by_side(client, options.rounds)
    finally:
        services.stop()
    return _report(found, as_json=options.json)


def _side_by_side(client: httpx.Client, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Milliseconds of each verb with signals, and of as many rounds without as fit into the time that these take."""
    deaf: dict[str, list[float]] = {verb: [] for verb in VERBS}
    enough = threading.Event()

    def baseline() -> None:
        while not enough.is_set() or not deaf["cancel"]:
            _round(client, "deaf", deaf)

    thread = threading.Thread(target=baseline)
    thread.start()
    hearing: dict[str, list[float]] = {verb: [] for verb in VERBS}
    for _ in range(rounds):
        _round(client, "hears", hearing)
    while len(deaf["cancel"]) < rounds // 4:
        time.sleep(0.1)
    enough.set()
    thread.join()
    return {"signals": hearing, "polling": deaf}


def _round(client: httpx.Client, group: str, found: dict[str, list[float]]) -> None:
    order = {"bot": "spins", "group": group}
    job_id = client.post("/api/v1/jobs", json=order).raise_for_status().json()["id"]
    path = f"/api/v1/jobs/{job_id}"

    def said() -> list[str]:
        items = client.get(f"{path}/log").raise_for_status().json()["items"]
        return [item["text"] for item in items if item["stream"] == "stdout"]

    pid = int(wait_until(said, 60, "the bot's process id")[0])
    for verb, method, what, effect in (
        ("pause", "PUT", "pause", lambda: _state(pid) == "T"),
        ("resume", "DELETE", "pause", lambda: _state(pid) in {"R", "S"}),
        ("cancel", "POST", "cancellation", lambda: _state(pid) in {None, "Z", "X"}),
    ):
        found[verb].append(_timed(lambda: client.request(method, f"{path}/{what}").raise_for_status(), effect))  # noqa: B023
    wait_until(lambda: client.get(path).json()["state"] == "cancelled", 30, "the report")


def _timed(ask: Callable[[], object], effect: Callable[[], bool]) -> float:
    """Milliseconds from before the request to the effect; the answer may come later than that."""
    started = time.perf_counter()
    asking = threading.Thread(target=ask)
    asking.start()
    while not effect():
        time.sleep(0.001)
    elapsed = (time.perf_counter() - started) * 1000
    asking.join()
    return elapsed


def _state(pid: int) -> str | None:
    stat = read_stat(pid)
    return None if stat is None else stat.state


@contextmanager
def _installation(services: Services, folder: Path, store: str) -> Iterator[httpx.Client]:
    """A console and two runners, one of which is deaf; the client is an admin's."""
    home = folder / "home"
    home.mkdir(mode=0o700)
    url = f"sqlite:///{home / 'botkeep.db'}"
    if store == "postgresql":
        url = services.postgres().create_database("control")
    client_file, port = folder / "client.toml", free_port()
    environment = {
        "BOTKEEP_HOME": str(home),
        "BOTKEEP_DATABASE_URL": url,
        "BOTKEEP_REDIS_URL": services.redis("embedded" if store == "sqlite" else "server").url,
        "BOTKEEP_RUN_AS_ROOT": "true",
    }
    token = ["console", "token", "--name", "bench", "--role", "admin", "--client-file", str(client_file)]
    for words in (["runner.migrate"], ["vault", "keygen", "--env", "dev"], token):
        start_process([sys.executable, "-m", *words], env=environment, log_path=folder / "setup.log").wait(60)
    begun: list[Started] = []
    try:
        for name, argv in (
            ("console", ["-m", "console", "--port", str(port)]),
            ("hears", ["-m", "runner.worker", "--group", "hears", "--name", "hears"]),
            ("deaf", ["-c", DEAF, "--group", "deaf", "--name", "deaf"]),
        ):
            begun.append(start_process([sys.executable, *argv], env=environment, log_path=folder / f"{name}.log"))
        for process in begun:
            process.wait_for("console.started" if process.name == "console" else "runner.ready", 60)
        secret_line = next(line for line in client_file.read_text().splitlines() if line.startswith("token"))
        headers = {"Authorization": f"Bearer {json.loads(secret_line.partition('=')[2])}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as client:
            client.post("/api/v1/bots", params={"name": "spins"}, content=zipped(BOT)).raise_for_status()
            for group in ("hears", "deaf"):
                _round(client, group, {verb: [] for verb in VERBS})
            yield client
    finally:
        for process in begun:
            process.stop()


def _report(found: dict[str, dict[str, list[float]]], *, as_json: bool) -> int:
    figures = {
        f"{verb}_{percent}_ms_{how}": _percentile(times, percent)
        for how, verbs in found.items()
        for verb, times in verbs.items()
        for percent in ("p50", "p95")
    }
    worst = max(figures[f"{verb}_p95_ms_signals"] for verb in VERBS)
    if as_json:
        print(json.dumps(figures))
        return 0 if worst <= MOST_MS else 1
    rounds = {how: len(verbs["cancel"]) for how, verbs in found.items()}
    print(f"{'':10} {'with signals, ms':>24} {'polling only, ms':>24}")
    print(f"{'':10} {'p50':>12}{'p95':>12} {'p50':>12}{'p95':>12}")
    for verb in VERBS:
        row = "".join(
            f" {figures[f'{verb}_p50_ms_{how}']:12.1f}{figures[f'{verb}_p95_ms_{how}']:12.1f}"
            for how in ("signals", "polling")
        )
        print(f"{verb:10}{row}")
    print(f"{'rounds':10} {rounds['signals']:24} {rounds['polling']:24}")
    print(f"worst p95 with signals (≤ {MOST_MS} ms): {worst:.1f}")
    return 0 if worst <= MOST_MS else 1


def _percentile(times: list[float], percent: str) -> float:
    return sorted(times)[max(0, round(int(percent[1:]) / 100 * len(times)) - 1)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
