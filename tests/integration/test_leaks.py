"""A bot that leaks all it has in every way, and a search of every place where anything of it could be kept.

The same once more with the masker switched off shows that the search would notice.
"""

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import kombu.pools
import pytest
import redis

from runner import lanes
from tests import canaries, recorder
from tests.canaries import Canary, Hit, Place, Searcher
from tests.support import ROOT, Start
from tests.system import System, digest, start_runner

#: In the runner's process, before the real worker: nothing is found in any output.
OFF = "from runner.worker.masker import Masker; Masker.scan = lambda self, buffer: ([], len(buffer))"

#: What people may ask a Celery worker by remote control.
INSPECTIONS = ("active", "reserved", "scheduled", "revoked", "registered", "stats", "conf", "report", "active_queues")


@pytest.fixture
def planted(system: System) -> list[Canary]:
    """The values of every kind, and the one that the bot makes of one of them."""
    found = []
    for name, make in {
        "LOGIN.PASSWORD": canaries.text,
        "GLOBAL.APIKEY": canaries.plain,
        "SSH.KEY": canaries.lines,
        "BLOB.FILE": canaries.binary,
    }.items():
        found.append(make(name))
        system.set_value(name, found[-1].value)
    made = hashlib.sha256(found[1].value).hexdigest().encode()
    return [*found, Canary("a value that the bot made", made, (made[:30], made[30:]))]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("switched", ["on", "off"])
def test_no_value_is_anywhere_after_a_bot_leaked_it_in_every_way(
    system: System, planted: list[Canary], start: Start, switched: str, tmp_path: Path
) -> None:
    runner = start_runner(system, start, name="leaky", group="leaks", code="" if switched == "on" else OFF)
    system.add_bot("leaks", (ROOT / "tests/bots/leaks.py").read_text())
    with redis.Redis.from_url(system.stores.redis_url) as broker, recorder.monitored(broker) as commands:
        job_id, said = leak(system)
        found = Searcher(planted).look(canaries.keys(broker))
    assert runner.stop() == 0
    found |= Searcher(planted).look(kept(system, tmp_path))
    found |= Searcher(planted).look(("MONITOR", command) for command in commands)
    found |= Searcher(planted).look([*said, *answers(system, job_id)])

    assert any(b"job.finished" in path.read_bytes() for path in tmp_path.glob("leaky*.log"))
    if switched == "on":
        assert sorted(map(str, found)) == []
        assert dict(said)["the live stream"].count(b"***") > 100
    else:
        assert_noticed(found, planted)


def leak(system: System) -> tuple[str, list[Place]]:
    """A job of the bot at its end, and what was heard meanwhile: its live stream, and remote control's replies."""
    gate = system.shared / "leaks.gate"
    os.mkfifo(gate)
    try:
        with controlled(system) as control:
            control.enable_events()  # which are off until somebody asks for them
            job_id = system.enqueue(
                "leaks", group="leaks", parameters={"gate": str(gate), "end": "exit"} | references()
            )
            heard: list[bytes] = []
            follower = threading.Thread(target=follow, args=(system, job_id, heard))
            follower.start()
            with gate.open("wb") as pipe:  # opens when the bot opens its end: its values were decrypted
                replies = [(f"inspect {what}", inspected(control, what)) for what in INSPECTIONS]
                pipe.write(b"go on\n")
            job = system.wait_for(job_id, timeout=90)
            follower.join(30)
    finally:
        gate.unlink()
    assert job["reason"] == "exit_code", (job, system.log(job_id)[-5:])
    return job_id, [*replies, ("the live stream", b"".join(heard))]


def references() -> dict[str, str]:
    return {"token": "x{{ASSET.GLOBAL.APIKEY}}y", "user": "secret://LOGIN/PASSWORD"}


@contextmanager
def controlled(system: System) -> Iterator[Any]:
    """Celery's remote control, as `celery inspect` uses it."""
    app = lanes.transport(system.stores.redis_url)
    # kombu keeps connections for the life of a process, by address, and another test may have restarted the broker.
    kombu.pools.reset()  # type: ignore[no-untyped-call]
    try:
        yield app.control
    finally:
        app.close()


def inspected(control: Any, what: str) -> bytes:  # noqa: ANN401 - Celery's
    """The one runner's reply."""
    runner = f"leaky@{os.uname().nodename}"
    reply = getattr(control.inspect(destination=[runner], timeout=20, limit=1), what)()
    assert runner in reply, (what, reply)
    return json.dumps(reply, default=str).encode()


def follow(system: System, job_id: str, heard: list[bytes]) -> None:
    """The job's log as a page in a browser hears it, until it ends."""
    with system.client.stream("GET", f"/api/v1/jobs/{job_id}/log/stream", timeout=120) as answer:
        heard.extend(answer.iter_bytes())


def kept(system: System, folder: Path) -> Iterator[Place]:
    """Every file of the system and of its stores, every log of a process, every row."""
    stores = [system.broker.directory] if system.broker else []
    yield from canaries.files(system.home, folder, *stores, *Path("/dev/shm").glob("botkeep-*"))
    yield from canaries.rows(system.stores.database_url)


