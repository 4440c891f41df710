"""Bots of other worlds run as they are, with the packages that their worlds published."""

from __future__ import annotations

import pytest

from tests.compat.conftest import API_KEY, OTHERS, PASSWORD, ROBOTO, Worlds, eventually, robot_files, source
from tests.system import digest


def snippet_runs_as_printed(worlds: Worlds, bot: str, value: str) -> None:
    job = worlds.done(bot)
    lines = worlds.system.log(job["id"], "stdout")
    assert job["state"] == "succeeded", (job, worlds.system.log(job["id"]))
    assert lines == [digest(value)]


def line_of_robotos_client_reads_parameters_and_values(worlds: Worlds, line: str) -> None:
    told = worlds.told(f"roboto-{line}")
    assert told == {"parameter": digest(API_KEY), "plain": "eu", "direct": digest(API_KEY)}


def robotos_client_does_what_the_declaration_allows_and_no_more(worlds: Worlds) -> None:
    told = worlds.told("roboto-actions")
    assert told["parameter"] == told["direct"] == told["by_uri"] == digest(API_KEY)
    assert (told["plain"], told["optional"], told["variable"]) == ("eu", "nothing", "roboto-secret://MY_API_KEY")
    assert (told["shown"], told["mode"], told["directories"], told["input"]) == (
        "**********", "0o600", ["True", "True"], 0
    )  # fmt: skip
    assert told["made"] == digest("second-value-of-the-bot")
    refused = {key: told[key] for key in ("foreign", "another_bots", "climbing", "undeclared_write")}
    assert refused == {
        "foreign": "RobotoUnauthorizedException",
        "another_bots": "RobotoNotFoundException",
        "climbing": "RobotoNotFoundException",
        "undeclared_write": "ClientError",
    }
    _write, first, _delete, last = told["commands"]
    assert [each[0] for each in told["commands"]] == [0, 0, 0, 0], told["commands"]
    assert "session_token" in first[1].lower()
    assert "session_token" not in last[1].lower()
    log = "\n".join(worlds.system.log(worlds.jobs["roboto-actions"]))
    assert API_KEY not in log
    assert "second-value-of-the-bot" not in log, "what a bot writes is masked in its log"
    asked = worlds.refusals("roboto-actions")
    assert "asset others_own" in asked
    assert any("elsewhere" in each for each in asked)
    assert "asset GLOBAL.MY_API_KEY, to be written" in asked


def a_robot_of_two_tasks_hands_items_and_files_on(worlds: Worlds) -> None:
    job = worlds.done("producer")
    lines = worlds.system.log(job["id"])
    assert job["state"] == "succeeded", (job, lines)
    assert any(digest(PASSWORD) in line for line in lines)
    assert PASSWORD not in "\n".join(lines)
    assert worlds.items("orders") == [("waiting", {"number": number, "seen": "***"}) for number in (1, 2, 3)]
    assert [name for name, _size in worlds.files("orders")] == ["tasks.py"] * 3


def the_older_libraries_read_the_vault_and_work_items(worlds: Worlds) -> None:
    job = worlds.done("rpa")
    lines = worlds.system.log(job["id"])
    assert job["state"] == "succeeded", (job, lines)
    assert f"digest {digest(PASSWORD)}" in lines
    assert "payload {'day': 'Monday'}" in lines
    assert worlds.items("rpa.output") == [("waiting", {"from": "rpaframework"})]


def the_second_task_takes_what_the_first_made_and_says_how_it_went(worlds: Worlds) -> None:
    worlds.done("producer")
    writes = 'writes = ["GLOBAL.SESSIONS", "GLOBAL.MADE_HERE"]\n[robot]\ntask = "Consumer"\ninput = "orders"\n'
    worlds.start("consumer", robot_files(), toml=writes)
    job = worlds.done("consumer")
    lines = worlds.system.log(job["id"])
    assert [state for state, _data in worlds.items("orders")] == ["done", "failed", "done"], lines
    assert worlds.items("orders")[2] == ("done", {"number": 3, "seen": "***", "checked": True})
    (failed,) = worlds.system.client.get("/api/v1/work-items", params={"tray": "orders", "state": "failed"}).json()[
        "items"
    ]
    assert (failed["reason"], failed["detail"]) == ("business", "TWO: Two is not sold here.")
    assert "token-of-the-consumer" not in "\n".join(lines)
    assert worlds.system.client.get("/api/v1/assets/GLOBAL/MADE_HERE").status_code == 200


def what_a_killed_bot_held_is_free_again(worlds: Worlds) -> None:
    added = worlds.system.client.post(
        "/api/v1/work-items", json={"tray": "killed", "environment": "dev", "data": {"n": 1}, "retry_delay": 0}
    )
    assert added.status_code == 201, added.text
    worlds.start("killed", {"main.py": source("robot_killed.py"), "requirements.txt": "robocorp-workitems\n"})
    job = worlds.done("killed")
    assert (job["state"], job["reason"]) == ("failed", "signal"), worlds.system.log(job["id"])
    assert "holds {'n': 1}" in worlds.system.log(job["id"], "stdout")
    eventually(lambda: worlds.items("killed") == [("waiting", {"n": 1})], "the item to be released")


def nothing_of_another_bot_is_anywhere(worlds: Worlds) -> None:
    for name in worlds.jobs:
        worlds.done(name)
        assert OTHERS not in "\n".join(worlds.system.log(worlds.jobs[name]))


#: Snippets of the documentation, and of which values each has to show the digest.
SNIPPETS = [
    ("klango", "key-of-my-apppassword-of-all"),
    ("heptora", "sap-usersap-password"),
    ("heptora-imported", "sap-usersap-password"),
    ("roboto-direct", API_KEY),
    ("roboto-parameter", API_KEY),
]

CHECKS = (
    robotos_client_does_what_the_declaration_allows_and_no_more,
    a_robot_of_two_tasks_hands_items_and_files_on,
    the_older_libraries_read_the_vault_and_work_items,
    the_second_task_takes_what_the_first_made_and_says_how_it_went,
    what_a_killed_bot_held_is_free_again,
    nothing_of_another_bot_is_anywhere,
)


@pytest.mark.timeout(400)  # it waits for environments to be built from the registry
def test_bots_of_other_worlds_run_as_they_are(worlds: Worlds, subtests: pytest.Subtests) -> None:
    """One test, since each process of tests that runs a part of it would build every environment."""
    for bot, value in SNIPPETS:
        with subtests.test(bot):
            snippet_runs_as_printed(worlds, bot, value)
    for line in ROBOTO:
        with subtests.test(f"Roboto's client, {line}"):
            line_of_robotos_client_reads_parameters_and_values(worlds, line)
    for check in CHECKS:
        with subtests.test(check.__name__):
            check(worlds)
