"""What real bots give as results and put into work items: masked, bounded, and shown with the job."""

import pytest

from tests.fault.staying import alone
from tests.system import System

pytestmark = pytest.mark.timeout(120)

GIVES = """
import base64, json, botkeep
value = botkeep.assets["SAP.PASSWORD"]
given = botkeep.parameters()
botkeep.output("plain", {"n": 1, "list": [True, None, 1.5], "text": "x"})
botkeep.output("plain", {"n": 2})
botkeep.output("leak", {"a": value, value: "key", "b": ["in " + value, base64.b64encode(value.encode()).decode()]})
botkeep.output("number", int(botkeep.assets["SAP.PIN"]))
botkeep.output("token", __import__("os").environ["BOTKEEP_TOKEN"])
for key, bad in (("1st", 1), ("ok", float("nan")), ("ok", {1, 2}), ("large", "x" * 70_000), ("nul", chr(0))):
    try:
        botkeep.output(key, bad)
    except botkeep.Refused as error:
        print("refused", key, str(error)[:60])
botkeep.work_items.add(given["tray"], {"password": value}, reference="r")
try:
    botkeep.work_items.add(given["tray"], 1, reference="r")
except botkeep.Refused as error:
    print("refused", error)
with botkeep.work_items.reserve(given["tray"]) as item:
    print(item, item.data, item.tries)
    raise botkeep.BusinessError("wrong: " + value)
"""


def test_results_and_items_are_masked_bounded_and_shown(system: System) -> None:
    system.set_value("SAP.PASSWORD", "hunter2-correct-horse")
    system.set_value("SAP.PIN", "73190246")
    system.add_bot("gives", GIVES)
    tray = alone("tray")
    job = system.run("gives", parameters={"tray": tray})
    log = system.log(job["id"])
    assert job["state"] == "succeeded", log
    assert job["results"]["plain"] == {"n": 2}
    assert job["results"]["leak"] == {"a": "***", "***": "key", "b": ["in ***", "***"]}
    assert (job["results"]["number"], job["results"]["token"]) == ("***", "***")
    assert set(job["results"]) == {"plain", "leak", "number", "token"}
    assert sum(line.startswith("refused") for line in log) == 6, log
    (item,) = system.client.get("/api/v1/work-items", params={"tray": tray}).json()["items"]
    assert (item["data"], item["state"], item["reason"]) == ({"password": "***"}, "failed", "business")
    assert item["detail"] == "BusinessError: wrong: ***"


def test_a_repeated_attempt_begins_without_the_results_of_the_former(system: System) -> None:
    source = """
import os, sys, botkeep
botkeep.output("attempt" + os.environ["BOTKEEP_ATTEMPT"], 1)
sys.exit(0 if os.environ["BOTKEEP_ATTEMPT"] == "2" else 1)
"""
    system.add_bot("twice", source, toml="retries = { limit = 1, delay = 0 }\n")
    job = system.run("twice")
    assert (job["state"], job["results"]) == ("succeeded", {"attempt2": 1})


def test_a_bot_reaches_the_trays_of_its_own_environment_only(system: System) -> None:
    tray = alone("tray")
    body = {"tray": tray, "data": 1, "environment": "prod"}
    assert system.client.post("/api/v1/work-items", json=body).status_code == 201
    system.add_bot("takes", "import botkeep\nprint(botkeep.work_items.reserve(botkeep.parameters()['tray']))\n")
    said = {}
    for environment in ("dev", "prod"):
        job = system.run("takes", environment, parameters={"tray": tray})
        said[environment] = system.log(job["id"], "stdout")[0]
    assert said["dev"] == "None"
    assert said["prod"].startswith("<work item")
