"""Oracle by oracledb's thin mode, which needs no client library."""

from __future__ import annotations

from typing import Any

from runner.sql_definition import Tls
from runner.worker.sql.generic import Generic
from runner.worker.sql.login import driver
from runner.worker.sql.paramstyle import Paramstyle


class Oracle(Generic):
    """One connection; see `drivers.Driver`."""

    PARAMSTYLE: Paramstyle = "named"

    def begin(self, *, read_only: bool) -> None:
        """See `drivers.Driver`."""
        if read_only:
            with self.asked(), self.connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION READ ONLY")

    def connect(self, place: Any) -> Any:  # noqa: ANN401
        """See `generic.Generic`."""
        login, connection = self.login, self.login.connection
        oracledb: Any = driver("oracledb")
        oracledb.defaults.fetch_decimals = True
        oracledb.defaults.fetch_lobs = False
        service = connection.option("service") or (connection.database if connection.service != "sid" else None)
        sid = connection.option("sid") or (connection.database if connection.service == "sid" else None)
        made = oracledb.connect(
            user=connection.user or "",
            password=connection.password or "",
            host=place.address,
            port=place.port,
            **({"service_name": service} if service else {"sid": sid or ""}),
            protocol="tcps" if login.tls in (Tls.REQUIRE, Tls.VERIFY) else "tcp",
            **({"ssl_context": login.context()} if login.tls in (Tls.REQUIRE, Tls.VERIFY) else {}),
            ssl_server_dn_match=login.tls is Tls.VERIFY,
            tcp_connect_timeout=login.connect_timeout,
            retry_count=0,
        )
        made.call_timeout = int(login.timeout * 1000)
        return made
