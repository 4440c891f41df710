"""Any server by pyodbc: the connection's own string, with the address in the host's place."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import replace
from typing import Any

from runner.connections import odbc as strings
from runner.connections.parsed import Dialect, System
from runner.sql_definition import Tls
from runner.worker.addresses import Place
from runner.worker.failures import SourceFailed, Step
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
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as ca:
            if self.login.tls_ca is not None:
                self.login.context()  # says what is wrong with it
                ca.write(self.login.tls_ca)
                ca.flush()
            made = pyodbc.connect(
                string(self.login, place, ca=ca.name if self.login.tls_ca is not None else None),
                autocommit=False,
                timeout=max(1, int(self.login.connect_timeout)),
            )
        with contextlib.suppress(pyodbc.Error):  # a driver may know no such limit
            made.timeout = max(1, int(self.login.timeout))
        return made


def string(login: Login, place: Place, *, ca: str | None = None) -> str:
    """The string that the driver manager is given. Its keys are ours, its values in braces; `ca` is a file.

    Raises:
        SourceFailed: for TLS that this driver cannot be told.
    """
    connection = login.connection
    options = dict(connection.options)
    options.setdefault("driver", USUAL)
    for name in ("encrypt", "trustservercertificate", "sslmode", "application_name", "connect_timeout", "charset"):
        options.pop(name, None)
    host, told = _TLS[connection.system](login, place, ca)
    addressed = replace(
        connection, dialect=Dialect.ODBC, hosts=((host, str(place.port)),), options=(*options.items(), *told.items())
    )
    return strings.write(addressed)


#: Where the driver connects to, and its own words about TLS.
_Told = tuple[str, dict[str, str]]


def _sqlserver(login: Login, place: Place, ca: str | None) -> _Told:
    if ca is not None:
        raise SourceFailed(
            Step.FILLED,
            "Microsoft's driver trusts the runner's own authorities only; add the certificate to them, and leave "
            "tls_ca out",
            field="tls_ca",
        )
    told = {"Encrypt": "no" if login.tls is Tls.OFF else "optional" if login.tls is Tls.PREFER else "yes"}
    told["TrustServerCertificate"] = "no" if login.tls is Tls.VERIFY else "yes"
    return place.address, told | ({"HostNameInCertificate": place.host} if login.tls is Tls.VERIFY else {})


def _postgresql(login: Login, place: Place, ca: str | None) -> _Told:
    """`pqopt` is handed to libpq: it connects to the address, and checks the certificate against the name."""
    modes = {Tls.OFF: "disable", Tls.PREFER: "prefer", Tls.REQUIRE: "require", Tls.VERIFY: "verify-full"}
    trusted = f" sslrootcert={ca or 'system'}" if login.tls is Tls.VERIFY else ""
    options = f"hostaddr={place.address}{trusted}"
    return place.host, {"sslmode": modes[login.tls], "pqopt": options} if trusted else {"sslmode": modes[login.tls]}


def _mysql(login: Login, place: Place, ca: str | None) -> _Told:
    """MariaDB's words, mariadb.com/kb/en/about-mariadb-connector-odbc; the certificate must be for the address."""
    if login.tls in (Tls.OFF, Tls.PREFER):
        return place.address, {}
    verified = {"SSLVERIFY": "1", **({"SSLCA": ca} if ca is not None else {})}
    return place.address, {"FORCETLS": "1", **(verified if login.tls is Tls.VERIFY else {})}


def _oracle(login: Login, place: Place, _ca: str | None) -> _Told:
    if login.tls in (Tls.REQUIRE, Tls.VERIFY):
        raise SourceFailed(
            Step.FILLED,
            "Oracle's driver of ODBC is told of TLS in its own files; write the connection as a URL",
            field="tls",
        )
    return place.address, {}


_TLS = {
    System.SQLSERVER: _sqlserver,
    System.POSTGRESQL: _postgresql,
    System.MYSQL: _mysql,
    System.ORACLE: _oracle,
}
