"""How console and scheduler start: the garbage collector rests meanwhile, and nothing is loaded that is not used."""

import json
import signal
import sys
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.support import Stores, wait_until

#: The process as `python -m` runs it; asked by a signal, it says how its collector does and what is loaded.
PROGRAM = """
import gc, json, os, runpy, signal
def said(*_):
    with open({path!r} + ".new", "w") as file:
        loaded = [name for name, module in sys.modules.items() if module]
        json.dump({{"collects": gc.isenabled(), "kept": gc.get_freeze_count(), "loaded": loaded}}, file)
    os.rename({path!r} + ".new", {path!r})
signal.signal(signal.SIGUSR2, said)
import sys
runpy.run_module({process!r}, run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(("process", "options", "ready"), [
    ("console", ["--port", "0"], "console.started"),
    ("scheduler", [], "scheduler.ready"),
])  # fmt: skip
def test_the_collector_looks_no_more_at_what_a_start_has_loaded(
    stores: Stores, home: Path, start: Start, tmp_path: Path, process: str, options: list[str], ready: str
) -> None:
    path = tmp_path / "said.json"
    started = start(
        sys.executable, "-c", PROGRAM.format(path=str(path), process=process), *options, env=stores.environment
    )
    started.wait_for(ready, 60)

    def said() -> dict[str, object]:
        path.unlink(missing_ok=True)
        started.identity.send(signal.SIGUSR2)
        wait_until(path.exists, 20, "what the process says of itself")
        return dict(json.loads(path.read_text()))

    # The console writes its line before it builds its routes.
    told = wait_until(lambda: found if (found := said())["collects"] else {}, 60, "the collector to work")
    assert isinstance(told["kept"], int)
    assert told["kept"] > 50_000
    loaded = set(map(str, told["loaded"]))  # type: ignore[call-overload]
    assert "structlog.dev" in loaded
    assert not {name for name in loaded if name.split(".")[0] in {"alembic", "rich", "textual", "keyring"}}
    assert started.stop() == 0
