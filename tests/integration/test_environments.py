"""Virtual environments as uv really builds them, from a package that is made here: nothing is downloaded."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runner.dependencies import Dependencies
from runner.worker.environments import (
    EnvironmentBuildFailed,
    VirtualEnvironment,
    allowed,
    environment_key,
    provide,
)
from runner.worker.interpreters import Interpreter, inspect_interpreter, own_interpreter
from runner.worker.trust import system_certificates
from tests.integration.shop import CANARY, Shop, open_gate, wait_for_end
from tests.support import ROOT, wait_until


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop.opened(tmp_path)


@pytest.fixture
def gated(shop: Shop) -> Shop:
    """The backend waits until the test opens the gate."""
    os.mkfifo(shop.gate)
    return shop


def python(environment: VirtualEnvironment, code: str) -> str:
    done = subprocess.run([environment.python, "-I", "-c", code], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_a_build_sees_no_asset_and_nothing_but_the_allow_list(shop: Shop) -> None:
    shop.provide()
    seen = shop.seen.read_text()
    assert CANARY not in seen
    environ = json.loads(seen)["environ"]
    uv_sets = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONIOENCODING", "LC_CTYPE", "UV", "UV_INTERNAL__BUILD_DIR"}
    we_set = {"HOME", "TMPDIR", "UV_PYTHON_DOWNLOADS", "UV_CACHE_DIR", "UV_LINK_MODE", "UV_SYSTEM_CERTS"}
    assert set(environ) - uv_sets - we_set <= set(allowed(shop.environ))
    assert environ["UV_OFFLINE"] == "1"
    assert environ.items() >= system_certificates().items()
    assert Path(environ["HOME"]).is_relative_to(shop.root)
    assert Path(environ["TMPDIR"]).is_relative_to(shop.root)


def test_the_probe_would_show_what_is_let_through(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.worker.environments.allowed", dict)
    shop.provide()
    assert CANARY in shop.seen.read_text()


def test_an_environment_works_where_it_was_moved_to(shop: Shop) -> None:
    built = shop.provide()
    home = shop.root / built.key
    assert built.python == home / "bin" / "python"
    assert list((home / "lib").glob("python*/site-packages/__pycache__/probe.*.pyc"))
    assert python(built, "import sys; print(sys.prefix)").strip() == str(home)
    assert subprocess.check_output([home / "bin" / "probe-main"], text=True).strip() == str(home)
    assert str(home / "lib") in python(built, "import probe; probe.where()")
    assert built.log.startswith("Building a virtual environment from requirements.txt for Python ")
    assert " + probe==1.0" in built.log
    assert shop.left == [built.key]


def test_a_bot_without_dependencies_gets_an_empty_environment(shop: Shop) -> None:
    bare = shop.provide("")
    assert "No module named 'pydantic'" in python(bare, "import pydantic")
    assert "No module named 'pip'" in python(bare, "import pip")
    assert "without packages" in bare.log


def test_an_environment_is_built_once_and_its_use_is_marked(shop: Shop) -> None:
    first = shop.provide("")
    mark = shop.root / first.key / ".last-used"
    os.utime(mark, (1, 1))
    again = shop.provide("")
    assert (again.key, again.python, again.log) == (first.key, first.python, "")
    assert mark.stat().st_mtime > 1


def test_a_package_that_was_built_once_is_taken_from_the_cache(shop: Shop) -> None:
    first = shop.provide()
    shutil.rmtree(shop.root / first.key)
    shop.seen.unlink()
    assert " + probe==1.0" in shop.provide().log
    assert not shop.seen.exists(), "the package was built again"


def test_writing_into_an_environment_does_not_reach_the_next_one(shop: Shop) -> None:
    first = shop.provide()
    [module] = (shop.root / first.key / "lib").glob("python*/site-packages/probe.py")
    module.write_text("evil = True\n")
    second = shop.provide("--only-binary nothing\nprobe==1.0\n")
    assert second.key != first.key
    assert python(second, "import probe; print(hasattr(probe, 'evil'))").strip() == "False"


@pytest.mark.parametrize("honest", [True, False])
def test_a_package_with_another_hash_is_refused(shop: Shop, *, honest: bool) -> None:
    digest = hashlib.sha256((shop.index / "probe-1.0.tar.gz").read_bytes()).hexdigest()
    text = f"probe==1.0 --hash=sha256:{digest if honest else '0' * 64}\n"
    if honest:
        assert " + probe==1.0" in shop.provide(text).log
        return
    with pytest.raises(EnvironmentBuildFailed, match=r"probe==1.0 from requirements.txt[^$]*Hash mismatch for `probe"):
        shop.provide(text)
    assert not shop.seen.exists(), "code of the package ran before its hash was checked"
    assert shop.left == []


def test_where_hashes_are_asked_for_a_package_without_one_is_refused(shop: Shop) -> None:
    with pytest.raises(EnvironmentBuildFailed, match="hash"):
        shop.provide("--require-hashes\nprobe==1.0\n")
    assert not shop.seen.exists()


def test_a_failed_build_names_the_requirement_and_leaves_nothing(shop: Shop) -> None:
    with pytest.raises(EnvironmentBuildFailed) as caught:
        shop.provide("no-such_Package>=9\nprobe==1.0\n")
    message = str(caught.value)
    assert message.startswith("The installation of no-such_Package>=9 from requirements.txt failed")
    assert "uv said at the end:\n" in message
    assert "Because no-such-package" in message
    assert "Because no-such-package" in caught.value.log
    assert shop.left == []
    shop.provide()


def test_a_build_that_takes_too_long_is_killed_with_all_its_processes(gated: Shop) -> None:
    limit = 1.0
    while not gated.seen.exists():
        limit *= 2
        with pytest.raises(EnvironmentBuildFailed, match=r"probe==1\.0 from requirements\.txt took too long"):
            gated.provide(limit=limit)
    assert len(json.loads(gated.seen.read_text())["pids"]) == 3
    wait_for_end(gated.pids())
    assert gated.left == []


def test_a_build_and_the_wait_for_it_are_told_while_they_last(gated: Shop) -> None:
    told: list[str] = []
    waiting: list[str] = []
    with ThreadPoolExecutor() as pool:
        building = pool.submit(gated.provide, tell=told.append)
        gated.pids()
        wait_until(
            lambda: "Building a virtual environment from requirements.txt" in "".join(told), 20, "the word of it"
        )
        second = pool.submit(gated.provide, tell=waiting.append)
        wait_until(lambda: waiting, 20, "the word of the wait")
        assert (building.done(), second.done()) == (False, False)
        open_gate(gated)
        assert building.result(60).log == "".join(told)
        assert second.result(60).log == ""
    assert [text for text in waiting if text] == ["Waiting for another job that builds the same virtual environment."]


def test_a_build_and_the_wait_for_it_can_be_called_off(gated: Shop) -> None:
    stops = [threading.Event(), threading.Event()]
    with ThreadPoolExecutor() as pool:
        building = pool.submit(gated.provide, stop=stops[0])
        processes = gated.pids()
        waiting = pool.submit(gated.provide, stop=stops[1])
        for one, stop in ((waiting, stops[1]), (building, stops[0])):
            assert not one.done()
            stop.set()
            with pytest.raises(EnvironmentBuildFailed, match="called off"):
                one.result(20)
    wait_for_end(processes)
    assert gated.left == []


BUILDER = """
import json, os, sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from runner.dependencies import Dependencies
from runner.worker.environments import provide
from runner.worker.interpreters import own_interpreter
from runner.worker.trust import system_certificates
from tests.integration.shop import CANARY, MODULE, Shop, open_gate, wait_for_end

