"""Which value of which asset a bot gets, and what history says about it."""

import threading
from datetime import UTC, datetime

import pytest

from runner.workspaces import default_workspace
from tests.system import PARKED, System, digest
from vault import assets
from vault.audit import Actor
from vault.names import ENVIRONMENTS, AssetName

pytestmark = pytest.mark.timeout(240)

DECLARES = 'assets = ["{}"]\n'


def readings(job: dict[str, object]) -> list[tuple[str, str, int]]:
    found = job["readings"]
    assert isinstance(found, list)
    return [(reading["asset"], reading["scope"], reading["number"]) for reading in found]


def test_one_bot_gets_three_different_values_in_three_environments(system: System) -> None:
    system.add_bot()
    for environment in ENVIRONMENTS:
        system.set_value("SAP.PASSWORD", f"of-{environment}", environment)
    jobs = [system.run(environment=environment) for environment in ENVIRONMENTS]
    assert [job["environment"] for job in jobs] == list(ENVIRONMENTS)
    seen = [system.told(job)["values"]["KLANGO_ASSET_SAP_PASSWORD"] for job in jobs]
    assert seen == [digest(f"of-{environment}") for environment in ENVIRONMENTS]
    assert all(readings(job) == [("SAP.PASSWORD", "workspace", 1)] for job in jobs)


def test_a_job_without_an_environment_runs_in_dev(system: System) -> None:
    system.add_bot()
    system.set_value("SAP.PASSWORD", "of-dev", "dev")
    system.set_value("SAP.PASSWORD", "of-prod", "prod")
    job = system.run()
    told = system.told(job)
    assert job["environment"] == told["public"]["BOTKEEP_ENVIRONMENT"] == "dev"
    assert told["values"]["KLANGO_ASSET_SAP_PASSWORD"] == digest("of-dev")


def test_history_is_narrowed_by_the_environment_that_each_job_carries(system: System) -> None:
    system.add_bot("badged")
    ran = {environment: system.run("badged", environment)["id"] for environment in ENVIRONMENTS}
    for environment in ENVIRONMENTS:
        query = {"bot": "badged", "environment": environment}
        items = system.client.get("/api/v1/jobs", params=query).json()["items"]
        assert [(item["id"], item["environment"]) for item in items if item["id"] in ran.values()] == [
            (ran[environment], environment)
        ]


def test_only_a_global_asset_has_a_short_variable_too(system: System) -> None:
    system.add_bot()
    system.set_value("GLOBAL.REGION", "region-eu")
    system.set_value("SAP.PASSWORD", "password-1")
    assert system.told(system.run())["values"] == {
        "KLANGO_ASSET_GLOBAL_REGION": digest("region-eu"),
        "KLANGO_REGION": digest("region-eu"),
        "KLANGO_ASSET_SAP_PASSWORD": digest("password-1"),
    }


def test_names_are_one_asset_in_any_case(system: System) -> None:
    system.add_bot(toml=DECLARES.format("sap.*"))
    assert system.set_value("sap.password", "first-value")["number"] == 1
    assert system.set_value("SAP.Password", "second-value")["number"] == 2
    told = system.told(system.run(parameters={"P": "{{ASSET.Sap.pAssword}}"}))
    assert told["values"] == {"KLANGO_ASSET_SAP_PASSWORD": digest("second-value")}
    assert told["parameters"] == {"P": digest("second-value")}


def test_a_bots_own_value_wins_for_that_bot_only(system: System) -> None:
    for bot in ("owner", "other"):
        system.add_bot(bot)
    system.set_value("SAP.PASSWORD", "of-the-workspace")
    system.set_value("SAP.PASSWORD", "unused-draft", bot="owner")
    system.set_value("SAP.PASSWORD", "of-the-owner", bot="owner")
    jobs = {bot: system.run(bot, parameters={"P": "{{ASSET.SAP.PASSWORD}}"}) for bot in ("owner", "other")}
    told = {bot: system.told(job) for bot, job in jobs.items()}
    for bot, value in (("owner", "of-the-owner"), ("other", "of-the-workspace")):
        assert told[bot]["values"] == {"KLANGO_ASSET_SAP_PASSWORD": digest(value)}
        assert told[bot]["parameters"] == {"P": digest(value)}
    assert readings(jobs["owner"]) == [("SAP.PASSWORD", "owner", 2)]
    assert readings(jobs["other"]) == [("SAP.PASSWORD", "workspace", 1)]


