"""Where data sources may connect to: the workspace's policy, and its verdict on one address; pure.

    allow = ["*.corp.example", "10.20.0.0/16", "db7"]   # names, patterns, addresses, networks; "*" is everything
    deny = ["10.20.30.0/24"]                            # goes before `allow`
    paths = ["/srv/data"]                               # folders for SQLite files and Unix sockets

A name is allowed by its own pattern or by its address's network; the address is judged in every case, and the
connection is made to that very address, so that a name which resolves differently a moment later changes nothing.
Refused unless `allow` holds a network that says so itself (`*` does not): what is link-local, which is where clouds
answer questions about credentials, and what no server has (unspecified, multicast, broadcast).
Refused in whatever wrapping: an IPv4 address inside an IPv6 one counts as itself.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from runner.errors import Invalid

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Addresses that no connection goes to by default. RFC 3927, RFC 4291; the single ones are where clouds serve
#: metadata outside of the link-local ranges (AWS over IPv6, Alibaba, Oracle, Azure's wire server).
REFUSED: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "169.254.0.0/16",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "100.100.100.200/32",
        "168.63.129.16/32",
        "192.0.0.192/32",
        "::/128",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
        "fd00:ec2::254/128",
        "fd20:ce::254/128",
    )
)

#: Prefixes of IPv6 addresses whose last four bytes are an IPv4 address (RFC 4291 2.5.5, RFC 6052).
_WRAPPED = tuple(ipaddress.IPv6Network(text) for text in ("::/96", "::ffff:0:0:0/96", "64:ff9b::/96"))

_PATTERN = re.compile(r"[a-z0-9*?_]([a-z0-9*?_.-]{0,252}[a-z0-9*?_])?\.?", re.ASCII)


def _place(text: str) -> str:
    """A pattern for hosts as it is compared: lower case, or a network in its usual spelling."""
    if (network := _network(text)) is not None:
        return str(network)
    lower = text.lower()
    if not _PATTERN.fullmatch(lower):
        raise ValueError(
            f"holds {text[:60]!a}, which is neither a host, a pattern such as *.corp.example nor a network"
        )
    return lower.removesuffix(".")


def _folder(text: str) -> str:
    path = PurePosixPath(text)
    if not path.is_absolute() or ".." in path.parts or "\0" in text or len(text) > 1000:
        raise ValueError(f"holds {text[:60]!a}; a folder is written from / on, without ..")
    return str(path)


Places = Annotated[tuple[Annotated[str, AfterValidator(_place)], ...], Field(max_length=1000)]
Folders = Annotated[tuple[Annotated[str, AfterValidator(_folder)], ...], Field(max_length=1000)]


class ConnectionPolicy(BaseModel):
    """A workspace's policy; see the module's docstring."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    allow: Places = ("*",)
    deny: Places = ()
    paths: Folders = ()


def read_policy(document: Mapping[str, Any]) -> ConnectionPolicy:
    """The policy in a document.

    Raises:
        Invalid: naming the field that makes no sense.
    """
    try:
        return ConnectionPolicy.model_validate(document)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(part) for part in problem["loc"][:1])
        known = field in ConnectionPolicy.model_fields
        rule = str(problem["msg"]).removeprefix("Value error, ") if known else "is not one of allow, deny and paths"
        raise Invalid(f"{field[:40]!r}: {rule}.") from None


def refusal(policy: ConnectionPolicy, host: str, address: str) -> str | None:
    """Why a connection to `host`, which resolved to `address`, may not be made; `None` where it may."""
    real = unwrapped(ipaddress.ip_address(address.partition("%")[0]))
    name = host.lower().removesuffix(".")
    if _holds(policy.deny, name, real):
        return f"the workspace's policy denies {host} ({real})"
    by_name = _holds(policy.allow, name, real)
    if any(real in network for network in REFUSED):
        spelled = any(real in network for network in _networks(policy.allow) if network.prefixlen)
        return None if spelled else f"{host} is {real}, a link-local, metadata or otherwise special address"
    return None if by_name else f"the workspace's policy does not allow {host} ({real})"


def path_refusal(policy: ConnectionPolicy, real: PurePosixPath) -> str | None:
    """Why a file may not be opened; `real` is its path without links."""
    if any(real != PurePosixPath(folder) and real.is_relative_to(folder) for folder in policy.paths):
        return None
    return f"the workspace's policy allows no file at {real}"


def unwrapped(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one where there is one, else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if any(address in prefix for prefix in _WRAPPED) and int(address) > 1:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _holds(places: Iterable[str], name: str, address: Address) -> bool:
    for place in places:
        network = _network(place)
        if (network is not None and address in network) or (network is None and fnmatchcase(name, place)):
            return True
    return False


def _networks(places: Iterable[str]) -> Iterable[Network]:
    return (network for place in places if (network := _network(place)) is not None)


def _network(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
