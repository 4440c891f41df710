"""Values that live on one host, on a running system: declared centrally, set there, given to the host's bots only."""

import os
import pty
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api import Api, serving
from tests.local_values import PASSPHRASE, Said, local, local_process
from tests.support import Stores, clean_environment, wait_until
from tests.system import System, digest

USER = "KLANGO_ASSET_SAP_USER"


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as api:
        api.add_bot("inv")
        yield api


@pytest.fixture
def local_system(system: System) -> Iterator[System]:
    """The shared system with the bot `inv`, two assets declared local for it, and no value on its host afterwards."""
    system.add_bot("inv", toml='name = "inv"\n[parameters.text]\n')
    for name in ("SAP.USER", "CERT.PFX"):
        declare(system, name)
    yield system
    shutil.rmtree(system.home / "local", ignore_errors=True)
    (system.home / "keys" / "local.key").unlink(missing_ok=True)


def declare(system: System, name: str, bot: str = "inv") -> None:
    path = f"/api/v1/assets/{name.replace('.', '/')}/local"
    answer = system.client.put(path, params={"bot": bot, "description": "of the portal"})
    assert answer.status_code == 200, answer.text


def done(said: Said) -> Said:
    assert said.status == 0, said.err
    return said


def said_by_the_console(system: System, name: str = "SAP.USER") -> dict[str, bool]:
    """What the console says of the system's runner."""
    items = system.client.get("/api/v1/local-values", params={"bot": "inv"}).json()["items"]
    runners = next(item["runners"] for item in items if item["asset"] == name)
    return next((one["environments"] for one in runners if one["state"] == "online"), {})


def test_an_asset_is_declared_local_for_one_bot_and_takes_no_value_here(api: Api) -> None:
    path, value = "/api/v1/assets/SAP/USER/local", "/api/v1/assets/SAP/USER/values/prod"
    assert api.client.put(path).status_code == 422, "a bot must be named"
    assert api.client.put(path, params={"bot": "nobody"}).status_code == 404
    answer = api.client.put(path, params={"bot": "inv", "description": "of the portal"})
    assert (answer.json()["local"], answer.json()["scope"]) == (True, "inv")
    refused = api.client.put(value, params={"bot": "inv"}, content=b"canary-7731")
    assert refused.status_code == 409
    message = refused.json()["error"]["message"]
    assert "botkeep local set inv SAP.USER --env prod" in message
    assert "7731" not in refused.text
    api.set_value("SAP.USER", b"the workspace's", "dev")
    api.set_value("DB.URL", b"central", "dev", bot="inv")
    central = api.client.put("/api/v1/assets/DB/URL/local", params={"bot": "inv"})
    assert central.status_code == 409
    assert "botkeep asset remove DB.URL --bot inv" in central.json()["error"]["message"]
    grid = api.client.get("/api/v1/coverage", params={"bot": "inv"}).json()["items"]
    assert {item["asset"]: item["prod"] for item in grid} == {"SAP.USER": "local", "DB.URL": "missing"}
    (item,) = api.client.get("/api/v1/local-values").json()["items"]
    assert item == {"asset": "SAP.USER", "bot": "inv", "description": "of the portal", "runners": []}
    viewer = api.role("viewer")
    assert viewer.put(path, params={"bot": "inv"}).status_code == 403
    assert viewer.get("/api/v1/local-values").status_code == 200
    actions = [event["action"] for event in api.client.get("/api/v1/audit").json()["items"]]
    assert "asset.declared" in actions
    assert api.client.delete("/api/v1/assets/SAP/USER", params={"bot": "inv"}).status_code == 204
    assert api.client.get("/api/v1/local-values").json()["items"] == []


def test_a_bot_that_lacks_a_local_value_is_queued_because_only_its_host_knows(api: Api) -> None:
    api.client.put("/api/v1/environments/prod", json={"unset": "refuse"})
    api.client.put("/api/v1/assets/SAP/USER/local", params={"bot": "inv"})
    assert api.client.get("/api/v1/coverage/refusals").json()["items"] == []
    assert api.client.post("/api/v1/jobs", json={"bot": "inv", "environment": "prod"}).status_code == 201


