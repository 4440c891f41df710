"""The keys of connection strings: which of them mean the same, and which are taken at all; pure.

Keys compare without case, blanks and underscores, so `User ID`, `user_id` and `UserId` are one key. Two spellings of
one key in a connection are a key given twice: a later one would silently win over the one that somebody reviewed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from runner.connections.parsed import ConnectionInvalid
from vault.names import shown

#: Parts that every dialect has, and what they are called.
PARTS: Mapping[str, frozenset[str]] = {
    "host": frozenset({"host", "hostname", "server", "servername", "datasource", "address", "addr", "networkaddress"}),
    "port": frozenset({"port", "portnumber"}),
    "user": frozenset({"user", "userid", "uid", "username"}),
    "password": frozenset({"password", "pwd", "userpassword"}),
    "database": frozenset({"database", "dbname", "databasename", "initialcatalog", "db"}),
}

#: What is taken besides, under one name: a few that change how a server is reached, and those that change nothing.
OPTIONS: Mapping[str, frozenset[str]] = {
    "sslmode": frozenset({"sslmode"}),
    "encrypt": frozenset({"encrypt", "ssl", "usessl", "encryption"}),
    "trustservercertificate": frozenset({"trustservercertificate", "trustcertificate"}),
    "application_name": frozenset({"applicationname", "app", "programname"}),
    "connect_timeout": frozenset({"connecttimeout", "connectiontimeout", "timeout", "logintimeout"}),
    "charset": frozenset({"charset", "characterset", "clientcharset"}),
    "options": frozenset({"options"}),
    "search_path": frozenset({"searchpath", "currentschema"}),
    "driver": frozenset({"driver"}),
    "service": frozenset({"servicename"}),
    "sid": frozenset({"sid"}),
    "instance": frozenset({"instancename", "instance"}),
    "applicationintent": frozenset({"applicationintent"}),
    "target_session_attrs": frozenset({"targetsessionattrs"}),
}

#: Settings of a pool or of a client library that a runner's single connection has no use for.
IDLE = frozenset(
    {
        "pooling",
        "minpoolsize",
        "maxpoolsize",
        "persistsecurityinfo",
        "multipleactiveresultsets",
        "mars",
        "connectionlifetime",
        "connectionreset",
        "enlist",
        "packetsize",
        "workstationid",
        "allowpublickeyretrieval",
        "servertimezone",
        "loginpacket",
        "kerberos",
    }
)

#: Keys that would take the connection, or its credentials, from somewhere that nobody can see here.
REFUSED: Mapping[str, str] = {
    "dsn": "it hides the host in a file of the runner; write the connection itself",
    "filedsn": "it hides the host in a file of the runner; write the connection itself",
    "savefile": "it would write the password into a file",
    "service": "it hides the host in a file of the runner; write the connection itself",
    "servicefile": "it hides the host in a file of the runner; write the connection itself",
    "passfile": "it takes the password from a file of the runner; write {{ASSET.GROUP.NAME}}",
    "hostaddr": "the runner resolves the host itself; write host",
    "failoverpartner": "another host cannot be reached by this name; write it as a second host",
    "integratedsecurity": "the runner has no identity there; write a user and a password",
    "trustedconnection": "the runner has no identity there; write a user and a password",
    "authentication": "the runner has no identity there; write a user and a password",
    "sslrootcert": "files of the runner are not read; give the certificate as `tls_ca` of the definition",
    "sslcert": "files of the runner are not read",
    "sslkey": "files of the runner are not read",
    "sslca": "files of the runner are not read; give the certificate as `tls_ca` of the definition",
    "odbcconnect": "write the ODBC string itself as the connection",
    "unixsocket": "write the folder of the socket as the host",
}

_KNOWN = {spelling: name for table in (PARTS, OPTIONS) for name, spellings in table.items() for spelling in spellings}
_OFF = frozenset({"false", "no", "0", "off", ""})


def plain(key: str) -> str:
    """A key as it is compared."""
    return "".join(letter for letter in key.lower() if letter not in " _-\t")


def sorted_out(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Parts and options by their one name, in the order given.

    Raises:
        ConnectionInvalid: for a key that is given twice, unknown, or not taken.
    """
    found: dict[str, str] = {}
    for key, text in pairs:
        compared = plain(key)
        if compared in IDLE:
            continue
        if compared in REFUSED and not (compared.endswith(("security", "connection")) and text.lower() in _OFF):
            raise ConnectionInvalid(f"The connection holds the key {shown(key)}: {REFUSED[compared]}.")
        if compared in REFUSED:
            continue
        name = _KNOWN.get(compared)
        if name is None:
            near = difflib.get_close_matches(compared, _KNOWN, 1)
            hint = f"did you mean {near[0]}?" if near else "it is not taken here."
            raise ConnectionInvalid(f"The connection holds the key {shown(key)}; {hint}")
        if name in found:
            raise ConnectionInvalid(f"The connection gives {name} twice (the second time as {shown(key)}): remove one.")
        found[name] = text
    return found
