"""The running system, and database servers to read from, for the tests that need them."""

from tests.databases import mariadb, secured_postgres
from tests.mail_server import mail_server, shared_mail_server, user
from tests.system import shared_system, system

__all__ = ["mail_server", "mariadb", "secured_postgres", "shared_mail_server", "shared_system", "system", "user"]
