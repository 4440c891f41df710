"""Mail definitions: every refusal names its field, tokens stay tokens, and values are checked when they are known."""

from datetime import date
from typing import Any

import pytest

from runner import definitions, mail_definition
from runner.errors import Invalid
from runner.mail_definition import MailDefinition, MailInvalid
from runner.mail_trigger import Email
from vault.errors import VaultError

WRITTEN = {"host": "mail.example.com", "user": "{{ASSET.MAIL.USER}}", "password": "{{ASSET.MAIL.PASSWORD}}"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prot": 1}, "did you mean port"),
        ({"tls": "none"}, "tls"),
        ({"verify": False}, "There is no field"),
        ({"port": 0}, "port"),
        ({"port": "x"}, "port"),
        ({"host": "a b"}, "host"),
        ({"password": "written down"}, "password"),
        ({"oauth2_token": "{{ASSET.MAIL.TOKEN}}"}, "either password or oauth2_token"),
        ({"user": "{{ASSET.MAIL}}"}, "not a reference"),
        ({"folder": "a\r\nb"}, "folder"),
        ({"subject": "a\r\nA1 LOGOUT"}, "subject"),
        ({"search": {"seen": "yes"}}, "search.seen"),
        ({"search": {"keyword": "a) ALL"}}, "search.keyword"),
        ({"search": {"header": {"a:b": "c"}}}, "search.header"),
        ({"since": "yesterday"}, "since"),
        ({"mark": "delete"}, "mark"),
        ({"max_message": "1TB"}, "max_message"),
        ({"tries": 0}, "tries"),
    ],
)
def test_what_cannot_be_used_is_refused_by_field(changes: dict[str, Any], words: str) -> None:
    with pytest.raises((Invalid, VaultError), match=words):
        definitions.check("imap", {**WRITTEN, **changes})


def test_tokens_stay_tokens_in_any_field_and_are_found() -> None:
    tokens = {"port": "{{ASSET.M.PORT}}", "since": "{{ASSET.M.DAY}}", "mark": "move:{{ASSET.M.DONE}}"}
    stored, found = definitions.check("imap", {**WRITTEN, **tokens, "from": "{{ASSET.M.FROM}}"})
    assert {key: stored[key] for key in tokens} == tokens
    assert stored["from"] == "{{ASSET.M.FROM}}"
    assert len(found) == 6
    again, _ = definitions.check("imap", stored)
    assert again == stored


def test_a_value_is_checked_in_its_field_and_never_repeated() -> None:
    filled = {**WRITTEN, "user": "u", "password": "p {{ASSET.B.Y}} \r\n", "port": "1993"}
    found = mail_definition.resolved(filled)
    assert (found.chosen_port, found.password) == (1993, "p {{ASSET.B.Y}} \r\n")
    assert "ASSET" not in repr(found)
    for field, value in {"host": "evil host", "port": "70000", "folder": "a\r\nb", "subject": "c\nd"}.items():
        with pytest.raises(MailInvalid) as caught:
            mail_definition.resolved({**filled, field: value})
        assert caught.value.field == field
        assert value not in str(caught.value)


def test_since_counts_whole_days() -> None:
    def since(text: str) -> date | None:
        written = {**WRITTEN, "password": "p", "since": text}
        return MailDefinition.model_validate(written, context={"resolved": True}).since_day(date(2026, 3, 10))

    assert since("2026-01-31") == date(2026, 1, 31)
    assert since("7d") == date(2026, 3, 3)
    assert since("12h") == date(2026, 3, 9)


def test_an_email_trigger_asks_for_names_and_ends_of_attachments() -> None:
    email = Email.model_validate({"source": "inbox", "attachment": "bill*, *.csv", "extension": "PDF"})
    assert email.wants(["Bill 3.pdf"])
    assert not email.wants(["bill.csv", "x.pdf"])
    assert Email(source="inbox").wants([])
    assert not Email(source="inbox", extension=".pdf").wants([])
