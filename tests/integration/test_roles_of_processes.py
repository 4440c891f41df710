"""The processes themselves, each under its database role: a job that reads a table, a mailbox and a value."""

import contextlib
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from runner.archive import pack
from tests.conftest import Start
from tests.integration.ruled import copy_of_ruled
from tests.integration.test_roles_at_work import cluster
from tests.mail import definition, message
from tests.mail_server import PASSWORD as PASSWORD_OF_MAIL
from tests.mail_server import MailServer
from tests.services import PostgresServer, RedisServer
from tests.support import free_port, wait_until

__all__ = ["cluster"]

TABLE = {"query": "SELECT id FROM rows"}

#: A bot that reads a table and a mailbox.
READS_SOURCES = """
import os
import botkeep

print("got", os.environ["KLANGO_ASSET_SAP_PASSWORD"])
print("rows", [row["id"] for row in botkeep.source("rows")])
print("mails", [message.subject for message in botkeep.source("inbox")])
"""


@pytest.mark.timeout(240)
def test_the_processes_run_a_job_with_sources_each_under_its_own_role(
    cluster: PostgresServer,
    new_redis: Callable[[str], RedisServer],
    mail_server: MailServer,
    user: str,
    home: Path,
    tmp_path: Path,
    start: Start,
) -> None:
    uid = mail_server.append(user, message("Order"))
    with contextlib.closing(sqlite3.connect(tmp_path / "rows.db")) as rows, rows:
        rows.execute("CREATE TABLE rows AS SELECT 7 AS id")
    port, broker = free_port(), new_redis("server").url
    with copy_of_ruled(cluster) as name:

        def environment(role: str) -> dict[str, str]:
            url = cluster.url(name, user=f"botkeep_{role}")
            return {"BOTKEEP_DATABASE_URL": url, "BOTKEEP_REDIS_URL": broker, "BOTKEEP_RUN_AS_ROOT": "true"}

        python = (sys.executable, "-m")
        assert start(*python, "vault", "keygen", "--all", env=environment("keyhost"), name="keygen").wait() == 0
        minted = start(*python, "console", "token", "--name", "ci", "--role", "admin", env=environment("console"))
        assert minted.wait() == 0
        start(*python, "console", "--port", str(port), env=environment("console"), name="console")
        start(*python, "scheduler", env=environment("scheduler"), name="scheduler")
        runner = start(*python, "runner.worker", "--environment", "prod", env=environment("runner"), name="runner")
        runner.wait_for("runner.ready", 60)
        (tmp_path / "main.py").write_text(READS_SOURCES)
        headers = {"Authorization": f"Bearer {minted.log.split()[-1]}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", headers=headers, timeout=20) as client:
            wait_until(lambda: answers(client), 60, "the console")
            zipped = pack(tmp_path / "main.py")
            kind = {"Content-Type": "application/zip"}
            done = client.post("/bots", params={"name": "report"}, content=zipped, headers=kind)
            assert done.status_code == 201, done.text
            value = {"Content-Type": "application/octet-stream"}
            for asset, given in (("SAP", "n0t-to-be-shown"), ("MAIL", PASSWORD_OF_MAIL)):
                done = client.put(f"/assets/{asset}/PASSWORD/values/prod", content=given, headers=value)
                assert done.status_code == 200, done.text
            assert client.patch("/workspace/connections", json={"paths": [str(tmp_path)]}).status_code == 200
            for source in (
                {"name": "rows", "kind": "sql", "definition": TABLE | {"connection": f"sqlite:///{tmp_path}/rows.db"}},
                {"name": "inbox", "kind": "imap", "definition": definition(mail_server, user=user, mark="seen")},
            ):
                done = client.post("/sources", json=source)
                assert done.status_code == 201, done.text
            job = client.post("/jobs", json={"bot": "report", "environment": "prod"}).json()["id"]
            ended = wait_until(lambda: end_of(client, job), 60, f"job {job}; the runner said {runner.log}")
            lines = [line["text"].strip() for line in client.get(f"/jobs/{job}/log").json()["items"]]
            mail_server.wait_for(user, [uid], "the message to be marked", criteria="SEEN")
        assert ended["state"] == "succeeded", lines
        assert {reading["asset"] for reading in ended["readings"]} == {"SAP.PASSWORD", "MAIL.PASSWORD"}
        assert {"got ***", "rows [7]", "mails ['Order']"} <= set(lines)


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/bots").status_code == 200
    except httpx.TransportError:
        return False


def end_of(client: httpx.Client, job: str) -> dict[str, Any]:
    """The job once it has ended, and nothing before."""
    found: dict[str, Any] = client.get(f"/jobs/{job}").json()
    return found if found["state"] in {"succeeded", "failed", "cancelled"} else {}
