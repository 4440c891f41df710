"""Logs of real bots: followed live, with Redis and without, cut, and what their bots left besides."""

import json
import os
import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from redis.client import PubSub

from runner import live
from tests.conftest import Start
from tests.support import descendants, wait_until
from tests.system import System, start_runner

pytestmark = pytest.mark.timeout(240)

#: Prints a line for each word that its gate is given.
ECHO = """
import json, os
with open(json.load(open(os.environ["BOTKEEP_PARAMETERS_FILE"]))["gate"]) as gate:
    for word in gate:
        print(word, end="", flush=True)
"""

HOSTILE = r"""
import os, socket
os.chdir(os.environ["BOTKEEP_OUTPUT_DIR"])
value = os.environ["KLANGO_ASSET_SAP_PASSWORD"]
os.makedirs("deep/er")
open("deep/er/report.html", "w").write(f"<script>{value}</script> and more\n")
open("clean.bin", "wb").write(bytes(range(256)) * 10)
open("leak.bin", "wb").write(b"\0\1\2" + value.encode() + b"\0")
open(f"named-{value}.txt", "w").write("x")
open("bell\a.txt", "w").write("y")
os.symlink("/etc/passwd", "link")
os.symlink("..", "up")
os.mkfifo("pipe")
os.link("clean.bin", "twin")
socket.socket(socket.AF_UNIX).bind("sock")
print("left")
raise SystemExit(3)
"""


