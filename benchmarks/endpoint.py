"""How fast bots read values at their endpoint, beside a bare `http.server` that answers a constant.

    python -m benchmarks.endpoint [--json] [--rounds N]

Both sides are a process of their own; one client asks them in turns, a new connection for each reading, as the SDK
does. Measured are readings a second and the 99th percentile of one reading. Misses its target below 1,000 readings a
second, or with a p99 above 5 ms.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from runner.worker.endpoint import Endpoint
from runner.worker.grant import Grant
from vault.decrypt import Secret
from vault.names import AssetName

LEAST_A_SECOND, MOST_P99 = 1000.0, 0.005

#: Readings of one side before the other's turn.
TURN = 200

VALUE = b"a value of usual length"


@dataclass(slots=True)
class Side:
    """The times of single readings, in seconds."""

    port: int
    path: str
    token: str = ""
    times: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, float]:
        """Readings a second, and percentiles in milliseconds."""
        cuts = statistics.quantiles(self.times, n=100)
        return {
            "a_second": len(self.times) / sum(self.times),
            "p50_ms": statistics.median(self.times) * 1000,
            "p99_ms": cuts[98] * 1000,
        }


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.endpoint", description="What a reading costs.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=15, help=f"turns of {TURN} readings for each side")
    parser.add_argument("--serve", choices=["ours", "bare"], help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.serve:
        SERVE[options.serve]()
        return 0
    found = measured(options.rounds)
    ours = found["ours"]
    missed = ours["a_second"] < LEAST_A_SECOND or ours["p99_ms"] > MOST_P99 * 1000
    if options.json:
        print(json.dumps(found))
        return int(missed)
    print(f"{'':12}{'readings/s':>12}{'p50':>10}{'p99':>10}")
    for name, figures in found.items():
        print(f"{name:12}{figures['a_second']:12,.0f}{figures['p50_ms']:7.2f} ms{figures['p99_ms']:7.2f} ms")
    ratio = ours["a_second"] / found["http.server"]["a_second"]
    print(f"ours is {ratio:.2f} of the bare server; target: 1,000 readings/s and p99 of 5 ms at most")
    return int(missed)


def measured(rounds: int) -> dict[str, dict[str, float]]:
    """The figures of both sides, in turns."""
    processes = {name: start(name) for name in SERVE}
    try:
        told = {name: process.stdout.readline() for name, process in processes.items() if process.stdout}
        sides = {name: Side(**json.loads(line)) for name, line in told.items()}
        for side in sides.values():
            read(side, TURN)
            side.times.clear()
        for _ in range(rounds):
            for side in sides.values():
                read(side, TURN)
    finally:
        for process in processes.values():
            process.kill()
            process.communicate()
    return {"ours": sides["ours"].summary(), "http.server": sides["bare"].summary()}


def start(name: str) -> "subprocess.Popen[str]":
    """A server in a process of its own, which says where it is."""
    command = [sys.executable, "-c", f"from benchmarks.endpoint import main; main(['--serve', '{name}'])"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def read(side: Side, times: int) -> None:
    """Read so many times, each by a connection of its own."""
    headers = {"Authorization": f"Bearer {side.token}"} if side.token else {}
    for _ in range(times):
        before = time.perf_counter()
        connection = HTTPConnection("127.0.0.1", side.port, timeout=10)
        connection.request("GET", side.path, headers=headers)
        body = connection.getresponse().read()
        connection.close()
        side.times.append(time.perf_counter() - before)
        assert body == VALUE


def serve_ours() -> None:
    """The endpoint with one attempt of 100 assets."""
    names = [AssetName("SAP", f"PASSWORD_{number}") for number in range(100)]
    values = {name: Secret(VALUE) for name in names}
    endpoint = Endpoint()
    endpoint.start()
    token = endpoint.admit(Grant(lambda: names, values.__getitem__, lambda _value: True))
    port = int(endpoint.url.rpartition(":")[2])
    print(json.dumps({"port": port, "path": "/v1/assets/SAP/PASSWORD_7", "token": token}), flush=True)
    time.sleep(3600)


class Constant(BaseHTTPRequestHandler):
    """Answers the same to everybody."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(VALUE)))
        self.end_headers()
        self.wfile.write(VALUE)

    def log_message(self, *_arguments: object) -> None:
        """Nothing is logged."""


def serve_bare() -> None:
    """The baseline."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Constant)
    print(json.dumps({"port": server.server_port, "path": "/"}), flush=True)
    server.serve_forever()


SERVE: dict[str, Callable[[], None]] = {"ours": serve_ours, "bare": serve_bare}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
