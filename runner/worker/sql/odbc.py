"""Any server by pyodbc: the connection's own string, with the address in the host's place."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

from runner.connections import odbc as strings
from runner.connections.parsed import Dialect, System
from runner.sql_definition import Tls
from runner.worker.sql.generic import Generic
from runner.worker.sql.login import Login, driver
from runner.worker.sql.paramstyle import Paramstyle

#: Where a connection names no driver of ODBC: Microsoft's, as its package installs it.
USUAL = "ODBC Driver 18 for SQL Server"


class Odbc(Generic):
    """One connection; see `drivers.Driver`."""

    PARAMSTYLE: Paramstyle = "qmark"

    def connect(self, place: Any) -> Any:  # noqa: ANN401
        """See `generic.Generic`."""
        pyodbc: Any = driver("pyodbc")
        pyodbc.pooling = False
        made = pyodbc.connect(
            string(self.login, place.host, place.address, place.port),
            autocommit=False,
            timeout=max(1, int(self.login.connect_timeout)),
        )
        with contextlib.suppress(pyodbc.Error):  # a driver may know no such limit
            made.timeout = max(1, int(self.login.timeout))
        return made


def string(login: Login, host: str, address: str, port: int) -> str:
    """The string that the driver manager is given. Its keys are ours, its values in braces."""
    connection = login.connection
    options = dict(connection.options)
    options.setdefault("driver", USUAL)
    server = connection.system is System.SQLSERVER
    for name in ("encrypt", "trustservercertificate", "sslmode", "application_name", "connect_timeout", "charset"):
        options.pop(name, None)
    if server:
        options["Encrypt"] = "no" if login.tls is Tls.OFF else "optional" if login.tls is Tls.PREFER else "yes"
        options["TrustServerCertificate"] = "no" if login.tls is Tls.VERIFY else "yes"
        if login.tls is Tls.VERIFY:
            options["HostNameInCertificate"] = host
    elif connection.system is System.POSTGRESQL:
        modes = {Tls.OFF: "disable", Tls.PREFER: "prefer", Tls.REQUIRE: "require", Tls.VERIFY: "verify-full"}
        options["sslmode"] = modes[login.tls]
    addressed = replace(connection, dialect=Dialect.ODBC, hosts=((address, str(port)),), options=tuple(options.items()))
    return strings.write(addressed)