class Watcher:
    """Follows a log in a thread and keeps what it sees."""

    def __init__(self, system: System, job_id: str, **query: int) -> None:
        self.lines: list[str] = []
        self.ids: list[int] = []
        self.ended: dict[str, Any] | None = None
        self._url = f"{system.client.base_url}/api/v1/jobs/{job_id}/log/stream"
        self._headers, self._query = system.client.headers, query
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        with httpx.stream("GET", self._url, headers=self._headers, params=self._query, timeout=60) as answer:
            event = {}
            for text in answer.iter_lines():
                if text:
                    name, _, value = text.partition(": ")
                    event[name] = value
                    continue
                if event.get("event") == "line":
                    self.lines.append(json.loads(event["data"])["text"])
                    self.ids.append(int(event["id"]))
                elif event.get("event") == "end":
                    self.ended = json.loads(event["data"])
                event = {}

    def wait_for(self, *lines: str) -> None:
        wait_until(lambda: self.lines[-len(lines) :] == list(lines), 30, f"{lines} among {self.lines}")

    def wait_for_end(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()


@contextmanager
def echoing(system: System, tmp_path: Path) -> Iterator[tuple[str, Any]]:
    """A running job that prints what is written to its gate."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    system.add_bot("echo", ECHO)
    job_id = system.enqueue("echo", parameters={"gate": str(gate)})
    with gate.open("w", buffering=1) as pipe:
        yield job_id, pipe


def test_a_line_is_told_while_somebody_follows_and_only_then(system: System, tmp_path: Path) -> None:
    with echoing(system, tmp_path) as (job_id, pipe), closing(redis.Redis.from_url(system.stores.redis_url)) as broker:
        told = PubSub(broker.connection_pool)
        told.psubscribe(f"{live.CHANNEL}*")
        assert told.get_message(timeout=5) is not None
        pipe.write("before\n")
        wait_until(lambda: "before" in system.log(job_id), 10, "the line in the store")
        assert told.get_message(timeout=0.0) is None, "nobody followed"
        watcher = Watcher(system, job_id)
        watcher.wait_for("before")
        wait_until(lambda: broker.pubsub_numpat() >= 2, 10, "the console to hear")

        def told_now() -> bool:
            pipe.write("more\n")
            return told.get_message(timeout=0.3) is not None

        wait_until(told_now, 20, "what is told")
        told.close()
        pipe.write("last\n")
        watcher.wait_for("last")
        pipe.close()
        watcher.wait_for_end()
    assert watcher.ended == {"state": "succeeded", "reason": None, "exit_code": 0}
    texts = system.log(job_id, "stdout")
    assert watcher.lines[-len(texts) :] == texts
    assert watcher.ids == sorted(set(watcher.ids)), "each line once, in order"


def test_a_redis_that_dies_in_the_middle_stops_neither_log_nor_follower(system: System, tmp_path: Path) -> None:
    with echoing(system, tmp_path) as (job_id, pipe):
        watcher = Watcher(system, job_id)
        pipe.write("one\n")
        watcher.wait_for("one")
        with system.without_redis():
            pipe.write("two\n")
            watcher.wait_for("one", "two")
            pipe.write("three\n")
            watcher.wait_for("one", "two", "three")
        pipe.write("four\n")
        watcher.wait_for("one", "two", "three", "four")
        later = Watcher(system, job_id, after=watcher.ids[-3])
        later.wait_for("three", "four")
        pipe.close()
        watcher.wait_for_end()
        later.wait_for_end()
    assert later.lines == ["three", "four"]
    assert watcher.ended == later.ended


def test_an_end_is_told_when_the_bot_printed_nothing(system: System, tmp_path: Path) -> None:
    with echoing(system, tmp_path) as (job_id, pipe):
        watcher = Watcher(system, job_id)
        system.wait_for(job_id, "running")
        pipe.close()
        watcher.wait_for_end()
    assert watcher.ended is not None


def test_what_was_settled_outlives_a_runner_that_is_killed(system: System, tmp_path: Path, start: Start) -> None:
    runner = start_runner(system, start, name="killed", group="killed")
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    toml = 'name = "echo"\nentry = "main.py"\nretries = { runner_lost = 0 }\n'
    system.add_bot("echo", ECHO, toml=toml)
    job_id = system.enqueue("echo", group="killed", parameters={"gate": str(gate)})
    with gate.open("w", buffering=1) as pipe:
        pipe.write("kept\n")
        wait_until(lambda: system.log(job_id, "stdout") == ["kept"], 20, "the line in the store")
        pipe.write("perhaps\n")
        below = descendants(runner.pid)
        runner.stop(signal.SIGKILL)
        # A bot that saw the end of its pipe before its launcher killed it would have done its work, and not be lost.
        wait_until(lambda: not any(process.alive for process in below), 30, "the end of the bot")
    start_runner(system, start, name="killed", group="killed")
    assert system.wait_for(job_id)["reason"] == "runner_lost"
    assert system.log(job_id, "stdout")[0] == "kept"


@pytest.mark.parametrize(
    "print_all",
    [
        "for n in range(200_000): print('line', n)",
        "import sys; sys.stdout.write('x' * 5_000_000)",
        "import os\nfor n in range(40): os.write(1, os.urandom(65536))",
        "import os\nfor n in range(400): os.write(1, bytes(4000) + b'\\n'); os.write(2, b'\\xff' * 3000 + b'\\n')",
    ],
    ids=["lines", "one line", "noise", "nul"],
)
def test_a_flood_is_cut_in_the_middle_and_says_how_much(system: System, print_all: str) -> None:
    toml = 'name = "flood"\nentry = "main.py"\nlimits = { output = "1MB" }\n'
    system.add_bot("flood", f"print('first', flush=True)\n{print_all}\nprint('\\nlast')\n", toml=toml)
    job = system.run("flood")
    assert job["state"] == "succeeded"
    (warning,) = [text for text in job["warnings"] if "`output`" in text]
    assert "from the middle" in warning
    log = f"/api/v1/jobs/{job['id']}/log"
    head = system.client.get(log, params={"stream": "stdout"}).json()["items"]
    assert head[0]["text"] == "first"
    # What is read of one pipe may come before what was written to the other one earlier.
    tail = system.client.get(log, params={"tail": 500, "stream": "stdout"}).json()["items"]
    assert tail[-1]["text"] == "last"
    assert "left out here" in system.client.get(f"{log}", params={"search": "LEFT OUT", "limit": 1}).text
    whole = system.client.get(f"{log}/text").content
    assert 700_000 < len(whole) < (1 << 20) + 1000
    assert job["attempts"][0]["log_bytes"] > 0


def test_what_a_bot_leaves_is_kept_masked_withheld_or_refused(system: System) -> None:
    value = "Tr0ub4dor-artefact"
    system.set_value("SAP.PASSWORD", value)
    system.add_bot("leaves", HOSTILE)
    job = system.run("leaves")
    assert (job["state"], job["reason"]) == ("failed", "exit_code")
    outputs = f"/api/v1/jobs/{job['id']}/outputs"
    listed = {item["path"]: item for item in system.client.get(outputs).json()["items"]}
    assert set(listed) == {"bell\\x07.txt", "deep/er/report.html", "leak.bin", "named-***.txt"}
    refused = [text for text in job["warnings"] if "was not kept" in text]
    assert {text.split()[2] for text in refused} == {"clean.bin", "twin", "link", "up", "pipe", "sock"}
    assert value not in json.dumps(job)

    page = system.client.get(f"{outputs}/deep/er/report.html")
    assert page.text == "<script>***</script> and more\n"
    assert page.headers["content-type"] == "application/octet-stream"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["content-disposition"].startswith("attachment")
    assert listed["deep/er/report.html"]["masked"] is True

    withheld = system.client.get(f"{outputs}/leak.bin")
    assert withheld.status_code == 409
    assert "A value of an asset was found" in withheld.json()["error"]["message"]
    assert system.client.get(f"{outputs}/deep/../leak.bin").status_code in {404, 409}
    assert system.client.get(f"{outputs}/..%2f..%2fetc%2fpasswd").status_code == 404
    stored = list((system.home / "logs" / "jobs").rglob("*"))
    assert not [path for path in stored if path.is_file() and value.encode() in path.read_bytes()]


def test_what_is_within_the_limits_comes_back_as_it_was(system: System) -> None:
    source = "import os\nopen(os.environ['BOTKEEP_OUTPUT_DIR'] + '/noise', 'wb').write(bytes(range(256)) * 5000)\n"
    system.add_bot("noise", source)
    job = system.run("noise")
    (item,) = system.client.get(f"/api/v1/jobs/{job['id']}/outputs").json()["items"]
    assert (item["path"], item["size"], item["masked"]) == ("noise", 1_280_000, False)
    assert system.client.get(f"/api/v1/jobs/{job['id']}/outputs/noise").content == bytes(range(256)) * 5000


#: Fifty thousand lines of all fifty bots, as fast as they can, each with its own word.
CHATTERS = """
import json, os
word = json.load(open(os.environ["BOTKEEP_PARAMETERS_FILE"]))["word"]
for number in range(1000):
    print(word, number, "x" * 200)
"""


def test_fifty_bots_that_print_at_once_lose_and_mix_nothing(system: System, start: Start) -> None:
    group = f"chatter-{uuid.uuid4().hex[:8]}"
    system.add_bot("chatters", CHATTERS)
    ids = [system.enqueue("chatters", group=group, parameters={"word": f"word-{number}"}) for number in range(50)]
    start_runner(system, start, name=group, group=group, env={"BOTKEEP_CONCURRENCY": "50"})
    for number, job_id in enumerate(ids):
        assert system.wait_for(job_id, timeout=120)["state"] == "succeeded"
        expected = [f"word-{number} {line} {'x' * 200}" for line in range(1000)]
        assert system.log(job_id, "stdout") == expected
