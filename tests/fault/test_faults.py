"""The system when a part of it dies, is away, or is lied to: nothing is lost, nothing runs twice, nothing opens."""

import base64
import contextlib
import json
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from sqlalchemy import select, update

from runner import lanes
from runner.models import Job
from tests.conftest import Start
from tests.fault.staying import STAYS, alone, bot_of
from tests.nursery import Program
from tests.services import PostgresServer, RedisServer
from tests.support import Started, Stores, descendants, wait_until
from tests.system import START_WITHIN, System, digest, running, start_runner
from vault.decrypt import Identity
from vault.identities import create_key_file
from vault.models import Asset, AssetValue, Reading
from vault.names import ENVIRONMENTS

pytestmark = pytest.mark.timeout(240)

# Redis


def test_a_job_accepted_while_redis_is_away_starts_when_it_is_back(system: System) -> None:
    system.add_bot(source="print('ran')")
    with system.without_redis():
        job_id = system.enqueue()
        assert system.job(job_id)["state"] == "queued"
    job = system.wait_for(job_id, timeout=60)
    assert (job["state"], job["attempt"], system.log(job_id, "stdout")) == ("succeeded", 1, ["ran"])
    assert system.run()["state"] == "succeeded"


def test_a_bot_runs_on_while_redis_is_away(system: System, gate: Path) -> None:
    system.add_bot(source=STAYS)
    job_id = system.enqueue(parameters={"gate": str(gate)})
    bot = bot_of(system, job_id)
    with system.without_redis():
        assert bot.alive
        gate.touch()
        assert system.wait_for(job_id)["state"] == "succeeded"
    assert system.run(parameters={"gate": str(gate)})["attempt"] == 1


def test_jobs_survive_a_redis_that_forgets_everything(system: System, start: Start) -> None:
    system.add_bot(source="print('ran')")
    assert system.run()["state"] == "succeeded"
    group = alone("flushed")
    ids = [system.enqueue(group=group) for _ in range(3)]
    system.flush_redis()
    start_runner(system, start, name="after-the-flush", group=group)
    for job_id in ids:
        job = system.wait_for(job_id, timeout=60)
        assert (job["state"], job["attempt"]) == ("succeeded", 1)
    assert system.run()["state"] == "succeeded", "the runner that was there before goes on"


def test_bad_and_repeated_messages_break_nothing(system: System, start: Start) -> None:
    system.add_bot(source="print('ran')")
    group = alone("junk")
    good = system.enqueue(group=group)
    lane = f"botkeep:dev.{group}"
    with contextlib.closing(redis.Redis.from_url(system.stores.redis_url)) as client:
        (message,) = client.lrange(lane, 0, -1)
        for junk in bad_messages(json.loads(message)):
            client.lpush(lane, junk)
        client.lpush(lane, message, message)
        runner = start_runner(system, start, name="offered-junk", group=group)
        job = system.wait_for(good, timeout=60)
        later = system.run(group=group)
        wait_until(lambda: not client.llen(lane), 30, "the lane to be empty")
    assert {(each["state"], each["attempt"]) for each in (job, later)} == {("succeeded", 1)}
    assert system.log(good, "stdout") == ["ran"]
    assert runner.popen.poll() is None


def bad_messages(good: dict[str, Any]) -> Iterator[str | bytes]:
    """Messages that no version of Botkeep wrote."""

    def with_body(body: object, **headers: object) -> str:
        text = base64.b64encode(json.dumps(body).encode()).decode()
        return json.dumps({**good, "body": text, "headers": {**good["headers"], **headers}})

    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    for argument in (str(uuid.uuid4()), "no id", "../../etc/passwd", 7, None, ["a"], {"job": 1}, "x" * 100_000):
        yield with_body([[argument], {}, embed])
    yield with_body([[], {}, embed])
    yield with_body([["a", "b"], {"c": 1}, embed])
    yield with_body({"not": "a list"})
    yield with_body([[str(uuid.uuid4())], {}, embed], task="os.system")
    yield with_body([[str(uuid.uuid4())], {}, embed], eta="2999-01-01T00:00:00")
    yield json.dumps({**good, "content-type": "application/x-python-serialize"})
    yield json.dumps({**good, "body": "%%%"})
    yield json.dumps({**good, "properties": None})
    yield from (b"no JSON", b"\xff\xfe", b"", b"{}", b"[]", b"null", b"7", b"[" * 100_000)