def test_a_bots_own_asset_is_hidden_from_other_bots_and_from_the_shared_list(system: System) -> None:
    for bot in ("owner", "other"):
        system.add_bot(bot)
    system.set_value("SAP.TOKEN", "of-the-owner", bot="owner")
    assert system.told(system.run("owner"))["values"] == {"KLANGO_ASSET_SAP_TOKEN": digest("of-the-owner")}
    other = system.run("other")
    assert (system.told(other)["values"], readings(other)) == ({}, [])
    assert system.client.get("/api/v1/assets").json()["items"] == []
    assert [item["asset"] for item in system.client.get("/api/v1/assets?bot=owner").json()["items"]] == ["SAP.TOKEN"]
    status, message = system.refused("other", parameters={"P": "{{ASSET.SAP.TOKEN}}"})
    assert (status, "SAP.TOKEN" in message) == (422, True)


def test_an_own_asset_without_a_value_here_does_not_fall_back_to_the_shared_one(system: System) -> None:
    system.add_bot()
    system.set_value("SAP.PASSWORD", "shared-in-prod", "prod")
    system.set_value("SAP.PASSWORD", "own-in-dev", "dev", bot="tells")
    job = system.run(environment="prod")
    assert system.told(job)["values"] == {"KLANGO_ASSET_SAP_PASSWORD": digest("")}
    assert job["readings"] == []
    assert any("SAP.PASSWORD" in warning and "prod" in warning for warning in job["warnings"])


def test_a_bot_that_declares_nothing_sees_all_of_the_workspace(system: System) -> None:
    system.add_bot()
    for name in ("SAP.USER", "SAP.PASSWORD", "DB.URL"):
        system.set_value(name, f"value-of-{name}")
    job = system.run()
    assert len(system.told(job)["values"]) == len(job["readings"]) == 3


def test_a_bot_sees_only_what_it_declares(system: System) -> None:
    system.add_bot(toml='assets = ["SAP.*", "DB.PASSWORD"]\n')
    for name in ("SAP.USER", "SAPX.USER", "DB.PASSWORD", "DB.URL"):
        system.set_value(name, f"value-of-{name}")
    job = system.run()
    assert set(system.told(job)["values"]) == {"KLANGO_ASSET_SAP_USER", "KLANGO_ASSET_DB_PASSWORD"}
    assert readings(job) == [("DB.PASSWORD", "workspace", 1), ("SAP.USER", "workspace", 1)]


def test_an_unset_value_is_an_empty_text_and_a_warning(system: System) -> None:
    system.add_bot()
    system.set_value("SAP.PASSWORD", "of-dev", "dev")
    job = system.run(environment="prod", parameters={"P": "<{{ASSET.SAP.PASSWORD}}>"})
    told = system.told(job)
    assert told["values"] == {"KLANGO_ASSET_SAP_PASSWORD": digest("")}
    assert told["parameters"] == {"P": digest("<>")}
    assert job["readings"] == []
    assert job["warnings"] == ["SAP.PASSWORD has no value in prod; the bot got an empty text."]


def test_an_empty_value_is_a_value(system: System) -> None:
    system.add_bot(
        "empty", "import botkeep\nprint([botkeep.assets['SAP.PASSWORD'], botkeep.assets.get('SAP.USER', 'none')])"
    )
    assert system.set_value("SAP.PASSWORD", "", "prod")["number"] == 1
    system.set_value("SAP.USER", "only-in-dev", "dev")
    system.policy("prod", "warn")
    job = system.run("empty", "prod")
    assert system.log(job["id"], "stdout") == ["['', 'none']"]
    assert readings(job) == [("SAP.PASSWORD", "workspace", 1)]
    assert not any("SAP.PASSWORD has no value" in warning for warning in job["warnings"])
    covered = {item["asset"]: item["prod"] for item in system.client.get("/api/v1/coverage").json()["items"]}
    assert covered == {"SAP.PASSWORD": "empty", "SAP.USER": "missing"}


