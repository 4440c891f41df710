"""What the console reads from its environment; no field can hold a private key."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

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
    hook_key_file: Path | None = Field(
        default=None,
        description="File (0600) with which the keys of webhooks and of one-time passwords are sealed, the same for "
        "every console; by default `console/hooks.key` in the home, made when it is first needed. Back it up.",
    )
    public_url: str = Field(
        default="",
        pattern=r"^(https?://[A-Za-z0-9.\[\]:-]+)?$",
        description="Scheme and host under which browsers reach the console, such as `https://botkeep.corp.example`; "
        "by default what each request says. Sign-in links and OpenID Connect need it behind a proxy.",
    )
    session_idle: int = Field(
        default=12 * 3600, ge=60, description="Seconds after which a browser that does nothing is signed out."
    )
    session_lasts: int = Field(
        default=7 * 86400, ge=60, description="Seconds after which a browser is signed out in any case."
    )
    oidc_issuer: str = Field(
        default="",
        pattern=r"^(https://\S+|http://(127\.0\.0\.1|localhost)(:\d+)?\S*)?$",
        description="OpenID Connect provider: its issuer, exactly as its discovery document says it.",
    )
    oidc_client_id: str = Field(default="", description="What the provider calls this installation.")
    oidc_credential_file: Path | None = Field(
        default=None,
        description="File (0600) with what the provider calls the client secret; none for a public client.",
    )
    oidc_scopes: str = Field(default="openid profile email", description="Scopes that are asked for.")
    oidc_name_claim: str = Field(
        default="preferred_username", description="Claim that names a person for whom an account is made."
    )
    oidc_role: Literal["", "viewer", "operator", "dev", "admin"] = Field(
        default="", description="Role of whoever signs in for the first time; empty: no account is made for them."
    )
    oidc_groups_claim: str = Field(default="groups", description="Claim with the groups of a person.")
    oidc_groups: dict[str, Literal["viewer", "operator", "dev", "admin"]] = Field(
        default={},
        description="Role by group of whoever signs in for the first time; the highest counts, before `oidc_role`.",
    )
    oidc_domains: tuple[str, ...] = Field(
        default=(), description="Accounts are made only for verified mail addresses of these domains; empty: any."
    )
    oidc_workspace: str = Field(default="default", description="Workspace in which these accounts are made.")
    shutdown_grace: int = Field(
        default=5, ge=0, description="Seconds that open requests get to end after the console was asked to stop."
    )

    @model_validator(mode="after")
    def _complete(self) -> ConsoleSettings:
        if self.oidc_issuer and not self.oidc_client_id:
            raise ValueError("an issuer needs BOTKEEP_OIDC_CLIENT_ID as well")
        return self

    def hook_keys(self) -> Path:
        """The file with which the keys of webhooks are sealed."""
        return self.hook_key_file or self.home / "console" / "hooks.key"
