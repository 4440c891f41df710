"""Messages for tests, and mail sources on a system."""

from email.message import EmailMessage
from typing import Any

from tests.mail_server import PASSWORD, MailServer
from tests.system import System

#: A bot that prints a line of JSON for each message, and ends as its parameter says.
READS = """
import json, sys
import botkeep

how = botkeep.parameters()
for count, message in enumerate(botkeep.source(how.get("source", "inbox")), 1):
    print(json.dumps({
        "uid": message.uid, "subject": message.subject, "sender": message.sender.address, "text": message.text,
        "files": {one.name: one.read().decode("latin-1") for one in message.attachments},
        "skipped": message.skipped, "defects": message.defects,
    }), flush=True)
    if count == how.get("stop_after"):
        break
print("no more")
sys.exit(how.get("exit", 0))
"""


def message(subject: str = "Invoice", *, text: str = "Hello", sender: str = "ann@example.com", **files: bytes) -> bytes:
    """A message with attachments; `__` in a file's name stands for a dot."""
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = sender, "bot@example.com", subject
    made["Message-ID"] = f"<{subject.replace(' ', '-')}@example.com>".encode("ascii", "replace").decode()
    made["Date"] = "Tue, 03 Feb 2026 10:00:00 +0100"
    made.set_content(text)
    for name, content in files.items():
        made.add_attachment(content, maintype="application", subtype="octet-stream", filename=name.replace("__", "."))
    return made.as_bytes()


def definition(server: MailServer, **fields: Any) -> dict[str, Any]:  # noqa: ANN401
    """A definition for the server, with tokens for user and password."""
    return {
        "host": server.host,
        "port": server.port,
        "ca": server.authority.pem,
        "user": "{{ASSET.MAIL.USER}}",
        "password": "{{ASSET.MAIL.PASSWORD}}",
        **fields,
    }


def add_source(system: System, server: MailServer, user: str, *, name: str = "inbox", **fields: Any) -> None:  # noqa: ANN401
    """A mail source with a user's values in dev."""
    system.set_value("MAIL.USER", user)
    system.set_value("MAIL.PASSWORD", PASSWORD)
    body = {"name": name, "kind": "imap", "definition": definition(server, **fields)}
    answer = system.client.post("/api/v1/sources", json=body)
    assert answer.status_code == 201, answer.text
