"""The running system, and database servers to read from, for the tests that need them."""

from tests.databases import mariadb, secured_postgres
from tests.system import shared_system, system

__all__ = ["mariadb", "secured_postgres", "shared_system", "system"]