def test_where_unset_values_are_refused_an_empty_value_is_not(system: System) -> None:
    system.add_bot()
    system.set_value("SAP.PASSWORD", "", "prod")
    system.policy("prod", "refuse")
    assert system.told(system.run(environment="prod"))["values"] == {"KLANGO_ASSET_SAP_PASSWORD": digest("")}


def test_a_refused_unset_value_starts_nothing_and_decrypts_nothing(system: System) -> None:
    system.add_bot()
    system.set_value("SAP.PASSWORD", "of-dev", "dev")
    system.set_value("SAP.USER", "of-prod", "prod")
    queued = system.enqueue(environment="prod", group="parked")
    system.policy("prod", "refuse")
    system.release(queued)
    job = system.wait_for(queued)
    assert (job["state"], job["reason"], job["exit_code"]) == ("failed", "asset_missing", None)
    assert "SAP.PASSWORD" in job["detail"]
    assert "botkeep asset set SAP.PASSWORD --env prod" in job["detail"]
    assert job["readings"] == []
    assert [attempt["started_at"] for attempt in job["attempts"]] == [None]
    assert system.log(job["id"], "stdout") == []
    assert system.run(environment="dev")["state"] == "succeeded", "the policy is that of one environment"


def test_references_in_parameters_hold_the_values_of_the_environment(system: System) -> None:
    system.add_bot()
    for environment in ENVIRONMENTS:
        system.set_value("SAP.PASSWORD", f"p-{environment}", environment)
        system.set_value("GLOBAL.KEY", f"k-{environment}", environment)
    parameters = {
        "embedded": "user:{{ASSET.SAP.PASSWORD}}@{{ASSET.global.key}}",
        "listed": ["secret://SAP/PASSWORD", {"deep": "secret://KEY"}, 5, None, True],
        "roboto": "roboto-secret://key@default",
        "literal": "{{now}} and Bearer secret://KEY",
    }
    for environment in ENVIRONMENTS:
        job = system.run(environment=environment, parameters=parameters)
        password, key = digest(f"p-{environment}"), digest(f"k-{environment}")
        seen = system.told(job)["parameters"]
        assert seen["listed"] == [password, {"deep": key}, 5, None, True]
        assert seen["roboto"] == key
        assert seen["literal"] == digest("{{now}} and Bearer secret://KEY")
        assert seen["embedded"] == digest(f"user:p-{environment}@k-{environment}")
        assert job["parameters"] == parameters, "history shows references as they were written"


def test_a_value_that_holds_a_reference_is_never_expanded(system: System) -> None:
    system.add_bot(toml=DECLARES.format("X.OUTER"))
    hostile = "{{ASSET.X.INNER}} secret://X/INNER {{ASSET.X.OUTER}}"
    system.set_value("X.INNER", "inner-value")
    system.set_value("X.OUTER", hostile)
    told = system.told(system.run(parameters={"P": "{{ASSET.X.OUTER}}", "Q": "secret://X/OUTER"}))
    assert told["parameters"] == {"P": digest(hostile), "Q": digest(hostile)}
    assert told["values"] == {"KLANGO_ASSET_X_OUTER": digest(hostile)}


