"""What a runner does not load before something needs it, seen in real runners on both pairs of stores.

Private memory of a runner that ran 500 jobs, with 100 values in its workspace (2026-11-26, Python 3.11): 82 MB on
SQLite and 84 MB on PostgreSQL while everything was loaded at the start, 75 and 77 MB since. Of that, in MB: the modules
and tables of data sources 2.5, imap-tools and ours for mailboxes 1.2, dialects with asymmetric cryptography 0.6,
watchfiles 0.2 (and 0.6 of its library).
"""

import json
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from runner.worker.on_demand import Part
from tests.conftest import Start
from tests.support import Started, wait_until
from tests.system import System, start_runner

pytestmark = pytest.mark.timeout(180)

#: What a runner does that is started as `python -m runner.worker`; asked by a signal, it writes down what is loaded.
LISTING = """
import json, os, signal, sys
from runner.worker import memory
memory.save()
def written(*_):
    with open({path!r} + ".new", "w") as file:
        json.dump([name for name, module in sys.modules.items() if module], file)
    os.rename({path!r} + ".new", {path!r})
signal.signal(signal.SIGUSR2, written)
"""

#: With the parts of `on_demand`, what they alone load: libraries and tables.
LATE = {
    *map(str, Part),
    "anyio",
    "cryptography.hazmat.primitives.serialization",
    "imap_tools",
    "imaplib",
    "runner.definitions",
    "runner.fan_outs",
    "runner.mail_messages",
    "runner.source_models",
    "runner.triggers",
    "watchfiles",
}

#: Loaded by nothing in a runner, ever.
NEVER = {"alembic", "celery.bin", "fastapi", "fsspec", "httpx", "keyring", "opentelemetry", "rich", "typer", "yaml"}

#: A source of either kind that nobody reaches, which nobody asks for either.
SQL = {"connection": "host=127.0.0.1 port=1 dbname=nothing", "query": "SELECT 1"}
IMAP = {"host": "127.0.0.1", "port": 1, "user": "nobody", "password": "{{ASSET.MAIL.PASSWORD}}"}


@dataclass(frozen=True, slots=True)
class Listed:
    """A runner that says what it has loaded."""

    process: Started
    path: Path

    def loaded(self) -> set[str]:
        """The names of its modules, now."""
        self.path.unlink(missing_ok=True)
        self.process.identity.send(signal.SIGUSR2)
        wait_until(self.path.exists, what="the runner's list")
        return set(json.loads(self.path.read_text()))

    def wait_for(self, *names: str) -> set[str]:
        """The same, once it has loaded `names`; a module is listed before what it imports."""
        return wait_until(lambda: found if (found := self.loaded()).issuperset(names) else set(), 60, f"{names}")


def begin(system: System, start: Start, folder: Path, name: str, **env: str) -> Listed:
    """A runner that has run one job."""
    path = folder / f"{name}.json"
    code = LISTING.format(path=str(path))
    process = start_runner(system, start, name=name, group=name, code=code, env=env, executed=True)
    system.add_bot()
    job = system.run(group=name)
    assert job["state"] == "succeeded", system.log(job["id"])
    return Listed(process, path)


def test_a_runner_loads_what_belongs_to_data_sources_when_there_is_one(
    system: System, start: Start, tmp_path: Path
) -> None:
    runner = begin(system, start, tmp_path, "plain")
    plain = runner.loaded()
    assert plain & (LATE | NEVER) == set()
    assert ("psycopg" in plain) == (system.stores.name == "server")

    system.set_value("MAIL.PASSWORD", "not a real password", "dev")
    for kind, definition in (("sql", SQL), ("imap", IMAP)):
        answer = system.client.post("/api/v1/sources", json={"name": kind, "kind": kind, "definition": definition})
        assert answer.status_code == 201, answer.text
        if kind == "sql":
            found = runner.wait_for(Part.CHECKS, "runner.fan_outs", "runner.source_models")
            assert found.isdisjoint({Part.MAIL, Part.IMAP, Part.SQL, "imap_tools"})
        else:
            runner.wait_for(Part.MAIL, "imap_tools", "runner.mail_messages")


def test_a_runner_loads_what_belongs_to_folders_when_it_may_watch_one(
    system: System, start: Start, tmp_path: Path
) -> None:
    runner = begin(system, start, tmp_path, "watching", BOTKEEP_WATCH_FOLDERS=json.dumps([str(tmp_path)]))
    assert runner.loaded() & LATE == {Part.FOLDERS, "runner.triggers", "watchfiles", "anyio"}
