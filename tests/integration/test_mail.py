"""Bots read a real mailbox: each message once, marked after success only, whatever the server and the sender do."""

import json
from typing import Any

from tests.mail import READS, add_source, message
from tests.mail_server import MailServer
from tests.support import wait_until
from tests.system import System


def read(system: System, **parameters: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:  # noqa: ANN401
    """A job of the bot `reads`, and the messages that it was given."""
    job = system.run("reads", parameters=parameters)
    lines = [line for line in system.log(job["id"], "stdout") if line.startswith("{")]
    return job, [json.loads(line) for line in lines]


def subjects(found: list[dict[str, Any]]) -> list[str]:
    return [one["subject"] for one in found]


def seen(mail_server: MailServer, user: str) -> list[int]:
    return mail_server.uids(user, criteria="SEEN")


def test_a_bot_is_given_each_message_once_with_its_attachments(
    system: System, mail_server: MailServer, user: str
) -> None:
    system.add_bot("reads", READS)
    add_source(system, mail_server, user)
    mail_server.append(user, message("Invoice ü", text="Grüße", bill__pdf=b"one", x__txt=b"two"))
    mail_server.append(user, message("Second"))
    job, found = read(system)
    assert (job["state"], subjects(found)) == ("succeeded", ["Invoice ü", "Second"]), system.log(job["id"])
    assert (found[0]["text"].strip(), found[0]["sender"]) == ("Grüße", "ann@example.com")
    assert found[0]["files"] == {"bill.pdf": "one", "x.txt": "two"}
    assert {reading["asset"] for reading in job["readings"]} >= {"MAIL.USER", "MAIL.PASSWORD"}
    assert read(system)[1] == []
    mail_server.append(user, message("Third"))
    assert subjects(read(system)[1]) == ["Third"]
    assert seen(mail_server, user) == [], "nothing is marked unless the definition says so"


def test_messages_are_marked_seen_after_success_only(system: System, mail_server: MailServer, user: str) -> None:
    system.add_bot("reads", READS)
    add_source(system, mail_server, user, mark="seen", tries=2)
    uids = [mail_server.append(user, message(f"Number {number}")) for number in (1, 2)]
    assert subjects(read(system, exit=3)[1]) == ["Number 1", "Number 2"]
    assert seen(mail_server, user) == []
    assert subjects(read(system, stop_after=1)[1]) == ["Number 1"], "a failed job's messages are offered again"
    mail_server.wait_for(user, uids[:1], "the message to be marked", criteria="SEEN")
    assert subjects(read(system)[1]) == ["Number 2"], "what the bot did not come to stays for another job"
    mail_server.wait_for(user, uids, "both to be marked", criteria="SEEN")


def test_a_message_whose_jobs_failed_as_often_as_declared_is_left(
    system: System, mail_server: MailServer, user: str
) -> None:
    system.add_bot("reads", READS)
    add_source(system, mail_server, user, tries=2)
    add_source(system, mail_server, user, name="once", on_failure="leave", subject="Poison")
    mail_server.append(user, message("Poison"))
    assert [subjects(read(system, exit=1)[1]) for _ in range(3)] == [["Poison"], ["Poison"], []]
    assert [subjects(read(system, exit=1, source="once")[1]) for _ in range(2)] == [["Poison"], []]


def test_messages_move_to_a_folder_after_success_and_a_failed_move_is_tried_again(
    system: System, mail_server: MailServer, user: str
) -> None:
    system.add_bot("reads", READS)
    add_source(system, mail_server, user, mark="move:Done")
    mail_server.append(user, message("Moves"))
    assert subjects(read(system)[1]) == ["Moves"]
    wait_until(lambda: "mail.not_marked" in system.runner.log, 40, "the first try to fail: there is no such folder")
    assert read(system)[1] == [], "a message that could not be marked is not given again"
    with mail_server.mailbox(user) as client:
        client.create("Done")
    mail_server.wait_for(user, [], "the message to be moved")
    assert len(mail_server.uids(user, folder="Done")) == 1


def test_two_bots_are_two_consumers(system: System, mail_server: MailServer, user: str) -> None:
    for name in ("reads", "other"):
        system.add_bot(name, READS)
    add_source(system, mail_server, user)
    mail_server.append(user, message("For both"))
    assert subjects(read(system)[1]) == ["For both"]
    job = system.run("other")
    assert "For both" in system.log(job["id"])[0]


def test_a_renumbered_folder_gives_no_message_twice(system: System, mail_server: MailServer, user: str) -> None:
    system.add_bot("reads", READS)
    add_source(system, mail_server, user)
    for subject in ("First", "Second"):
        mail_server.append(user, message(subject))
    assert subjects(read(system)[1]) == ["First", "Second"]
    mail_server.append(user, message("Third"))
    mail_server.renumber(user)
    job, found = read(system)
    assert subjects(found) == ["Third"], job
    assert any("renumbered" in warning for warning in job["warnings"])
    assert read(system)[1] == []


def test_filters_and_limits_decide_what_is_given(system: System, mail_server: MailServer, user: str) -> None:
    system.add_bot("reads", READS)
    wanted = {"name": "*.PDF, *.csv", "required": True, "max_size": 100}
    search = {"seen": False, "header": {"To": "bot@"}}
    filters: dict[str, Any] = {"subject": 'wan"ted ü', "from": "ANN@", "since": "2d", "search": search}
    add_source(system, mail_server, user, **filters, attachments=wanted, max_message="4KB")
    mail_server.append(user, message('Wan"ted ü 1', a__pdf=b"x", b__txt=b"y"))
    mail_server.append(user, message('Wan"ted ü 2', b__txt=b"y"))
    mail_server.append(user, message('Wan"ted ü 3', sender="bob@example.com", a__pdf=b"x"))
    mail_server.append(user, message('Wan"ted ü 4', a__pdf=b"x" * 200))
    mail_server.append(user, message('Wan"ted ü 5', a__pdf=b"x" * 6000))
    mail_server.append(user, message("Other", a__pdf=b"x"))
    job, found = read(system)
    assert subjects(found) == ['Wan"ted ü 1', 'Wan"ted ü 4']
    assert found[0]["files"] == {"a.pdf": "x"}
    assert (found[1]["files"], found[1]["skipped"][0]["name"]) == ({}, "a.pdf")
    assert any("max_message" in warning for warning in job["warnings"])


def test_a_check_says_how_far_it_came_and_names_the_field(system: System, mail_server: MailServer, user: str) -> None:
    add_source(system, mail_server, user)
    mail_server.append(user, message("Counted"))

    def checked(**fields: Any) -> str:  # noqa: ANN401
        stored = system.client.get("/api/v1/sources/inbox").json()
        body = {"kind": "imap", "definition": {**stored["definition"], **fields}}
        assert system.client.put("/api/v1/sources/inbox", json=body).status_code == 200
        asked = system.client.post("/api/v1/sources/inbox/checks", json={"environment": "dev"}).json()

        def ended() -> Any:  # noqa: ANN401
            found = system.client.get(f"/api/v1/sources/inbox/checks/{asked['id']}").json()
            return found if found["state"] not in {"waiting", "running"} else None

        return str(wait_until(ended, 30, "the check")["sentence"])

    assert checked() == ("inbox in dev: resolved, reachable, protected by TLS, authenticated, folder found, 1 message.")
    assert "`folder`" in checked(folder="Nowhere")
    assert "`port`" in checked(folder="INBOX", port=1)
    assert "`tls`" in checked(port=mail_server.starttls_port)
    assert "1 message" in checked(tls="starttls")
    assert "`host`" in checked(host="127.0.0.1")
    system.set_value("MAIL.PASSWORD", "quite-wrong-password")
    said = checked(host="localhost", port=mail_server.port, tls="implicit")
    assert "authenticated" in said
    assert "`password`" in said
    assert user not in said
    assert "quite-wrong-password" not in said