def test_a_rolled_back_number_is_what_the_next_job_gets(system: System) -> None:
    system.add_bot()
    for number in (1, 2, 3):
        assert system.set_value("SAP.PASSWORD", f"value-{number}")["number"] == number
    path = "/api/v1/assets/SAP/PASSWORD/values/dev"
    assert system.client.post(f"{path}/rollback", json={"number": 1}).status_code == 200
    job = system.run()
    assert system.told(job)["values"] == {"KLANGO_ASSET_SAP_PASSWORD": digest("value-1")}
    assert readings(job) == [("SAP.PASSWORD", "workspace", 1)]
    assert system.set_value("SAP.PASSWORD", "value-4")["number"] == 4, "a number is never used twice"
    assert system.client.post(f"{path}/rollback", json={"number": 9}).status_code == 404
    assert readings(system.run()) == [("SAP.PASSWORD", "workspace", 4)]


def test_an_unset_value_comes_back_by_a_rollback(system: System) -> None:
    system.add_bot()
    system.set_value("SAP.PASSWORD", "value-1")
    path = "/api/v1/assets/SAP/PASSWORD/values/dev"
    assert system.client.delete(path).status_code == 204
    assert system.run()["readings"] == []
    assert system.client.post(f"{path}/rollback", json={"number": 1}).status_code == 200
    assert system.told(system.run())["values"] == {"KLANGO_ASSET_SAP_PASSWORD": digest("value-1")}


def test_readings_stay_when_the_asset_is_removed(system: System) -> None:
    system.add_bot()
    system.set_value("SAP.PASSWORD", "value-1")
    job = system.run()
    assert system.client.delete("/api/v1/assets/SAP/PASSWORD").status_code == 204
    assert readings(system.job(job["id"])) == [("SAP.PASSWORD", "workspace", 1)]


def test_all_values_of_an_attempt_are_of_one_moment(system: System) -> None:
    system.add_bot()
    stop = threading.Event()
    writer = threading.Thread(target=write_pairs, args=(system, stop))
    write_pair(system, 0)
    writer.start()
    try:
        jobs = [system.run(parameters={"A": "{{ASSET.PAIR.A}}", "B": "{{ASSET.PAIR.B}}"}) for _ in range(8)]
    finally:
        stop.set()
        writer.join()
    for job in jobs:
        told = system.told(job)
        seen = {*told["values"].values(), *told["parameters"].values()}
        assert len(seen) == 1, "values of two generations in one attempt"
        assert len({number for _, _, number in readings(job)}) == 1
    assert len({tuple(readings(job)) for job in jobs}) > 1, "nothing was written meanwhile"


def write_pairs(system: System, stop: threading.Event) -> None:
    number = 0
    while not stop.wait(0.02):
        number += 1
        write_pair(system, number)


def write_pair(system: System, number: int) -> None:
    """Both halves in one transaction."""
    with system.edit() as session:
        scope = assets.Scope(default_workspace(session))
        for half in ("A", "B"):
            assets.set_value(
                session,
                AssetName("PAIR", half),
                scope=scope,
                environment="dev",
                plaintext=f"generation-{number}".encode(),
                actor=Actor("writer"),
                now=datetime.now(UTC),
            )


def test_an_asset_removed_before_the_start_fails_the_job_by_its_name(system: System) -> None:
    system.add_bot()
    system.set_value("SAP.PASSWORD", "value-1")
    job_id = system.enqueue(group=PARKED, parameters={"P": "{{ASSET.SAP.PASSWORD}}"})
    assert system.client.delete("/api/v1/assets/SAP/PASSWORD").status_code == 204
    system.release(job_id)
    job = system.wait_for(job_id)
    assert (job["state"], job["reason"]) == ("failed", "asset_missing")
    assert "{{ASSET.SAP.PASSWORD}}" in job["detail"]
    assert (job["readings"], system.log(job_id, "stdout")) == ([], [])


def test_the_values_of_the_moment_of_the_start_count(system: System) -> None:
    system.add_bot()
    system.set_value("SAP.PASSWORD", "when-queued")
    job_id = system.enqueue(group=PARKED)
    system.set_value("SAP.PASSWORD", "when-started")
    system.release(job_id)
    job = system.wait_for(job_id)
    assert system.told(job)["values"] == {"KLANGO_ASSET_SAP_PASSWORD": digest("when-started")}
    assert readings(job) == [("SAP.PASSWORD", "workspace", 2)]
