"""`make demo` does what it shows, from its first line to its last."""

import subprocess
import sys

import pytest

from tests.support import ROOT, clean_environment


@pytest.mark.timeout(180)
def test_the_demo_runs_the_three_examples_and_stops_everything() -> None:
    demo = subprocess.run(
        [sys.executable, ROOT / "examples/demo.py"],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert demo.returncode == 0, demo.stdout[-4000:] + demo.stderr[-2000:]
    for word in ("[dev]", "[staging]", "[prod]", "totals", "rates", "***"):
        assert word in demo.stdout