# Keys and environments


def sees_prod_only_in_dev(system: System, start: Start, tmp_path: Path, group: str) -> Started:
    """A runner whose host holds the key of dev and no other."""
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o700)
    shutil.copy2(system.home / "keys/dev.key", keys / "dev.key")
    return start_runner(system, start, name="dev-only", group=group, env={"BOTKEEP_KEY_DIR": str(keys)})


def test_a_runner_of_dev_never_opens_a_value_of_prod(system: System, start: Start, tmp_path: Path) -> None:
    system.add_bot()
    for environment in ENVIRONMENTS:
        system.set_value("SAP.PASSWORD", f"of-{environment}", environment)
    group = alone("dev-only")
    runner = sees_prod_only_in_dev(system, start, tmp_path, group)
    whole, edited, moved = (system.enqueue(environment="prod", group=group) for _ in range(3))

    publish_into_dev(system, whole, group)
    ours = system.run(environment="dev", group=group)
    assert system.told(ours)["values"] == {"KLANGO_ASSET_SAP_PASSWORD": digest("of-dev")}
    assert system.job(whole)["state"] == "queued", "its runner does not serve prod"

    with system.edit() as session:
        session.execute(update(Job).where(Job.id == uuid.UUID(edited)).values(environment="dev"))
    publish_into_dev(system, edited, group)
    job = system.wait_for(edited)
    assert system.told(job)["values"] == {"KLANGO_ASSET_SAP_PASSWORD": digest("of-dev")}
    with system.edit() as session:
        read_in = session.scalars(select(Reading.environment).where(Reading.job_id == uuid.UUID(edited))).all()
    assert read_in == ["dev"]

    with system.edit() as session:
        session.execute(update(Job).where(Job.id == uuid.UUID(moved)).values(environment="dev"))
        asset_id = session.scalars(select(Asset.id)).one()
        of_prod = session.execute(
            select(AssetValue.envelope, AssetValue.recipient_id).where(AssetValue.environment == "prod")
        ).one()
        row = update(AssetValue).where(AssetValue.asset_id == asset_id, AssetValue.environment == "dev")
        session.execute(row.values(envelope=of_prod.envelope, recipient_id=of_prod.recipient_id))
    publish_into_dev(system, moved, group)
    job = system.wait_for(moved)
    assert (job["state"], job["reason"], system.log(moved, "stdout")) == ("failed", "undecryptable", [])
    assert digest("of-prod") not in runner.log + json.dumps(job)


def publish_into_dev(system: System, job_id: str, group: str) -> None:
    """Announce a job in the lane of dev, whatever its own environment is."""
    app = lanes.transport(system.stores.redis_url)
    assert lanes.publish(app, uuid.UUID(job_id), environment="dev", group=group, bot_id=uuid.uuid4())
    app.close()


#: Tries to start the worker once for each folder of keys in argv, in one process; prints the exit statuses.
TRIES = """
import json, os, sys
from runner.worker.__main__ import main
statuses = {}
for folder in sys.argv[1:]:
    os.environ["BOTKEEP_KEY_DIR"] = folder
    print(f"--- {os.path.basename(folder)}", file=sys.stderr, flush=True)
    statuses[os.path.basename(folder)] = main(["--environment", "dev", "--environment", "prod", "--name", "tried"])
print("STATUSES", json.dumps(statuses))
"""


def test_a_runner_does_not_start_with_keys_that_are_not_right(system: System, start: Start, tmp_path: Path) -> None:
    folders = spoiled_keys(system.home / "keys", tmp_path)
    tried = start(sys.executable, "-c", TRIES, *folders, env=system.env, name="tries")
    assert tried.wait(START_WITHIN) == 0, tried.log
    key = (system.home / "keys/prod.key").read_text().splitlines()[-1][30:60]
    said = dict(part.split("\n", 1) for part in tried.log.split("--- ")[1:])
    assert json.loads(tried.log.rpartition("STATUSES ")[2]) == dict.fromkeys(said, 5)
    for name, words in {
        "missing": "prod.key",
        "empty": "prod.key",
        "readable": "chmod 600",
        "replaceable": "chmod 700",
        "linked": "prod.key",
        "swapped": "prod",
        "damaged": "prod.key",
        "foreign": "does not open what the database was encrypted with",
    }.items():
        assert words in said[name], (name, said[name])
        assert "Traceback" not in said[name]
        assert key not in said[name]
    runners = [runner["name"] for runner in system.runners()]
    assert "tried" not in runners, "it never registered"


