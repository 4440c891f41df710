"""The connection to a real mail server: always inside TLS, to the address that was judged, whatever the values are."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from runner import mail_definition
from runner.connection_policy import ConnectionPolicy
from runner.mail_definition import MailDefinition
from runner.worker.failures import SourceFailed, Step
from runner.worker.filling import Values
from runner.worker.mail_opening import connect, fill
from runner.worker.mailbox import Mailbox
from tests.certificates import new_authority
from tests.mail import definition, message
from tests.mail_server import PASSWORD, MailServer, token
from vault.decrypt import Secret
from vault.names import AssetName

TODAY = datetime.now(UTC).date()


def values(user: str, password: str = PASSWORD) -> Values:
    known = {
        AssetName("MAIL", "USER"): Secret(user.encode()),
        AssetName("MAIL", "PASSWORD"): Secret(password.encode()),
        AssetName("B", "Y"): Secret(b"the value of another asset"),
    }
    return Values(known, "dev", lambda _values: None)


def opened(server: MailServer, user: str, value: str = PASSWORD, **fields: object) -> Mailbox:
    filled = values(user, value)
    return connect(fill(definition(server, **fields), filled), filled, ConnectionPolicy())


def failure(server: MailServer, user: str, value: str = PASSWORD, **fields: object) -> SourceFailed:
    with pytest.raises(SourceFailed) as caught, opened(server, user, value, **fields) as mailbox:
        mailbox.folder()
    return caught.value


@pytest.mark.parametrize(
    "password",
    [
        'quote " and \\ backslash',
        "{{ASSET.B.Y}}",
        "{4+} A1 LOGOUT",
        "p@ss/w;Server=evil % \u00fc\u20ac \U0001f511",
        "  blanks  ",
    ],
)
@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_hostile_values_log_in_as_they_are(mail_server: MailServer, user: str, password: str, tls: str) -> None:
    name = f'{user} "\\ \u00fc {{{{ASSET.B.Y}}}}'
    mail_server.add_user(name, password)
    port = mail_server.port if tls == "implicit" else mail_server.starttls_port
    with opened(mail_server, name, password, tls=tls, port=port) as mailbox:
        assert mailbox.folder() > 0


@pytest.mark.parametrize(("password", "why"), [("a\r\nA1 LOGOUT", ""), ("with\0nul", "NUL")], ids=["line break", "nul"])
def test_what_cannot_be_sent_is_refused_by_field_and_is_no_command(
    mail_server: MailServer, user: str, password: str, why: str
) -> None:
    found = failure(mail_server, user, password)
    assert (found.step, found.field) == (Step.AUTHENTICATED, "password")
    assert why in found.detail
    assert "LOGOUT" not in found.detail


def test_xoauth2_logs_in_with_a_token_that_the_server_validates(mail_server: MailServer, user: str) -> None:
    fields: dict[str, Any] = {"password": None, "oauth2_token": "{{ASSET.MAIL.PASSWORD}}"}
    with opened(mail_server, user, token(user), **fields) as mailbox:
        assert mailbox.folder() > 0
    for bad in (token(user, lifetime=-100), token("somebody else"), "no token"):
        found = failure(mail_server, user, bad, **fields)
        assert (found.step, found.field) == (Step.AUTHENTICATED, "oauth2_token")
        assert bad not in found.detail


def test_login_is_used_where_the_server_offers_nothing_else(mail_server: MailServer, user: str) -> None:
    with opened(mail_server, user) as mailbox:
        filled = values(user)
        found = fill(definition(mail_server), filled)
        again = Mailbox.__new__(Mailbox)
        again._definition, again._mask, again.uid_validity = found, filled.safe, 0
        again._client = again._connect("127.0.0.1", 20)
        with pytest.raises(SourceFailed) as caught:  # the password of `user` is no plain ASCII
            again._login(user, PASSWORD)
        assert caught.value.field == "password"
        plain = 'plain " \\ ASCII'
        mail_server.add_user(f"{user}-ascii", plain)
        again._login(f"{user}-ascii", plain)
        assert again.folder() > 0
        again.close()
        assert mailbox.folder() > 0


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_a_certificate_must_name_the_host_and_come_from_the_ca(mail_server: MailServer, user: str, tls: str) -> None:
    port = mail_server.port if tls == "implicit" else mail_server.starttls_port
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"host": "127.0.0.1"}, "host"),
        ({"ca": new_authority().pem}, "ca"),
        ({"ca": None}, "ca"),
        ({"ca": "/nowhere.pem"}, "ca"),
    ]
    for fields, field in wrong:
        found = failure(mail_server, user, tls=tls, port=port, **fields)
        assert (found.step, found.field) == (Step.TLS, field), found.detail


def test_a_ca_may_be_a_file_on_the_runner(
    mail_server: MailServer, user: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    path.write_text(mail_server.authority.pem)
    with opened(mail_server, user, ca=str(path)) as mailbox:
        assert mailbox.folder() > 0


def test_a_server_without_tls_is_refused_before_anything_is_said(mail_server: MailServer, user: str) -> None:
    with talking(b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hello\r\n") as (port, heard):
        found = failure(mail_server, user, tls="starttls", port=port)
    assert (found.step, found.field) == (Step.TLS, "tls")
    assert b"AUTHENTICATE" not in heard
    assert b"LOGIN" not in heard


def test_the_policy_is_asked_and_the_name_is_not_resolved_again(
    mail_server: MailServer, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled = values(user)
    found = fill(definition(mail_server), filled)
    with pytest.raises(SourceFailed, match="policy"):
        connect(found, filled, ConnectionPolicy(deny=("127.0.0.0/8", "::1")))
    real = socket.getaddrinfo
    asked: list[object] = []

    def once(host: object, *arguments: object, **words: object) -> object:
        asked.append(host)
        return real(host, *arguments, **words)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", once)
    with connect(found, filled, ConnectionPolicy()) as mailbox:
        assert mailbox.folder() > 0
    assert asked.count("localhost") == 1


def test_reading_changes_nothing_and_marking_does(mail_server: MailServer, user: str) -> None:
    uids = [mail_server.append(user, message(f"Number {number}", a__pdf=b"x" * number)) for number in (1, 2)]
    with opened(mail_server, user, mark="seen") as mailbox:
        mailbox.folder()
        assert mailbox.search(today=TODAY) == uids
        listed = mailbox.listed([*uids, 99])
        assert [one.uid for one in listed] == uids
        assert len({one.print for one in listed}) == 2
        raw = mailbox.fetch(uids[0])
        assert raw is not None
        assert (len(raw.content), b"Number 1" in raw.content) == (listed[0].size, True)
        assert mailbox.fetch(99) is None
        assert mail_server.uids(user, criteria="SEEN") == []
        mailbox.folder(writable=True)
        mailbox.mark([uids[0], 99])
    assert mail_server.uids(user, criteria="SEEN") == uids[:1]


def test_a_server_that_announces_too_much_is_left_and_an_echoed_value_is_masked(
    mail_server: MailServer, user: str
) -> None:
    text = "a value that is echoed"
    filled = values(user, text)
    found = mail_definition.resolved({"host": "localhost", "user": "u", "password": text, "max_message": 1024})
    assert isinstance(found, MailDefinition)
    mailbox = Mailbox.__new__(Mailbox)
    mailbox._definition, mailbox._mask = found, filled.safe
    assert text not in mailbox._words([f"NO wrong password {text}".encode()])
    assert "***" in mailbox._words([f"NO wrong password {text}".encode()])
    uid = mail_server.append(user, message("Large", text="x\n" * 1_000_000))
    with opened(mail_server, user, max_message=1024) as small:
        small.folder()
        with pytest.raises(SourceFailed) as caught:
            small.fetch(uid)
    assert "longer than the largest message" in caught.value.detail


@contextlib.contextmanager
def talking(greeting: bytes) -> Iterator[tuple[int, bytearray]]:
    """A server without TLS that greets, takes down what it hears and answers BAD."""
    heard = bytearray()

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as lines:
                connection.sendall(greeting)
                for line in lines:
                    heard.extend(line)
                    word = line.split()[1].upper()
                    more = b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n" if word == b"CAPABILITY" else b""
                    connection.sendall(more + line.split()[0] + (b" OK\r\n" if more else b" BAD\r\n"))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], heard
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)
