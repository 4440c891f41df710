"""What a data source of kind `sql` says: where to connect, and the one query that a bot gets the rows of.

    connection = "postgresql://app:{{ASSET.DB.PASSWORD}}@db.corp.example/orders"
    query = "SELECT id, amount FROM orders WHERE day >= :since"
    parameters = { since = "2026-01-01" }       # bound, never put into the text; tokens may stand here
    read_only = true
    row_limit = 100000                          # rows after which reading stops with an error; 0: no limit
    timeout = "5m"                              # from the question to the last row
    connect_timeout = "10s"
    tls = "verify"                              # off, prefer, require or verify; omitted: what the connection says
    tls_ca = "-----BEGIN CERTIFICATE-----…"     # whom to trust instead of the system's authorities
    system = "mysql"                            # of an ADO.NET string that is not for SQL Server
    batch_rows = 1000

Promises that the connection can be read, with every reference in a value, and that no password is written out in it.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StringConstraints,
    model_validator,
)

from runner.connections.parsed import ConnectionInvalid, System
from runner.connections.reading import read
from runner.durations import Duration
from vault.errors import InvalidToken

#: The longest statement in characters.
MAX_QUERY = 100_000


class Tls(StrEnum):
    """How a connection is protected on its way."""

    OFF = "off"
    PREFER = "prefer"
    REQUIRE = "require"
    VERIFY = "verify"


def _positive(value: timedelta) -> timedelta:
    if not timedelta(seconds=1) <= value <= timedelta(days=1):
        raise ValueError("must be between 1s and 1d")
    return value


Wait = Annotated[Duration, AfterValidator(_positive)]
Parameter = str | StrictInt | float | StrictBool | None
ParameterName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}\z")]


class SqlDefinition(BaseModel):
    """A complete definition; see the module's docstring. Durations are `timedelta`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    #: Fields whose braces mean nothing to Botkeep, and which may hold no token.
    LITERAL: ClassVar[frozenset[str]] = frozenset({"query"})

    connection: Annotated[str, StringConstraints(min_length=1, max_length=8000)]
    query: Annotated[str, StringConstraints(min_length=1, max_length=MAX_QUERY)]
    parameters: dict[ParameterName, Parameter] = {}
    read_only: StrictBool = True
    row_limit: StrictInt = Field(default=1_000_000, ge=0)
    timeout: Wait = timedelta(minutes=5)
    connect_timeout: Wait = timedelta(seconds=10)
    tls: Tls | None = None
    tls_ca: Annotated[str, StringConstraints(max_length=100_000)] | None = None
    system: System | None = None
    batch_rows: StrictInt = Field(default=1000, ge=1, le=10_000)

    @model_validator(mode="after")
    def _connection_can_be_read(self) -> Self:
        try:
            read(self.connection, system=self.system)
        except (ConnectionInvalid, InvalidToken) as error:
            raise ValueError(str(error)) from None
        return self
