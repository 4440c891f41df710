"""The running system, for the tests that need one, and the gate of its bots."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mail_server import mail_server, shared_mail_server, user
from tests.system import System, shared_system, system

__all__ = ["gate", "mail_server", "shared_mail_server", "shared_system", "system", "user"]


@pytest.fixture
def gate(system: System) -> Iterator[Path]:
    """What the bot waits for; it is not there yet."""
    path = system.shared / f"gate-{uuid.uuid4().hex}"
    yield path
    path.touch()
