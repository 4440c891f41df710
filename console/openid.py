"""OpenID Connect: signing in with the organisation's own provider (Core 1.0, code flow with PKCE, state and nonce).

Promises that an identity comes from the configured issuer only, over a code that this browser asked for, in a token
that is signed by the issuer's keys for this client, now, and for this one sign-in. Refuses symmetric and missing
signatures, redirects and whatever the provider's documents say of another issuer. What went wrong is in the log as a
kind; people read one sentence.
"""

from __future__ import annotations

import stat
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from authlib.oidc.discovery import OpenIDProviderMetadata, get_well_known_url
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from console.callers import read_role
from console.permissions import Role
from console.settings import ConsoleSettings
from runner.errors import Invalid
from runner.logging import logger

#: Signatures that are taken (RFC 7518): by the issuer's private key, never by something that both sides know.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")

#: Seconds that an answer of the provider may take, that its documents are kept, and that clocks may differ.
TIMEOUT, KEPT, LEEWAY = 10.0, 600.0, 60

_log = logger()


class Failed(Exception):
    """The provider cannot be asked, or what came back proves nothing; `kind` is for the log."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        super().__init__("Signing in with your organisation did not work. Try again; the console's log says more.")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the provider says it is; what an account may be made with."""

    issuer: str
    subject: str
    name: str
    email: str
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Creation:
    """For whom accounts are made, and with which role; with no role for nobody."""

    role: Role | None
    by_group: Mapping[str, Role]
    domains: Sequence[str]
    workspace: str

    def role_for(self, identity: Identity) -> Role | None:
        """The role of a new account; `None` where none is made."""
        if self.domains and identity.email.rpartition("@")[2].lower() not in self.domains:
            return None
        found = [self.by_group[group] for group in identity.groups if group in self.by_group]
        return max(found, key=list(Role).index) if found else self.role


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims that name a person and their groups."""

    name: str
    groups: str


class OpenId:
    """One provider; safe to share between threads. Its documents are read when they are first needed."""

    def __init__(
        self, issuer: str, *, client_id: str, credential: str, scopes: str, claims: Claims, creation: Creation
    ) -> None:
        self.issuer, self.creation = issuer, creation
        self._client_id, self._credential, self._scopes, self._claims = client_id, credential, scopes, claims
        self._lock = threading.Lock()
        self._metadata: tuple[float, Mapping[str, Any]] | None = None
        self._keys: KeySet | None = None

    def address(self, *, state: str, nonce: str, verifier: str, redirect_uri: str) -> str:
        """Where the browser asks for a code. Raises `Failed`."""
        return str(
            prepare_grant_uri(
                self._endpoint("authorization_endpoint"),
                client_id=self._client_id,
                response_type="code",
                redirect_uri=redirect_uri,
                scope=self._scopes,
                state=state,
                nonce=nonce,
                code_challenge=create_s256_code_challenge(verifier),
                code_challenge_method="S256",
            )
        )

    def identity(self, code: str, *, nonce: str, verifier: str, redirect_uri: str, now: datetime) -> Identity:
        """Who a code stands for. Raises `Failed`."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        answer = self._ask("POST", self._endpoint("token_endpoint"), **self._proven(form))
        token, access = answer.get("id_token"), answer.get("access_token")
        if not isinstance(token, str):
            raise Failed("no_id_token")
        claims = self._verified(token, nonce=nonce, access=access if isinstance(access, str) else "", now=now)
        groups = claims.get(self._claims.groups)
        verified = claims.get("email_verified") is True
        return Identity(
            self.issuer,
            str(claims["sub"])[:255],
            str(claims.get(self._claims.name) or ""),
            str(claims.get("email") or "") if verified else "",
            tuple(str(group) for group in groups) if isinstance(groups, list) else (),
        )

    def _verified(self, token: str, *, nonce: str, access: str, now: datetime) -> Mapping[str, Any]:
        try:
            found = self._opened(token)
            options = {
                "iss": {"essential": True, "value": self.issuer},
                "aud": {"essential": True, "value": self._client_id},
            }
            params = {"nonce": nonce, "client_id": self._client_id, "access_token": access}
            claims = CodeIDToken(found.claims, found.header, options, params)
            claims.validate(now=int(now.timestamp()), leeway=LEEWAY)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise Failed(type(error).__name__) from None
        if not isinstance(claims["sub"], str) or not claims["sub"]:
            raise Failed("no_subject")
        return found.claims

    def _opened(self, token: str) -> jwt.Token:
        """The token, its signature checked; the keys are read once more where none of them fits: they rotate."""
        try:
            return jwt.decode(token, self._key_set(anew=False), algorithms=ALGORITHMS)
        except (JoseError, ValueError):
            return jwt.decode(token, self._key_set(anew=True), algorithms=ALGORITHMS)

    def _key_set(self, *, anew: bool) -> KeySet:
        with self._lock:
            if self._keys is None or anew:
                self._keys = KeySet.import_key_set(self._ask("GET", self._endpoint("jwks_uri")))  # type: ignore[arg-type]
            return self._keys

    def _endpoint(self, name: str) -> str:
        found = self._discovered().get(name)
        ours = urlsplit(self.issuer)
        if not isinstance(found, str) or urlsplit(found).scheme not in {"https", ours.scheme}:
            raise Failed(f"no_{name}")
        return found

    def _discovered(self) -> Mapping[str, Any]:
        known = self._metadata
        if known is None or time.monotonic() - known[0] > KEPT:
            found = self._ask("GET", get_well_known_url(self.issuer, external=True))
            if OpenIDProviderMetadata(found).get("issuer") != self.issuer:
                raise Failed("other_issuer")
            known = self._metadata = (time.monotonic(), found)
        return known[1]

    def _proven(self, form: dict[str, str]) -> dict[str, Any]:
        """How the client proves itself (RFC 6749, section 2.3.1): by header where the provider takes that."""
        if not self._credential:
            return {"data": form | {"client_id": self._client_id}}
        taken = self._discovered().get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        if "client_secret_basic" in taken:
            return {"data": form, "auth": (quote(self._client_id, safe=""), quote(self._credential, safe=""))}
        return {"data": form | {"client_id": self._client_id, "client_secret": self._credential}}

    def _ask(self, method: str, address: str, **given: Any) -> dict[str, Any]:  # noqa: ANN401 - what httpx takes
        try:
            with httpx.Client(timeout=TIMEOUT, follow_redirects=False) as client:
                answer = client.request(method, address, headers={"Accept": "application/json"}, **given)
            content = answer.json() if answer.status_code == 200 else None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise Failed(type(error).__name__) from None
        if not isinstance(content, dict):
            raise Failed(f"status_{answer.status_code}")
        return content


def provider(settings: ConsoleSettings) -> OpenId | None:
    """The provider that the settings name, if they do.

    Raises:
        Invalid: when the credential's file cannot be used.
    """
    if not settings.oidc_issuer:
        return None
    creation = Creation(
        role=read_role(settings.oidc_role) if settings.oidc_role else None,
        by_group={group: read_role(role) for group, role in settings.oidc_groups.items()},
        domains=[domain.lower() for domain in settings.oidc_domains],
        workspace=settings.oidc_workspace,
    )
    return OpenId(
        settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        credential=_credential(settings.oidc_credential_file),
        scopes=settings.oidc_scopes,
        claims=Claims(settings.oidc_name_claim, settings.oidc_groups_claim),
        creation=creation,
    )


def _credential(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise Invalid(f"{path} can be read by other users; run: chmod 600 {path}")
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        raise Invalid(f"BOTKEEP_OIDC_CREDENTIAL_FILE: {path} cannot be read.") from None
