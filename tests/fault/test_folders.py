"""Runners that die while they watch a folder, at every step: each file starts one job, and moves in the end."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from runner.models import Job
from runner.states import State
from runner.triggers import Firing
from scheduler import pending
from tests.api import Api, serving
from tests.conftest import Start
from tests.nursery import Program
from tests.support import Stores, wait_until
from vault import db

#: Looks at a folder as a runner does; where it is told to, it kills itself before or after the named step.
RUNNER = """
import os, signal, sys, time
from runner import arrivals
from runner.worker import folders
from vault import db

step, when, url, folder = sys.argv[1:]
module = {"arrive": arrivals, "outcomes": arrivals, "_move": folders, "_seen": folders}.get(step)

if module is not None:
    real = getattr(module, step)

    def dying(*given, **named):
        if when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = real(*given, **named)
        os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(module, step, dying)

if step == "commit":
    real_writing = db.writing

    class Dying:
        def __init__(self, bind):
            self.inner = real_writing(bind)
        def __enter__(self):
            return self.inner.__enter__()
        def __exit__(self, *error):
            self.inner.__exit__(*error)
            os.kill(os.getpid(), signal.SIGKILL)

    db.writing = Dying

watch = folders.Folders(db.engine(url), environments=["dev"], groups=["default"], allowed=[folders.Path(folder)])
print("watching", flush=True)
while True:
    watch.look(now=time.monotonic())
    time.sleep(0.05)
"""

FILES = 3


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as api:
        api.add_bot()
        yield api


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("step", "when"),
    [
        ("outcomes", "after"),
        ("arrive", "before"),
        ("arrive", "after"),
        ("commit", "after"),
        ("_move", "before"),
        ("_move", "after"),
    ],
)
def test_a_runner_that_dies_loses_no_file_and_starts_none_twice(
    api: Api, start: Start, tmp_path: Path, home: Path, step: str, when: str
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    definition = {"bot": "hello", "file": {"folder": str(folder), "stable": 0}, "parameters_from": {"FILE": "/name"}}
    answer = api.client.post("/api/v1/triggers", json={"name": "files", "definition": definition})
    assert answer.status_code == 201, answer.text
    for number in range(FILES):
        (folder / f"{number}.csv").write_text("x")
    dying = Program("runner.worker", RUNNER)
    url = api.console.engine.url.render_as_string(hide_password=False)

    def moved() -> bool:
        work_off(api)
        return not list(folder.glob("*.csv"))

    process = start(dying, step, when, url, folder, name="dying")

    def died() -> bool:
        work_off(api)
        return process.popen.poll() is not None

    wait_until(died, 60, "the runner to die")
    for _ in range(2):
        start(dying, "-", "-", url, folder, name="folders")
    wait_until(moved, 60, "every file to move")
    assert sorted(path.name for path in (folder / "done").iterdir()) == [f"{number}.csv" for number in range(FILES)]
    with db.reading(api.console.engine) as session:
        assert sorted(job["FILE"] for job in session.scalars(select(Job.parameters))) == [
            f"{number}.csv" for number in range(FILES)
        ]
        assert list(session.scalars(select(Firing.state))) == ["started"] * FILES


def work_off(api: Api) -> None:
    """The scheduler's part and the bots' part, without waiting for them."""
    with db.writing(api.console.engine) as session:
        pending.decide_batch(session)
        waiting = session.scalars(select(Job.id).where(Job.state == State.QUEUED).order_by(Job.turn, Job.id)).all()
    for job_id in waiting:
        api.finish(api.claim(str(job_id)))
