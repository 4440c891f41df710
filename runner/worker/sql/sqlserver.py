"""SQL Server by pymssql. It knows no read-only transaction: what a query changes is rolled back, and a login that may
only read is the safer way.
"""

from __future__ import annotations

from typing import Any

from runner.sql_definition import Tls
from runner.worker.failures import SourceFailed, Step
from runner.worker.sql.generic import Generic
from runner.worker.sql.login import driver
from runner.worker.sql.paramstyle import Paramstyle


class SqlServer(Generic):
    """One connection; see `drivers.Driver`."""

    PARAMSTYLE: Paramstyle = "pyformat"

    def connect(self, place: Any) -> Any:  # noqa: ANN401
        """See `generic.Generic`. FreeTDS checks no certificate, so what has to be checked is refused."""
        login, connection = self.login, self.login.connection
        pymssql: Any = driver("pymssql")
        if login.tls is Tls.VERIFY:
            raise SourceFailed(
                Step.AUTHENTICATED,
                'pymssql checks no certificate; write the connection for ODBC, or tls = "require"',
                field="tls",
            )
        modes = {Tls.OFF: "off", Tls.PREFER: "request", Tls.REQUIRE: "require"}
        return pymssql.connect(
            server=place.address,
            port=str(place.port),
            user=connection.user or "",
            password=connection.password or "",
            database=connection.database or "",
            login_timeout=max(1, int(login.connect_timeout)),
            timeout=max(1, int(login.timeout)),
            appname=connection.option("application_name") or "botkeep",
            encryption=modes[login.tls],
            tds_version="7.4",
        )
