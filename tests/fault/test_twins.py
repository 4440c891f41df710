"""Two processes that start with one name at the same instant: one becomes the runner, the other says why not."""

import pytest

from tests.conftest import Start
from tests.fault.staying import alone
from tests.nursery import Program
from tests.support import wait_until
from tests.system import START_WITHIN, System

pytestmark = pytest.mark.timeout(240)


def test_of_two_that_start_with_one_name_at_the_same_instant_one_refuses(system: System, start: Start) -> None:
    system.add_bot(source="print('ran')")
    group = alone("twins")
    words = ["--environment", "dev", "--group", group, "--name", group, "--label", "os=linux"]
    twins = [start(Program("runner.worker"), *words, env=system.env, name=f"twin-{number}") for number in range(2)]
    wait_until(lambda: any(twin.popen.poll() is not None for twin in twins), START_WITHIN, "one to refuse")
    (refused,) = (twin for twin in twins if twin.popen.poll() is not None)
    (runner,) = (twin for twin in twins if twin is not refused)
    assert refused.popen.returncode == 75
    assert f"A runner named {group!r} is alive" in refused.log
    assert "Traceback" not in refused.log
    runner.wait_for("runner.ready", START_WITHIN)
    assert system.run(group=group)["runner"] == group
    (shown,) = (each for each in system.runners() if each["name"] == group)
    assert (shown["state"], shown["labels"], shown["groups"]) == ("online", {"os": "linux"}, [group])
    assert (shown["running"], shown["concurrency"]) == (0, 4)
