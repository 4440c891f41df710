"""The running system, for the tests that need one."""

from tests.mail_server import mail_server, shared_mail_server, user
from tests.system import shared_system, system

__all__ = ["mail_server", "shared_mail_server", "shared_system", "system", "user"]
