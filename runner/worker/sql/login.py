"""Everything that a driver needs to connect once: filled parts, judged addresses, time limits, and how TLS is meant.

Promises that a driver is told an address, never a name to resolve, and that every way of writing the connection with
its values in is known to the masker before a driver sees any of it.
"""

from __future__ import annotations

import importlib
import socket
import ssl
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from types import ModuleType

from runner.connection_policy import path_refusal
from runner.connections import reading
from runner.connections.parsed import PORTS, Connection, Dialect, System, Unwritable, check_filled
from runner.sql_definition import SqlDefinition, Tls
from runner.worker.addresses import Place, places
from runner.worker.failures import SourceFailed, Step
from runner.worker.filling import Values
from runner.worker.questions import Context

#: The extra of `pip install botkeep[…]` that brings a driver.
EXTRAS = {"pymysql": "mysql", "pymssql": "mssql", "pyodbc": "odbc", "oracledb": "oracle"}

#: What connections say about TLS, in the words of libpq, MySQL and ADO.NET.
_SAYINGS = {
    **dict.fromkeys(("disable", "disabled", "none", "false", "no", "0", "optional"), Tls.OFF),
    **dict.fromkeys(("allow", "prefer", "preferred"), Tls.PREFER),
    **dict.fromkeys(("require", "required", "true", "yes", "1", "mandatory", "strict"), Tls.REQUIRE),
    **dict.fromkeys(("verify-ca", "verify-full", "verifyca", "verifyfull", "verify_ca", "verify_identity"), Tls.VERIFY),
}


@dataclass(frozen=True, slots=True)
class Login:
    """What a driver is given. `connection` is filled; `places` are in the order to be tried, empty for a file."""

    connection: Connection = field(repr=False)
    places: tuple[Place, ...]
    tls: Tls
    tls_ca: str | None
    connect_timeout: float
    timeout: float
    values: Values = field(repr=False)

    def fault(self, step: Step, text: str, *, name: str = "", retriable: bool = False) -> SourceFailed:
        """A failure in a driver's words, as far as they hold no value."""
        words = " ".join(self.values.safe(text).split())[:400] or "the driver's words held a value and are left out"
        return SourceFailed(step, words, field=f"connection: {name}" if name else "connection", retriable=retriable)

    def context(self) -> ssl.SSLContext:
        """The TLS that is asked for. Raises `SourceFailed` for a `tls_ca` that is none."""
        try:
            made = ssl.create_default_context(cadata=self.tls_ca)
        except (ssl.SSLError, ValueError):
            raise SourceFailed(Step.FILLED, "it is no certificate in PEM", field="tls_ca") from None
        if self.tls is not Tls.VERIFY:
            made.check_hostname = False
            made.verify_mode = ssl.CERT_NONE
        return made


def login(source: SqlDefinition, values: Values, context: Context) -> Login:
    """Fill a connection in, judge where it leads, and make the masker know how it is written.

    Raises:
        SourceFailed: naming the field at fault.
    """
    template = reading.read(source.connection, system=source.system)
    filled = template.filled(lambda name, text: values.fill(text, field=f"connection: {name}"))
    try:
        check_filled(filled)
    except Unwritable as error:
        raise SourceFailed(Step.FILLED, error.why, field=f"connection: {error.part}") from None
    _mask(filled, values)
    ca = None if source.tls_ca is None else values.fill(source.tls_ca, field="tls_ca")
    return Login(
        connection=filled,
        places=_places(filled, context),
        tls=source.tls or said(filled),
        tls_ca=ca,
        connect_timeout=source.connect_timeout.total_seconds(),
        timeout=source.timeout.total_seconds(),
        values=values,
    )


def said(connection: Connection) -> Tls:
    """What a connection says about TLS by itself."""
    word = (connection.option("sslmode", "encrypt") or "").lower()
    mode = _SAYINGS.get(word, Tls.PREFER)
    trusted = (connection.option("trustservercertificate") or "").lower() in {"true", "yes", "1"}
    verified = connection.option("encrypt") is not None and connection.system is System.SQLSERVER and not trusted
    return Tls.VERIFY if mode is Tls.REQUIRE and verified else mode


def reach(place: Place, timeout: float) -> socket.socket:
    """A connected socket to an address that was judged. Raises `SourceFailed`."""
    try:
        return socket.create_connection((place.address, place.port), timeout=timeout)
    except OSError as error:
        words = error.strerror or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)
        raise SourceFailed(
            Step.REACHABLE,
            f"{place.host} ({place.address}) port {place.port}: {words}",
            field="connection: host",
            retriable=True,
        ) from None


def driver(name: str) -> ModuleType:
    """A driver's module. Raises `SourceFailed` naming the extra that brings it."""
    return optional(name, extra=EXTRAS[name.partition(".")[0]])


def optional(name: str, *, extra: str) -> ModuleType:
    """A module that only some runners have. Raises `SourceFailed` naming the extra that brings it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        # A driver may be there and its system library not.
        missing = "" if isinstance(error, ModuleNotFoundError) else f" ({' '.join(str(error).split())[:120]})"
        raise SourceFailed(
            Step.REACHABLE,
            f"this runner has no {name}{missing}; install it there: pip install 'botkeep[{extra}]'",
            field="connection",
        ) from None


def written(connection: Connection) -> dict[Dialect, str]:
    """A filled connection in every dialect that can carry it."""
    found: dict[Dialect, str] = {}
    for dialect, write in reading.WRITERS.items():
        try:
            found[dialect] = write(replace(connection, dialect=dialect))
        except (Unwritable, KeyError, ValueError):
            continue
    return found


def _mask(connection: Connection, values: Values) -> None:
    """Every part that a value is in, in the quoting of each dialect: each piece of a written connection with it."""
    if connection.password:
        values.mask("password", connection.password)
        alone = Connection(Dialect.URL, "x", connection.system, hosts=(("h", ""),), password=connection.password)
        without = replace(alone, password="")
        for dialect, text in written(alone).items():
            piece = _difference(text, reading.WRITERS[dialect](replace(without, dialect=dialect)))
            if len(piece) >= len(connection.password):
                values.mask("password", piece)


def _difference(longer: str, shorter: str) -> str:
    """What is inserted into one text to get the other."""
    start = next((place for place, (one, other) in enumerate(zip(longer, shorter)) if one != other), len(shorter))  # noqa: B905
    tail = len(shorter) - start
    return longer[start : len(longer) - tail] if tail else longer[start:]


def _places(connection: Connection, context: Context) -> tuple[Place, ...]:
    found: list[Place] = []
    for host, port in connection.hosts:
        if host.startswith("/"):
            _check_path(Path(host) / "socket", context, name="host")
            found.append(Place(host, host, int(port or PORTS[connection.system])))
        else:
            number = int(port or PORTS[connection.system])
            found += places(host, number, context.policy, field="connection: host")
    if connection.system is System.SQLITE:
        _check_path(Path(connection.database or "/"), context, name="database")
    return tuple(found)


def _check_path(path: Path, context: Context, *, name: str) -> None:
    why = path_refusal(context.policy, PurePosixPath(path.resolve()))
    if why is not None:
        hint = "an admin opens its folder with: botkeep workspace connections paths=FOLDER"
        raise SourceFailed(Step.RESOLVED, f"{why}; {hint}", field=f"connection: {name}")
