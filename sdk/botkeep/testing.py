"""A runner for unit tests of bots, inside of the test's own process.

    from botkeep.testing import fake

    def test_the_report_counts_orders():
        with fake(assets={"SAP.PASSWORD": "x"}, parameters={"region": "eu"}, sources={"orders": [{"id": 1}]}) as runner:
            main()
        assert runner.outputs == {"orders": 1}

Promises that nothing outside is asked, whatever the environment of the test holds, and that all is as before
afterwards.
"""

from __future__ import annotations

import contextlib
import os

from botkeep import local
from botkeep.stand_in import StandIn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

#: Beginnings of variables by which a bot would find a real runner, or values.
_REAL = ("KLANGO_", "BOTKEEP_")


@contextlib.contextmanager
def fake(
    *,
    assets: Mapping[str, str | bytes | None] | None = None,
    parameters: Mapping[str, Any] | None = None,
    sources: Mapping[str, Iterable[Mapping[str, Any]]] | None = None,
    trays: Mapping[str, Iterable[Any]] | None = None,
    environment: str = "dev",
) -> Iterator[StandIn]:
    """Stand in the runner's place for the time of the block; gives what the bot said.

    `assets` maps GROUP.NAME to a value, or `None` for an asset without one; `sources` names to rows; `trays` names to
    the data of items that wait.
    """
    import tempfile  # noqa: PLC0415 - tests only

    standing = StandIn(assets=assets, parameters=parameters, sources=sources, trays=trays)
    before = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(_REAL)}
    with tempfile.TemporaryDirectory() as folder:
        own = {"BOTKEEP_ENVIRONMENT": environment, "BOTKEEP_OUTPUT_DIR": folder}
        os.environ.update(own)
        local._standing.append(standing)  # noqa: SLF001 - the other half of this module
        try:
            yield standing
        finally:
            local._standing.remove(standing)  # noqa: SLF001
            for name in own:
                os.environ.pop(name, None)
            os.environ.update(before)
