"""The gate of the bots of a running system."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system import System


@pytest.fixture
def gate(system: System) -> Iterator[Path]:
    """What the bot waits for; it is not there yet."""
    path = system.shared / f"gate-{uuid.uuid4().hex}"
    yield path
    path.touch()