def answers(system: System, job_id: str) -> Iterator[Place]:
    """All that the API says of the job and of whatever it touched."""
    paths = [f"jobs/{job_id}", f"jobs/{job_id}/log?limit=5000", f"jobs/{job_id}/log/stream", "jobs", "audit", "runners"]
    yield from answers_of(system, *paths, "assets", "assets/SSH/KEY", "coverage", "bots/leaks", "tokens")
    left = system.client.get(f"/api/v1/jobs/{job_id}/outputs", params={"limit": 500}).json()["items"]
    assert left, "it left files in its output folder"
    yield "the list of outputs", json.dumps(left).encode()
    for item in left:
        answer = system.client.get(f"/api/v1/jobs/{job_id}/outputs/{quote(item['path'])}")
        yield f"the output {item['path']}", answer.content


def answers_of(system: System, *paths: str) -> Iterator[Place]:
    """What the API answers there, and to those who watch it."""
    for path in (*(f"/api/v1/{each}" for each in paths), "/metrics", "/readyz"):
        answer = system.client.get(path)
        assert answer.status_code == 200, (path, answer.text[:300])
        yield path, answer.content


def assert_noticed(found: set[Hit], planted: list[Canary]) -> None:
    """Every value, in the log's file, its page, its stream and on its way there."""
    by_place = {hit.place for hit in found}
    assert {hit.canary for hit in found} == {canary.name for canary in planted}
    assert "the live stream" in by_place
    assert any(place.startswith("/api/v1/jobs/") for place in by_place)
    assert any("/logs/" in place for place in by_place)
    assert "MONITOR" in by_place, "what followers are told goes through Redis"
    assert not {place for place in by_place if place.startswith(("inspect", "the key"))}


def test_a_value_written_into_a_parameter_becomes_a_reference_and_a_warning(system: System) -> None:
    value = canaries.text("SAP.PASSWORD")
    system.set_value("SAP.PASSWORD", value.value)
    system.set_value("SAP.USER", "administrator")
    system.add_bot()

    written = {"login": {"as": ["administrator", f"x{value.value.decode()}y"]}, "token": "{{ASSET.SAP.PASSWORD}}"}
    job = system.run(parameters=written)

    (warning,) = job["warnings"]
    assert warning.startswith("The parameter login was given the value of SAP.PASSWORD itself")
    assert "{{ASSET.SAP.PASSWORD}}" in warning
    assert value.cores[0].decode() not in warning
    kept = {"login": {"as": ["administrator", "x{{ASSET.SAP.PASSWORD}}y"]}, "token": "{{ASSET.SAP.PASSWORD}}"}
    assert job["parameters"] == kept
    assert Searcher([value]).look(canaries.rows(system.stores.database_url)) == set()
    given = system.told(job)["parameters"]
    assert given["login"]["as"][1] == digest(f"x{value.value.decode()}y"), "the bot got what was typed"
    again = system.wait_for(system.client.post(f"/api/v1/jobs/{job['id']}/retry").json()["id"])
    assert again["parameters"] == kept
    assert again["warnings"] == []
    assert system.told(again)["parameters"] == given


def test_a_password_in_a_requirement_is_in_no_sentence_about_its_failed_installation(system: System) -> None:
    token = canaries.plain("a token")
    required = f"erp @ https://oauth2:{token.value.decode()}@127.0.0.1:1/erp-1.0-py3-none-any.whl\n"
    system.add_bot("needs", "print('never')\n", **{"requirements.txt": required})

    job = system.run("needs")

    assert job["reason"] == "dependencies", job
    assert "***" in job["detail"]
    assert Searcher([token]).look(answers_of(system, f"jobs/{job['id']}", f"jobs/{job['id']}/log", "jobs")) == set()
    assert Searcher([token]).look(canaries.files(system.home / "logs", system.home / "process-logs")) == set()


def test_a_sentence_about_a_failed_start_holds_no_value(system: System) -> None:
    value = canaries.plain("SAP.PASSWORD")
    system.set_value("SAP.PASSWORD", value.value)
    system.add_bot("starts", toml=f'name = "starts"\ncommand = ["./{value.value.decode()}"]\n')

    job = system.run("starts")

    assert job["reason"] == "start_failed", job
    assert "***" in job["detail"]
    assert Searcher([value]).look(answers_of(system, f"jobs/{job['id']}", f"jobs/{job['id']}/log", "jobs")) == set()
    assert Searcher([value]).look(canaries.files(system.home / "logs", system.home / "process-logs")) == set()


def test_a_bot_names_values_and_learns_which_of_them_are_not_masked(system: System) -> None:
    source = """
import botkeep

token = "-".join(["session", "token", "77"])
print(botkeep.mask(token), botkeep.mask("471"), token, "471")
try:
    botkeep.mask("x" * 9000)
except botkeep.MaskRefused as error:
    print(error)
"""
    system.add_bot("names", source)

    job = system.run("names")

    assert system.log(job["id"], "stdout") == [
        "True False *** 471",
        "A value to mask has at most 8,192 bytes; name the part that matters.",
    ]
    assert job["warnings"] == ["The bot named one value too short to be masked in the log (`botkeep.mask`)."]
