"""Email triggers: a message in a real mailbox starts one job, which is given that message."""

import json
import uuid
from typing import Any

import pytest

from tests.mail import READS, add_source, message
from tests.mail_server import MailServer
from tests.support import wait_until
from tests.system import System


@pytest.fixture
def bot() -> str:
    """The name of a bot that no other test's history speaks of."""
    return f"reads-{uuid.uuid4().hex[:8]}"


def add_trigger(system: System, bot: str, *, fields: dict[str, Any] | None = None, **email: Any) -> None:  # noqa: ANN401
    definition = {"bot": bot, "email": {"source": "inbox", "interval": "1s", **email}, **(fields or {})}
    answer = system.client.post("/api/v1/triggers", json={"name": "on-mail", "definition": definition})
    assert answer.status_code in {200, 201}, answer.text


def jobs(system: System, bot: str) -> list[dict[str, Any]]:
    return list(system.client.get("/api/v1/jobs", params={"bot": bot}).json()["items"])


def remove_triggers(system: System) -> None:
    for each in system.client.get("/api/v1/triggers").json()["items"]:
        system.client.delete(f"/api/v1/triggers/{each['name']}")


def ended(system: System, bot: str, count: int) -> list[dict[str, Any]]:
    """So many jobs, all of them over."""

    def all_over() -> list[dict[str, Any]]:
        found = jobs(system, bot)
        return found if len(found) == count and all(one["finished_at"] for one in found) else []

    return wait_until(all_over, 40, f"{count} jobs to end")


def test_a_message_starts_one_job_which_is_given_it_and_marks_it(
    system: System, mail_server: MailServer, user: str, bot: str
) -> None:
    system.add_bot(bot, READS)
    add_source(system, mail_server, user, mark="seen")
    add_trigger(system, bot, subject="order", extension="pdf", fields={"parameters_from": {"subject": "/subject"}})
    mail_server.append(user, message("No order file", note__txt=b"x"))
    uids = [mail_server.append(user, message(f"Order {number}", a__pdf=b"%PDF")) for number in (1, 2)]
    try:
        found = ended(system, bot, 2)
        mail_server.wait_for(user, uids, "both messages to be marked", criteria="SEEN")
        given = [
            [json.loads(line)["subject"] for line in system.log(one["id"]) if line.startswith("{")] for one in found
        ]
        assert sorted(given) == [["Order 1"], ["Order 2"]]
        details = [system.job(one["id"]) for one in found]
        assert sorted(one["parameters"]["subject"] for one in details) == ["Order 1", "Order 2"]
        assert {one["cause"]["kind"] for one in details} == {"trigger"}
        assert len(jobs(system, bot)) == 2
    finally:
        remove_triggers(system)


def test_a_job_that_failed_starts_no_second_one_and_its_repetition_is_given_the_message(
    system: System, mail_server: MailServer, user: str, bot: str
) -> None:
    system.add_bot(bot, READS.replace('how.get("exit", 0)', "0 if how.get('retry') else 1"))
    add_source(system, mail_server, user, mark="seen")
    add_trigger(system, bot)
    mail_server.append(user, message("Only once"))
    try:
        (failed,) = ended(system, bot, 1)
        assert failed["state"] == "failed"
        again = system.client.post(f"/api/v1/jobs/{failed['id']}/retry").json()
        repeated = system.wait_for(again["id"])
        assert any("Only once" in line for line in system.log(repeated["id"]))
        assert mail_server.uids(user, criteria="SEEN") == []
        assert len(jobs(system, bot)) == 2
    finally:
        remove_triggers(system)


def test_a_message_starts_a_run_whose_jobs_are_given_it_and_is_marked_after_all_of_them(
    system: System, mail_server: MailServer, user: str, bot: str
) -> None:
    system.add_bot(bot, READS)
    system.add_bot(f"{bot}-fails", READS.replace('how.get("exit", 0)', "0 if how.get('go') else 1"))
    add_source(system, mail_server, user, mark="seen")
    items = [{"bot": bot}, {"bot": f"{bot}-fails", "parameters": {}}]
    queue = f"mail-{bot}"
    saved = system.client.post("/api/v1/queues", params={"name": queue}, json={"items": items})
    assert saved.status_code == 201, saved.text
    definition = {"queue": queue, "email": {"source": "inbox", "interval": "1s"}}
    answer = system.client.post("/api/v1/triggers", json={"name": "on-mail", "definition": definition})
    assert answer.status_code == 201, answer.text
    uid = mail_server.append(user, message("Two readers"))
    try:
        (first,) = ended(system, bot, 1)
        (second,) = ended(system, f"{bot}-fails", 1)
        given = [[line for line in system.log(one["id"]) if "Two readers" in line] for one in (first, second)]
        assert [len(lines) for lines in given] == [1, 1]
        (run,) = system.client.get(f"/api/v1/queues/{queue}/runs").json()["items"]
        wait_until(lambda: system.client.get(f"/api/v1/runs/{run['id']}").json()["state"] == "failed", 30, "its end")
        assert mail_server.uids(user, criteria="SEEN") == [], "one of its jobs succeeded, the run did not"
        system.add_bot(f"{bot}-fails", READS)
        again = system.client.post(f"/api/v1/runs/{run['id']}/restart", json={})
        assert again.status_code == 201, again.text
        mail_server.wait_for(user, [uid], "the message to be marked", criteria="SEEN")
        assert len(jobs(system, bot)) == 1, "what succeeded is not done again"
    finally:
        remove_triggers(system)
        system.client.delete(f"/api/v1/queues/{queue}")


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        ({"email": {"source": "nobody"}}, "email.source"),
        ({"email": {"source": "inbox", "interval": "0s"}}, "email.interval"),
        ({"email": {"source": "inbox", "subjet": "x"}}, "did you mean subject"),
        ({"email": {"source": "inbox"}, "environment": "prod"}, "open in dev only"),
    ],
)
def test_a_trigger_that_could_not_work_is_refused_by_field(
    system: System, mail_server: MailServer, user: str, bot: str, definition: dict[str, Any], words: str
) -> None:
    system.add_bot(bot, READS)
    add_source(system, mail_server, user)
    stored = system.client.get("/api/v1/sources/inbox").json()
    body = {"kind": "imap", "definition": stored["definition"], "environments": ["dev"]}
    assert system.client.put("/api/v1/sources/inbox", json=body).status_code == 200
    order = {"name": "refused", "definition": {"bot": bot, **definition}}
    answer = system.client.post("/api/v1/triggers", json=order)
    assert answer.status_code == 422, answer.text
    assert words in answer.json()["error"]["message"]
