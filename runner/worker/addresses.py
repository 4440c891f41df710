"""From a host's name to the addresses that a data source may connect to.

Promises that every address was judged by the workspace's policy, and that the caller is given addresses, not a name:
whoever connects to one of them connects to what was judged, whatever the name resolves to a moment later.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass

from runner.connection_policy import ConnectionPolicy, refusal
from runner.worker.failures import SourceFailed, Step

#: Longest name of a host (RFC 1035, 2.3.4).
_LONGEST_NAME = 253


@dataclass(frozen=True, slots=True)
class Place:
    """One address of a host, judged and allowed; `host` is the name that a certificate is checked against."""

    host: str
    address: str
    port: int


#: As `socket.getaddrinfo`, of which only the host and the port are given.
Resolve = Callable[[str, int], list[str]]


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host in the system's order. Raises OSError or UnicodeError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


def places(
    host: str, port: int, policy: ConnectionPolicy, *, field: str = "host", resolve: Resolve = resolve
) -> list[Place]:
    """The allowed addresses of a host, at least one; `field` is what the definition calls it.

    Raises:
        SourceFailed: for a host that does not resolve, or none of whose addresses is allowed.
    """
    if not 0 < len(host) <= _LONGEST_NAME or not 0 < port < 65536 or "\0" in host:
        raise SourceFailed(Step.RESOLVED, "the host or its port is not written as one", field=field)
    try:
        found = resolve(host, port)
    except (OSError, UnicodeError):
        raise SourceFailed(Step.RESOLVED, f"the name {host} cannot be resolved", field=field) from None
    refusals = [(address, refusal(policy, host, address)) for address in found]
    allowed = [Place(host, address, port) for address, why in refusals if why is None]
    if not allowed:
        why = next((why for _, why in refusals if why), f"the name {host} has no address")
        raise SourceFailed(Step.RESOLVED, why, field=field)
    return allowed