def spoiled_keys(keys: Path, tmp_path: Path) -> list[Path]:
    """Copies of the key folder, each wrong in the way that its name says."""

    def copy(name: str) -> Path:
        folder = tmp_path / name
        shutil.copytree(keys, folder)
        folder.chmod(0o700)
        return folder

    missing, empty, readable, replaceable, linked, swapped, damaged, foreign = made = [
        copy(name)
        for name in ("missing", "empty", "readable", "replaceable", "linked", "swapped", "damaged", "foreign")
    ]
    for folder in (missing, linked, foreign):
        (folder / "prod.key").unlink()
    (linked / "prod.key").symlink_to(keys / "prod.key")
    (empty / "prod.key").write_bytes(b"")
    (readable / "prod.key").chmod(0o644)
    replaceable.chmod(0o777)
    (swapped / "dev.key").rename(swapped / "kept")
    (swapped / "prod.key").rename(swapped / "dev.key")
    (swapped / "kept").rename(swapped / "prod.key")
    (damaged / "prod.key").write_text((keys / "prod.key").read_text()[:-20] + "\n")
    create_key_file(foreign / "prod.key", Identity.generate("prod"))
    return made


# The database


def botkeep(system: System, start: Start, *words: str) -> Started:
    """A command of the client, at its end."""
    env = {"BOTKEEP_URL": str(system.client.base_url), "BOTKEEP_TOKEN": system.token, "BOTKEEP_HOME": str(system.home)}
    command = start(sys.executable, "-m", "cli", *words, env=env, name="client")
    command.wait(START_WITHIN)
    return command


def test_a_database_that_is_away_is_waited_for(
    own_postgres: PostgresServer, new_redis: Callable[[str], RedisServer], start: Start
) -> None:
    url = own_postgres.create_database("own", template=own_postgres.migrated_template())
    stores = Stores("server", url, new_redis("server").url)
    with running(stores, forked=True) as system:
        gate = system.shared / "gate"
        system.add_bot(source=STAYS)
        job_id = system.enqueue(parameters={"gate": str(gate)})
        bot = bot_of(system, job_id)
        system.engine.dispose()
        own_postgres.stop()
        for words in (("job", "list"), ("run", "tells")):
            refused = botkeep(system, start, *words)
            assert refused.popen.returncode == 6, refused.log
            assert "Traceback" not in refused.log
        assert system.client.get("/readyz").status_code == 503
        assert system.client.get("/healthz").status_code == 200
        assert bot.alive
        gate.touch()
        wait_until(lambda: not bot.alive, 30, "the bot to end by itself")
        system.runner.wait_for("report.delayed")
        own_postgres.start()
        job = system.wait_for(job_id, timeout=60)
        assert (job["state"], job["attempt"]) == ("succeeded", 1)
        assert system.run(parameters={"gate": str(gate)})["state"] == "succeeded"
        system.check()


def test_a_runner_says_that_the_database_is_away(own_postgres: PostgresServer, system: System, start: Start) -> None:
    url = own_postgres.url("own")
    own_postgres.stop()
    env = {**system.env, "BOTKEEP_DATABASE_URL": url}
    runner = start(Program("runner.worker"), "--name", "lonely", env=env, name="lonely")
    try:
        assert runner.wait(START_WITHIN) == 6
        assert "The database cannot be used now" in runner.log
        assert "Traceback" not in runner.log
    finally:
        own_postgres.start()


# One home


def test_a_second_up_on_one_home_refuses_and_harms_nothing(home: Path, start: Start) -> None:
    up = (sys.executable, "-m", "cli", "up", "--port", "0")
    env = {"BOTKEEP_RUN_AS_ROOT": "true"}
    first = start(*up, env=env, name="first")
    first.wait_for("Botkeep is ready at", 2 * START_WITHIN)
    running_then = descendants(first.pid)
    second = start(*up, env=env, name="second")
    assert second.wait(START_WITHIN) == 5, second.log
    assert str(home) in second.log
    assert "Botkeep is ready" not in second.log
    assert all(process.alive for process in running_then)
    url = next(word for word in first.log.split() if word.startswith("http://"))
    assert httpx.get(f"{url}/readyz", trust_env=False).status_code == 200
    assert first.stop(timeout=90) == 0, first.log
    assert not any(process.alive for process in running_then)
