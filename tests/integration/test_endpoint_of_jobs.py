"""What real bots ask of their endpoint: what they may, what they may not, how far they are, and after their end."""

import json
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import select

from tests.fault.staying import alone
from tests.support import wait_until
from tests.system import System
from vault.models import AuditEvent

pytestmark = pytest.mark.timeout(150)

ASKS = """
import json, os, pathlib, time, urllib.error, urllib.request, botkeep
folder = pathlib.Path(botkeep.parameters()["folder"])
def tried(call):
    try:
        return str(call())
    except Exception as error:
        return type(error).__name__
def asked(path, **headers):
    request = urllib.request.Request(os.environ["BOTKEEP_ENDPOINT"] + path, headers={
        "Authorization": "Bearer " + os.environ["BOTKEEP_TOKEN"], **headers})
    try:
        return urllib.request.urlopen(request).status
    except urllib.error.HTTPError as error:
        return error.code
Secret = botkeep.Secret
made = Secret.create("SESSION.TOKEN", "made-by-the-bot-itself")
told = {
    "own": tried(lambda: Secret.from_name("SESSION.TOKEN").read_value().get_secret_value() == "made-by-the-bot-itself"),
    "shown": tried(lambda: made.read_value()),
    "another_bots": tried(lambda: botkeep.assets["OTHER.OWN"]),
    "by_its_value": tried(lambda: botkeep.assets["X." + botkeep.assets["SAP.PASSWORD"]]),
    "another_workspaces": tried(lambda: Secret.from_uri("roboto-secret://x@elsewhere")),
    "cut_off": tried(lambda: Secret.from_uri("roboto-secret://x@default-1")),
    "undeclared": tried(lambda: Secret.from_name("SAP.PASSWORD").update_value("changed")),
    "dialect": [asked("/compat/roboto/v1/secrets"), asked("/compat/rc/x"), asked("/compat/x/y")],
    "host": asked("/v1/assets", Host="evil.example"),
    "fraction": tried(lambda: botkeep.progress(2)),
}
print("made-by-the-bot-itself")
for number in range(50):
    botkeep.progress(number / 100, "row %d of 50, %s" % (number, botkeep.assets["SAP.PASSWORD"]))
(folder / "told.json").write_text(json.dumps({
    **told,
    "url": os.environ["BOTKEEP_ENDPOINT"], "token": os.environ["BOTKEEP_TOKEN"],
    "values": os.environ["BOTKEEP_ASSET_DIR"], "mode": oct(os.stat(os.environ["BOTKEEP_ASSET_DIR"]).st_mode & 0o777)}))
while not (folder / "go").exists():
    time.sleep(0.02)
"""


def refusals(system: System, job_id: str) -> list[str]:
    with system.edit() as session:
        rows = session.scalars(select(AuditEvent).where(AuditEvent.actor == f"job {job_id}")).all()
        return sorted(row.object for row in rows if row.action == "endpoint.refused" and row.outcome == "refused")


def status(url: str, token: str, path: str = "/v1/assets") -> int:
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    found = connection.getresponse().status
    connection.close()
    return found


def test_a_bot_gets_what_is_its_own_and_every_refusal_is_in_the_audit(system: System) -> None:
    folder = system.shared / alone("asks")
    folder.mkdir()
    system.set_value("SAP.PASSWORD", "correct_horse_battery")
    system.add_bot("other", "print(1)")
    system.set_value("OTHER.OWN", "a value of another bot", bot="other")
    system.add_bot("asks", ASKS, toml='writes = ["SESSION.*"]\n')
    job_id = system.enqueue("asks", parameters={"folder": str(folder)})
    wait_until((folder / "told.json").exists, 90, "the bot to have asked")
    wait_until(lambda: (system.job(job_id)["progress"] or {}).get("fraction") == 0.49, 20, "the last progress")
    progress = system.job(job_id)["progress"]
    assert progress["text"] == "row 49 of 50, ***"
    told: dict[str, Any] = json.loads((folder / "told.json").read_text())
    (folder / "go").touch()
    job = system.wait_for(job_id)
    assert job["state"] == "succeeded", system.log(job_id)
    assert job["progress"] is None
    assert system.log(job_id, "stdout") == ["***"], "what a bot sets is masked in its log"
    url, token, values = told.pop("url"), told.pop("token"), told.pop("values")
    assert told == {
        "own": "True",
        "shown": "**********",
        "another_bots": "UnknownAsset",
        "by_its_value": "UnknownAsset",
        "another_workspaces": "Refused",
        "cut_off": "UnknownAsset",
        "undeclared": "Refused",
        "dialect": [401, 401, 401],
        "host": 401,
        "fraction": "Refused",
        "mode": "0o700",
    }
    assert refusals(system, job_id) == ["asset OTHER.OWN", "asset SAP.PASSWORD, to be written", "asset X.***"]
    assert list(Path(values).iterdir()) == []
    assert status(url, token) == 401
    assert status(url, token, "/v1/assets/SAP/PASSWORD") == 401
    assert "anything after its end" in refusals(system, job_id)
    written = system.client.get("/api/v1/assets/SESSION/TOKEN").json()
    assert "made-by-the-bot-itself" not in json.dumps(written)
    after = system.run("asks", parameters={"folder": str(folder)})
    assert {"asset": "SESSION.TOKEN", "scope": "workspace", "number": 1, "attempt": 1} in after["readings"]


def test_a_reference_to_another_workspace_is_refused_by_the_runner_too(system: System) -> None:
    system.set_value("GLOBAL.X", "some value of this workspace")
    system.add_bot("takes", "print(1)")
    code, message = system.refused("takes", parameters={"key": "roboto-secret://x@elsewhere"})
    assert (code, "elsewhere" in message) == (422, True)
    job_id = system.enqueue("takes", group="parked", parameters={"key": "roboto-secret://x@default"})
    with system.edit() as session:
        from runner.models import Job

        job = session.scalars(select(Job).where(Job.bot_id.is_not(None)).order_by(Job.id.desc())).first()
        assert job is not None
        job.parameters = {"key": "roboto-secret://x@elsewhere"}
    system.release(job_id)
    ended = system.wait_for(job_id)
    assert (ended["state"], ended["reason"]) == ("failed", "asset_denied")
    assert ended["readings"] == []