def test_a_local_value_reaches_the_bots_of_its_host_in_its_environment(local_system: System) -> None:
    system, pfx = local_system, b"\0\xff" + os.urandom(8190)
    missing = system.run("inv")
    assert any("botkeep local set inv SAP.USER --env dev" in warning for warning in missing["warnings"])
    assert system.told(missing)["values"][USER] == digest("")
    answer = done(local(system.env, "set", "inv", "SAP.USER", "--env", "dev", given=b"a-local-user\n"))
    assert "local value 1" in answer.out.decode()
    assert "a-local-user" not in answer.err
    (system.home / "cert").write_bytes(pfx)
    done(local(system.env, "set", "inv", "CERT.PFX", "--env", "dev", "--file", system.home / "cert"))
    job = system.run("inv", parameters={"text": "user={{ASSET.SAP.USER}}"})
    told = system.told(job)
    assert told["values"][USER] == digest("a-local-user")
    assert told["parameters"] == {"text": digest("user=a-local-user")}
    assert told["files"]["CERT.PFX"] == digest(pfx)
    readings = [(one["asset"], one["scope"], one["number"]) for one in job["readings"]]
    assert sorted(readings) == [("CERT.PFX", "local", 1), ("SAP.USER", "local", 1)]
    assert job["parameters"] == {"text": "user={{ASSET.SAP.USER}}"}
    other = system.run("inv", "prod")
    assert system.told(other)["values"][USER] == digest(""), "a dev value is none in prod"
    assert other["readings"] == []
    wait_until(lambda: said_by_the_console(system).get("dev"), 20, "the runner to say what its host has")
    assert said_by_the_console(system) == {"dev": True, "staging": False, "prod": False}
    done(local(system.env, "set", "inv", "SAP.USER", "--env", "dev", given=b"a-second-user"))
    again = system.run("inv")
    assert system.told(again)["values"][USER] == digest("a-second-user"), "the next run has the new value"
    assert {one["number"] for one in again["readings"] if one["asset"] == "SAP.USER"} == {2}


def test_a_missing_local_value_is_refused_where_unset_ones_are(local_system: System) -> None:
    local_system.policy("dev", "refuse")
    job = local_system.run("inv")
    assert job["reason"] == "asset_missing"
    assert "botkeep local set inv CERT.PFX --env dev" in job["detail"]
    assert job["readings"] == []


def test_a_bot_asks_for_a_local_value_until_the_host_is_locked(local_system: System) -> None:
    system = local_system
    source = "import botkeep, hashlib\nprint(hashlib.sha256(botkeep.get_secret('SAP.USER').encode()).hexdigest())\n"
    source += "print(botkeep.get_secret('SAP.USER'))\n"
    system.add_bot("inv", source)
    done(local(system.env, "set", "inv", "SAP.USER", given=b"a-local-user"))
    first = system.run("inv")
    assert system.log(first["id"], "stdout") == [digest("a-local-user"), "***"], (first, system.log(first["id"]))
    done(local(system.env, "protect", "--with", "passphrase", given=PASSPHRASE.encode()))
    job = system.run("inv")
    assert (job["reason"], job["readings"]) == ("undecryptable", [])
    assert "botkeep local unlock" in job["detail"]
    (status,) = done(local(system.env, "status", "--json")).items
    assert (status["locked"], status["waiting"]) == (True, ["inv"])
    wrong = local(system.env, "unlock", "--json", given=b"another passphrase")
    assert (wrong.status, wrong.items[0]["error"]["code"]) == (4, "locked")
    done(local(system.env, "unlock", given=PASSPHRASE.encode()))
    assert system.run("inv")["state"] == "succeeded"
    done(local(system.env, "lock"))
    assert system.run("inv")["reason"] == "undecryptable"


def test_everything_works_without_the_database_and_the_console(local_system: System) -> None:
    done(local(local_system.env, "list"))
    away = {**local_system.env, "BOTKEEP_DATABASE_URL": "postgresql+psycopg://nobody@127.0.0.1:1/none"}
    for name in ("BOTKEEP_URL", "BOTKEEP_REDIS_URL"):
        away[name] = "http://127.0.0.1:1"
    done(local(away, "set", "inv", "SAP.USER", given=b"a value"))
    assert done(local(away, "reveal", "inv", "SAP.USER")).out == b"a value"
    listed = {item["asset"]: item for item in done(local(away, "list", "--json")).items}
    assert listed["SAP.USER"]["environments"]["dev"]["number"] == 1
    assert listed["CERT.PFX"]["environments"] == {"dev": None, "staging": None, "prod": None}
    unknown = local(away, "set", "inv", "SAP.USR", given=b"a value")
    assert (unknown.status, unknown.err) == (
        3,
        "SAP.USR is no declared local asset of the bot 'inv'. Did you mean SAP.USER?\n",
    )


