"""A Redis Cluster loses messages of jobs, so every process of ours refuses it with a sentence."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runner import lanes
from tests.api import serving
from tests.conftest import Start
from tests.nursery import Program
from tests.services import RedisServer, Services, migrate
from tests.support import Stores, free_port
from tests.system import START_WITHIN
from vault import db, keyhost
from vault.settings import VaultSettings

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def cluster(services: Services, tmp_path: Path) -> Iterator[RedisServer]:
    server = services.new_redis("server", tmp_path / "cluster")
    # Its own choice would be 10,000 above the port, which may be none.
    server.more = f"cluster-enabled yes\ncluster-port {free_port()}"
    server.start()
    yield server
    server.stop()


def test_no_process_begins_with_a_cluster(cluster: RedisServer, home: Path, start: Start) -> None:
    url = f"sqlite:///{home / 'botkeep.db'}"
    migrate(url)
    engine = db.engine(url)
    settings = VaultSettings(home=home)
    keyhost.make_key(engine, "dev", settings=settings, protect=False, if_missing=False, now=datetime.now(UTC))
    engine.dispose()
    env = {**Stores("server", url, cluster.url).environment, "BOTKEEP_HOME": str(home), "BOTKEEP_RUN_AS_ROOT": "true"}
    commands = (("runner.worker", "--name", "one"), ("scheduler",), ("console", "--port", "0"))
    for process in [start(Program(name), *words, env=env, name=name) for name, *words in commands]:
        assert process.wait(START_WITHIN) == 5, process.log
        assert lanes.CLUSTER in process.log
        assert "Traceback" not in process.log


def test_a_console_whose_broker_became_a_cluster_is_not_ready(
    cluster: RedisServer, stores: Stores, tmp_path: Path
) -> None:
    with serving(Stores(stores.name, stores.database_url, cluster.url), tmp_path) as api:
        ready = api.client.get("/readyz")
    assert (ready.status_code, ready.json()["ready"], ready.json()["broker"]) == (503, False, "a cluster")
    assert ready.json()["error"]["message"] == lanes.CLUSTER
    assert ready.json()["database"] == "ok"
