"""The running system, for the tests that need one."""

from tests.system import shared_system, system

__all__ = ["shared_system", "system"]
