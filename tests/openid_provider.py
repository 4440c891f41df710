"""A real OpenID provider for tests: `python -m tests.openid_provider` serves one on a free port and prints its issuer.

Discovery, keys, the code flow with PKCE, and signed ID tokens. It knows one client and signs in whom `/control` names.
The same address chooses a fault: what a hostile or broken provider, or somebody between, would send.
"""

import asyncio
import base64
import json
import secrets
import socket
import sys
import time
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

import uvicorn
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.jwk import KeySet, OctKey, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import Route

CLIENT, CREDENTIAL = "botkeep", "a credential: with / and %"

#: Claims that are wrong, or left out.
FAULTS: dict[str, dict[str, object]] = {
    "nonce": {"nonce": "another"},
    "no nonce": {"nonce": None},
    "audience": {"aud": "somebody-else"},
    "party": {"aud": [CLIENT, "somebody-else"], "azp": "somebody-else"},
    "issuer": {"iss": "https://other.example"},
    "subject": {"sub": ""},
}


class Provider:
    """The provider's state: its keys, the codes it gave out, and how it is to misbehave."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.key = self.new_key("first")
        self.codes: dict[str, dict[str, str]] = {}
        self.person: dict[str, Any] = {"sub": "u-1", "preferred_username": "anna"}
        self.fault = ""

    @staticmethod
    def new_key(name: str) -> RSAKey:
        return RSAKey.generate_key(2048, {"kid": name, "use": "sig", "alg": "RS256"})

    async def control(self, request: Request) -> JSONResponse:
        given = await request.json()
        self.fault = given.get("fault", "")
        self.person = given.get("person", self.person)
        if given.get("rotate"):
            self.key = self.new_key(str(given["rotate"]))
        return JSONResponse({})

    async def discovery(self, _request: Request) -> JSONResponse:
        return JSONResponse(
            {
                "issuer": self.issuer if self.fault != "discovery" else "https://other.example",
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            }
        )

    async def keys(self, _request: Request) -> JSONResponse:
        return JSONResponse(KeySet([self.key]).as_dict(private=False))

    async def authorize(self, request: Request) -> RedirectResponse:
        asked = dict(request.query_params)
        assert asked["client_id"] == CLIENT
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe()
        self.codes[code] = asked
        back = {"code": code, "state": asked["state"], "iss": self.issuer}
        if self.fault == "answer":
            back["iss"] = "https://other.example"
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(back)}", status_code=302)

    async def token(self, request: Request) -> JSONResponse:
        form = dict(parse_qsl((await request.body()).decode()))
        asked = self.codes.pop(form.get("code", ""), None)
        basic = base64.b64decode(request.headers.get("authorization", "").removeprefix("Basic ")).decode()
        name, _, credential = basic.partition(":")
        if (
            asked is None
            or (unquote(name), unquote(credential)) != (CLIENT, CREDENTIAL)
            or form.get("redirect_uri") != asked["redirect_uri"]
            or create_s256_code_challenge(form.get("code_verifier", "")) != asked["code_challenge"]
        ):
            return JSONResponse({"error": "invalid_grant"}, status_code=400)
        return JSONResponse({"access_token": "x", "token_type": "Bearer", "id_token": self.id_token(asked["nonce"])})

    def id_token(self, nonce: str) -> str:
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": nonce, **self.person}
        claims = {name: value for name, value in (claims | FAULTS.get(self.fault, {})).items() if value is not None}
        if self.fault == "expired":
            claims |= {"iat": now - 4000, "exp": now - 3600}
        if self.fault == "unsigned":
            parts = [json.dumps(part).encode() for part in ({"alg": "none"}, claims)]
            return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + "."
        if self.fault == "symmetric":
            return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(CREDENTIAL))
        key = self.new_key(self.key.kid or "") if self.fault == "key" else self.key
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, key)


def main() -> None:
    """Serve until the process is ended."""
    listener = socket.create_server(("127.0.0.1", 0))
    provider = Provider(f"http://127.0.0.1:{listener.getsockname()[1]}")
    app = Starlette(
        routes=[
            Route("/.well-known/openid-configuration", provider.discovery),
            Route("/keys", provider.keys),
            Route("/authorize", provider.authorize),
            Route("/token", provider.token, methods=["POST"]),
            Route("/control", provider.control, methods=["POST"]),
        ]
    )
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    sys.stdout.write(f"{provider.issuer}\n")
    sys.stdout.flush()
    asyncio.run(server.serve(sockets=[listener]))


if __name__ == "__main__":
    main()
