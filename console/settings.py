"""What the console reads from its environment; no field can hold a private key."""

from __future__ import annotations

from pydantic import Field

from runner.settings import StoreSettings


class ConsoleSettings(StoreSettings):
    """The console: where it listens, and whose word about a client's address it takes."""

    console_host: str = Field(
        default="127.0.0.1",
        description="Address to listen on; put a reverse proxy with TLS before any other than loopback.",
    )
    console_port: int = Field(default=8400, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    trusted_proxies: tuple[str, ...] = Field(
        default=(),
        description="Addresses or networks of reverse proxies whose `X-Forwarded-For` is believed.",
    )
    shutdown_grace: int = Field(
        default=5, ge=0, description="Seconds that open requests get to end after the console was asked to stop."
    )
