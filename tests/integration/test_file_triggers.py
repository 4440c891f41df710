"""Files that start jobs: seen by runners' looks, decided by the scheduler, moved when their jobs have ended."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.states import State
from runner.worker import folders
from runner.worker.folders import Folders
from scheduler import firing, pending
from tests.api import Api, serving
from tests.support import Stores, wait_until
from vault import db


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as api:
        api.add_bot()
        yield api


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "in"
    path.mkdir()
    return path


def add(api: Api, folder: Path, **more: Any) -> None:  # noqa: ANN401 - JSON
    definition = {
        "bot": "hello",
        "file": {"folder": str(folder), "pattern": "*.csv"},
        "parameters_from": {"FILE": "/path", "SIZE": "/size"},
        **more,
    }
    answer = api.client.post("/api/v1/triggers", json={"name": "files", "definition": definition})
    assert answer.status_code in {200, 201}, answer.text


def watcher(api: Api, *allowed: Path, environments: tuple[str, ...] = ("dev",)) -> Folders:
    return Folders(api.console.engine, environments=environments, groups=("default",), allowed=allowed)


def looked(*watchers: Folders, at: float = 0.0) -> None:
    """Two looks of each, far enough apart for a file to count as complete."""
    for now in (at, at + 3.0):
        for each in watchers:
            each.look(now=now)


def decided(api: Api) -> int:
    with db.writing(api.console.engine) as session:
        fired = pending.decide_batch(session)
    firing.announce(api.console.engine, api.console.transport, fired)
    return len(fired)


def jobs(api: Api) -> list[dict[str, Any]]:
    return list(reversed(api.client.get("/api/v1/jobs").json()["items"]))


def end(api: Api, state: State = State.SUCCEEDED) -> None:
    job = next(job for job in jobs(api) if job["state"] == "queued")
    api.finish(api.claim(job["id"]), state)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(("state", "place"), [(State.SUCCEEDED, "done"), (State.FAILED, "failed")])
def test_a_complete_file_starts_one_job_and_moves_when_it_has_ended(
    api: Api, folder: Path, state: State, place: str
) -> None:
    add(api, folder)
    (folder / "a.csv").write_text("1,2\n")
    watch = watcher(api, folder.parent)
    looked(watch)
    assert decided(api) == 1
    (job,) = jobs(api)
    assert job["parameters"] == {"FILE": str(folder / "a.csv"), "SIZE": 4}
    looked(watch, at=10)
    assert decided(api) == 0
    assert (folder / "a.csv").exists(), "its job has not ended"
    end(api, state)
    looked(watch, at=20)
    assert (folder / place / "a.csv").read_text() == "1,2\n"
    assert not (folder / "a.csv").exists()


def test_a_file_that_still_grows_waits(api: Api, folder: Path) -> None:
    add(api, folder)
    watch = watcher(api, folder)
    for second in range(5):
        with (folder / "a.csv").open("a") as file:
            file.write("more\n")
        watch.look(now=float(second))
    assert decided(api) == 0
    watch.look(now=10.0)
    assert decided(api) == 1


def test_only_regular_files_that_match_count(api: Api, folder: Path, tmp_path: Path) -> None:
    add(api, folder)
    (tmp_path / "outside.csv").write_text("secret")
    (folder / "link.csv").symlink_to(tmp_path / "outside.csv")
    (folder / "folder.csv").mkdir()
    (folder / ".hidden.csv").write_text("x")
    (folder / "other.txt").write_text("x")
    os.mkfifo(folder / "pipe.csv")
    looked(watcher(api, folder))
    assert decided(api) == 0


def test_a_folder_that_the_runner_does_not_allow_is_left_alone_also_by_a_link(
    api: Api, folder: Path, tmp_path: Path
) -> None:
    (folder / "a.csv").write_text("x")
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "way").symlink_to(folder)
    for named in (folder, allowed / "way", tmp_path / "missing"):
        add(api, named)
        looked(watcher(api, allowed))
        assert decided(api) == 0


def test_several_runners_on_one_folder_start_one_job_and_move_once(api: Api, folder: Path) -> None:
    add(api, folder)
    (folder / "a.csv").write_text("x")
    several = [watcher(api, folder) for _ in range(3)]
    looked(*several)
    assert decided(api) == 1
    end(api)
    looked(*several, at=10)
    assert names(folder / "done") == ["a.csv"]


def test_a_runner_of_another_environment_does_not_look(api: Api, folder: Path) -> None:
    add(api, folder, environment="prod")
    (folder / "a.csv").write_text("x")
    looked(watcher(api, folder))
    assert decided(api) == 0
    looked(watcher(api, folder, environments=("prod",)))
    assert decided(api) == 1


def test_a_paused_trigger_waits_and_nothing_is_lost(api: Api, folder: Path) -> None:
    add(api, folder)
    watch = watcher(api, folder)
    (folder / "a.csv").write_text("x")
    looked(watch)
    api.client.put("/api/v1/triggers/files/pause")
    (folder / "b.csv").write_text("x")
    looked(watch, at=10)
    assert decided(api) == 0
    api.client.delete("/api/v1/triggers/files/pause")
    assert decided(api) == 1
    looked(watch, at=20)
    assert decided(api) == 1
    assert len(jobs(api)) == 2


def test_a_second_file_of_the_same_name_is_another_one(api: Api, folder: Path) -> None:
    add(api, folder)
    watch = watcher(api, folder)
    for at in (0.0, 100.0):
        (folder / "a.csv").write_text(f"content of {at}")
        looked(watch, at=at)
        assert decided(api) == 1
        end(api)
        looked(watch, at=at + 50)
    assert names(folder / "done") == ["a.1.csv", "a.csv"]


def test_a_file_that_is_replaced_while_its_job_runs_is_not_moved_for_it(api: Api, folder: Path) -> None:
    add(api, folder)
    watch = watcher(api, folder)
    (folder / "a.csv").write_text("old")
    looked(watch)
    assert decided(api) == 1
    (folder / "a.csv").write_text("and new")
    end(api)
    looked(watch, at=20)
    assert (folder / "a.csv").exists()
    assert decided(api) == 1


def test_what_is_skipped_or_cannot_start_goes_to_failed(api: Api, folder: Path) -> None:
    add(api, folder, parameters_from={"X": "/nothing"})
    (folder / "a.csv").write_text("x")
    watch = watcher(api, folder)
    looked(watch)
    assert decided(api) == 1
    looked(watch, at=10)
    assert names(folder / "failed") == ["a.csv"]


def test_a_move_that_cannot_be_made_leaves_the_file_and_goes_on(api: Api, folder: Path) -> None:
    add(api, folder)
    (folder / "a.csv").write_text("x")
    (folder / "done").write_text("in the way")
    watch = watcher(api, folder)
    looked(watch)
    decided(api)
    end(api)
    looked(watch, at=10)
    assert (folder / "a.csv").exists()


def test_it_is_heard_of_at_once(api: Api, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(api, folder, file={"folder": str(folder), "pattern": "*.csv", "stable": 0})
    monkeypatch.setattr(folders, "LOOK", 3600.0)
    watch = watcher(api, folder)
    watch.start()
    try:
        number = iter(range(10_000))

        def seen() -> int:
            (folder / f"{next(number)}.csv").write_text("x")  # the kernel is listened to a moment after the start
            return decided(api)

        assert wait_until(seen, 30, "a notification to lead to a firing")
    finally:
        watch.close()


def test_a_file_that_changes_in_the_moment_before_its_move_stays(folder: Path) -> None:
    (folder / "a.csv").write_text("old")
    (seen,) = folders._files(folder, "*")
    (folder / "a.csv").write_text("and new")
    folders._move(seen, "done")
    assert names(folder) == ["a.csv"]
