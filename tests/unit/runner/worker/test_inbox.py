"""Of what lies in a lane nothing reaches Celery but that a job is named in it."""

import base64
import json
import uuid

import pytest
from celery import Celery
from kombu.transport import redis

from runner.lanes import TASK, transport
from runner.worker import inbox
from runner.worker.tasks import JOB, LANE

JOB_ID = str(uuid.UUID(int=7))


def entry(body: object, **headers: object) -> dict[str, object]:
    return {
        "body": base64.b64encode(json.dumps(body).encode()).decode(),
        "headers": {"task": TASK, **headers},
        "properties": {"delivery_tag": {"evil": 1}, "body_encoding": "evil"},
        "content-type": "application/x-python-serialize",
        "content-encoding": "evil",
    }


def test_an_entry_that_names_a_job_becomes_a_clean_message_about_its_lane() -> None:
    clean = inbox.hint(entry([[JOB_ID], {"evil": 1}, {"callbacks": ["evil"]}], eta="2999-01-01", expires=-1), "dev.x")
    assert clean is not None
    assert clean["headers"] == {"task": TASK, LANE: ["dev", "x"], JOB: JOB_ID}
    assert clean["body"] == ""
    assert "evil" not in json.dumps(clean)
    assert clean["content-type"] == "application/json"


def test_a_message_that_goes_back_names_the_job_that_it_named() -> None:
    clean = inbox.hint(entry([[JOB_ID], {}, {}]), "dev.x")
    assert clean is not None
    back = json.loads(json.dumps(inbox.returned(clean)))
    assert json.loads(base64.b64decode(back["body"]))[0] == [JOB_ID]
    again = inbox.hint(back, "dev.x")
    assert again is not None
    assert again["body"] == clean["body"]
    assert again["headers"][JOB] == JOB_ID


@pytest.mark.parametrize(
    "bad",
    [
        None,
        7,
        "text",
        [],
        {},
        {"headers": None, "body": ""},
        {"headers": {"task": TASK}},
        {"headers": {"task": TASK}, "body": None},
        {"headers": {"task": TASK}, "body": "%%%"},
        {"headers": {"task": TASK}, "body": base64.b64encode(b"\x80\x04pickle").decode()},
        {"headers": {"task": TASK}, "body": base64.b64encode(b"[" * 100_000).decode()},
        entry([[JOB_ID], {}, {}], task="os.system"),
        entry({"not": "a list"}),
        entry([]),
        entry([[], {}, {}]),
        entry([[JOB_ID, JOB_ID], {}, {}]),
        entry([[JOB_ID], {}]),
        entry([["no id"], {}, {}]),
        entry([[7], {}, {}]),
        entry([[None], {}, {}]),
        entry([[["a"]], {}, {}]),
        entry([[JOB_ID + "0"], {}, {}]),
    ],
)
def test_everything_else_is_refused(bad: object) -> None:
    assert inbox.hint(bad, "dev.x") is None


@pytest.mark.parametrize(
    "address", ["redis://127.0.0.1:1/0", "rediss://127.0.0.1:1/0", "redis+socket://:password@/tmp/no.sock"]
)
def test_celery_takes_the_transport_for_every_redis_address(address: str) -> None:
    app: Celery = transport(address)
    inbox.receive_with(app, address)
    connection = app.connection_for_read()
    assert isinstance(connection.transport, inbox.Transport)
    assert issubclass(inbox.Transport.Channel, redis.Channel)
    app.close()