root, environ = Path(sys.argv[1]), json.loads(sys.argv[2])
def build(_):
    os.write(1, b"asking\\n")
    wanted = Dependencies("probe==1.0\\n", "", "x")
    found = provide(wanted, root=root, interpreter=own_interpreter(), environ=environ)
    return [str(found.python), bool(found.log)]

with ThreadPoolExecutor(2) as pool:
    print(json.dumps(list(pool.map(build, range(2)))), flush=True)
"""


def test_builders_in_threads_and_processes_build_once(gated: Shop) -> None:
    argv = [sys.executable, "-c", BUILDER, str(gated.root), json.dumps(gated.environ)]
    builders = [subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        for builder in builders:
            assert builder.stdout is not None
            assert [builder.stdout.readline() for _ in range(2)] == ["asking\n"] * 2
        gated.pids()
        open_gate(gated)
        results = [result for builder in builders for result in json.loads(builder.communicate(timeout=30)[0])]
    finally:
        for builder in builders:
            builder.kill()
            builder.wait()
    assert len({python for python, _ in results}) == 1
    assert sorted(built for _, built in results) == [False, False, False, True]


def test_a_killed_builder_leaves_no_process_and_its_remains_are_no_environment(gated: Shop) -> None:
    argv = [sys.executable, "-c", BUILDER, str(gated.root), json.dumps(gated.environ)]
    builder = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL)
    processes = gated.pids()
    builder.kill()
    builder.wait()
    assert [name.partition(".")[0] for name in gated.left] == [
        environment_key(Dependencies("probe==1.0\n", "", "x"), interpreter=own_interpreter())
    ]
    wait_for_end(processes)
    gated.seen.unlink()
    with ThreadPoolExecutor() as pool:
        building = pool.submit(gated.provide)
        gated.pids()
        open_gate(gated)
        built = building.result(30)
    assert " + probe==1.0" in built.log
    assert gated.left == [built.key]


@pytest.mark.parametrize("damage", ["mark", "interpreter"])
def test_a_damaged_environment_is_built_again(shop: Shop, damage: str) -> None:
    first = shop.provide("")
    path = first.python if damage == "interpreter" else shop.root / first.key / ".last-used"
    path.unlink()
    if damage == "interpreter":
        path.symlink_to("/nowhere/python")
    assert shop.provide("").log
    assert "no" not in python(first, "print('works')")
    assert shop.left == [first.key]


def test_an_environment_that_does_not_work_in_its_place_is_taken_away(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.worker.environments._CHECK", "raise SystemExit('it does not start')")
    with pytest.raises(EnvironmentBuildFailed, match="it does not start"):
        shop.provide("")
    assert shop.left == []


def test_the_wrong_python_is_told_before_anything_is_built(shop: Shop) -> None:
    asked = Dependencies("probe==1.0\n", ">=3.99", "pyproject.toml")
    with pytest.raises(EnvironmentBuildFailed, match=r"asks for Python >=3.99 \(pyproject.toml\), but this runner"):
        provide(asked, root=shop.root, interpreter=own_interpreter(), environ=shop.environ)
    assert not shop.root.exists()


def test_the_key_covers_the_requirements_the_python_and_the_platform() -> None:
    own = own_interpreter()
    one = Dependencies("a\n", "", "x")
    keys = {
        environment_key(None, interpreter=own),
        environment_key(one, interpreter=own),
        environment_key(Dependencies("b\n", "", "x"), interpreter=own),
        environment_key(one, interpreter=Interpreter(own.executable, "3.99.0", own.platform)),
        environment_key(one, interpreter=Interpreter(own.executable, own.version, "elsewhere")),
        environment_key(one, interpreter=Interpreter(Path("/other"), own.version, own.platform)),
    }
    assert len(keys) == 6
    assert environment_key(Dependencies("a\n", ">=3", "y"), interpreter=own) in keys


def test_an_interpreter_says_what_it_is() -> None:
    own = own_interpreter()
    assert inspect_interpreter(own.executable) == own
    assert own.executable.resolve() != Path(sys.executable) or sys.prefix == sys.base_prefix