def test_what_vanished_centrally_is_an_orphan_and_comes_back(local_system: System) -> None:
    system = local_system
    done(local(system.env, "set", "inv", "SAP.USER", given=b"a value"))
    assert system.client.delete("/api/v1/bots/inv").status_code == 204
    (orphan,) = done(local(system.env, "orphans", "--json")).items
    assert (orphan["bot"], orphan["asset"], orphan["orphan"]) == ("inv", "SAP.USER", True)
    assert done(local(system.env, "reveal", "inv", "SAP.USER")).out == b"a value"
    system.add_bot("renamed")
    declare(system, "PORTAL.USER", "renamed")
    done(local(system.env, "adopt", "inv", "SAP.USER", "--as", "PORTAL.USER", "--to-bot", "renamed"))
    assert done(local(system.env, "orphans", "--json")).items == []
    assert system.told(system.run("renamed"))["values"]["KLANGO_ASSET_PORTAL_USER"] == digest("a value")


def test_an_asset_that_was_declared_again_a_moment_ago_is_the_one_that_is_set(local_system: System) -> None:
    system, path = local_system, "/api/v1/assets/SAP/USER"
    done(local(system.env, "list"))
    before = (system.home / "local" / "known.json").read_bytes()
    assert system.client.delete(path, params={"bot": "inv"}).status_code == 204
    declare(system, "SAP.USER")
    (system.home / "local" / "known.json").write_bytes(before)  # as if no runner had had a beat since
    done(local(system.env, "set", "inv", "SAP.USER", given=b"a value"))
    assert done(local(system.env, "orphans", "--json")).items == []
    assert system.told(system.run("inv"))["values"][USER] == digest("a value")


def test_a_full_disk_loses_nothing(local_system: System) -> None:
    env, folder = local_system.env, local_system.home / "local"
    done(local(env, "set", "inv", "SAP.USER", given=b"the first"))
    before = (folder / "values.json").read_bytes()
    full = local_process(env, "set", "inv", "SAP.USER", given=b"x" * 100_000, limit=16)
    assert full.status == 5
    assert full.err.startswith(f"The file of local values {folder}/values.json cannot be written")
    assert "it is as it was before" in full.err
    assert (folder / "values.json").read_bytes() == before
    assert done(local(env, "reveal", "inv", "SAP.USER")).out == b"the first"
    assert sorted(path.name for path in folder.iterdir()) == ["journal", "known.json", "values.json"]
    outcomes = [line["outcome"] for line in done(local(env, "audit", "--json")).items]
    assert outcomes == ["done", "done", "failed", "done"], "set, set, which failed, reveal"


def test_a_value_is_typed_without_echo_and_is_in_no_command_line(local_system: System) -> None:
    master, slave = pty.openpty()
    env = {**clean_environment(), **local_system.env}
    command = [sys.executable, "-m", "runner.worker.local", "set", "inv", "SAP.USER"]
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True)
    os.close(slave)
    shown = b""
    try:
        for prompt in (b"Value of SAP.USER in dev:", b"The same again:"):
            shown = seen(master, shown, prompt)
            assert b"typed-value" not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
            os.write(master, b"typed-value\n")
        shown = seen(master, shown, b"local value 1")
    finally:
        if b"local value 1" not in shown:
            process.kill()
        process.wait(20)
        os.close(master)
    assert process.returncode == 0, shown
    assert b"typed-value" not in shown
    assert done(local(local_system.env, "reveal", "inv", "SAP.USER")).out == b"typed-value"


def seen(master: int, before: bytes, wanted: bytes) -> bytes:
    """What a terminal shows, once `wanted` is in it."""
    shown = before

    def read() -> bool:
        nonlocal shown
        if select.select([master], [], [], 0)[0]:
            shown += os.read(master, 65536)
        return wanted in shown

    wait_until(read, 30, f"{wanted!r} on the terminal, which shows {shown!r}")
    return shown
