"""Roboto's dialect: what the `roboto` package asks of its service and of the store behind it.

    GET    /compat/roboto/v1/secrets                    the assets of GLOBAL that have a value, never with it
    POST   /compat/roboto/v1/secrets                    announce a new one
    GET    /compat/roboto/v1/secrets/name/NAME          its record
    GET    /compat/roboto/v1/secrets/name/NAME/creds    a pass for this one value, good for minutes
    DELETE /compat/roboto/v1/secrets/name/NAME          leave it without a value in this environment
    POST   /compat/aws/                                 GetSecretValue, PutSecretValue, with that pass

A name is `GLOBAL.NAME` with hyphens and dots read as underscores: `my-api-key` is `GLOBAL.MY_API_KEY`. The organisation
is the workspace. Refuses every other organisation, every other route of the service, and names that climb.
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime

from runner.errors import Conflict, Invalid, NotFound
from runner.worker import shapes
from runner.worker.grant import Call, Denied, NotSeen, Said
from runner.worker.refusals import Refusals
from runner.worker.visible import Visible
from runner.workspaces import DEFAULT
from vault.errors import InvalidName
from vault.names import AssetName, shown
from vault.tokens import roboto_name

#: Region that our credentials name: one that botocore takes, and no region of anybody.
REGION = "local"

_AMAZON = "application/x-amz-json-1.1"


class Roboto:
    """The dialect for one attempt."""

    def __init__(self, visible: Visible, refusals: Refusals) -> None:
        self._visible, self._refusals = visible, refusals
        #: Names that were created here and have no value yet: the client makes a record first.
        self._announced: dict[AssetName, str] = {}

    def answer(self, call: Call) -> Said:
        """What the service, or its store, answers."""
        if call.passed:
            return self._store(call)
        self._check_organisation(call)
        match (call.method, *call.path):
            case ("GET", "v1", "secrets"):
                records = [self._record(name) for name in self._visible.filled() if name.group == "GLOBAL"]
                return Said.json({"data": {"items": records, "next_token": None}})
            case ("POST", "v1", "secrets"):
                return self._announce(call)
            case ("GET", "v1", "secrets", "name", name):
                return Said.json({"data": self._record(self._known(name), name)})
            case ("GET", "v1", "secrets", "name", name, "creds"):
                return self._credentials(call, self._known(name), name)
            case ("DELETE", "v1", "secrets", "name", name):
                self._visible.write(self._known(name), None)
                return Said(204)
            case _:
                self._refusals.note(f"roboto: {call.method} /{'/'.join(call.path)}")
                raise NotFound("Botkeep answers Roboto's secrets only; there is no such address here.")

    def _check_organisation(self, call: Call) -> None:
        for header in ("X-Roboto-Resource-Owner-Id", "X-Roboto-Org-Id"):
            named = call.headers.get(header)
            if named is not None and named != DEFAULT:
                self._refusals.note(f"workspace {shown(named)}")
                raise Denied(f"This job belongs to the workspace {DEFAULT} and sees nothing of another.")

    def _announce(self, call: Call) -> Said:
        text = _object(call.body).get("name")
        if not isinstance(text, str):
            raise Invalid("name: it must be text.")
        name = _asset(text)
        self._visible.check_writable(name, written=text)
        if name in self._visible.filled():
            raise Conflict(f"{name} has a value already; update it instead.")
        self._announced[name] = text
        return Said.json({"data": self._record(name, text)})

    def _known(self, text: str) -> AssetName:
        """The asset of a name, seen and with a value, or announced."""
        name = _asset(text)
        if name in self._announced:
            return name
        self._visible.require(name, written=text)
        if name not in self._visible.filled():
            raise NotSeen(f"{name} has no value in this environment.")
        return name

    def _record(self, name: AssetName, text: str | None = None) -> dict[str, object]:
        if name in self._announced and name not in self._visible.names():
            now = datetime.now(UTC).isoformat()
            about = {"created": now, "created_by": "job", "modified": now, "modified_by": "job"}
        else:
            about = self._visible.about(name)
        return {
            "name": text or name.name,
            "org_id": DEFAULT,
            "store_type": "aws",
            "location": {"store_type": "aws", "arn": _arn(name)},
            "last_used": None,
            **about,
        }

    def _credentials(self, call: Call, name: AssetName, text: str) -> Said:
        creds = {
            "store_type": "aws",
            "access_key_id": "botkeep",
            "secret_access_key": "not-used",
            "session_token": call.issue(str(name)),
            "region": REGION,
        }
        return Said.json({"data": {"record": self._record(name, text), "creds": creds}})

    def _store(self, call: Call) -> Said:
        body, name = _object(call.body), AssetName.parse(call.passed)
        if body.get("SecretId") != _arn(name):
            self._refusals.note(f"another value than {name}, of which the credentials are")
            raise Denied("These credentials are for another value.")
        match call.headers.get("X-Amz-Target", "").rpartition(".")[2]:
            case "GetSecretValue":
                return self._value(name)
            case "PutSecretValue":
                return self._put(name, body)
            case other:
                return shapes.refusal("aws", 400, f"The store does not know {shown(other)}.")

    def _value(self, name: AssetName) -> Said:
        secret = self._visible.read(name)
        if secret is None:
            raise NotSeen(f"{name} has no value in this environment.")
        return Said.json(
            {
                "ARN": _arn(name),
                "Name": name.name,
                "VersionId": str(uuid.uuid4()),
                "SecretString": secret.text(),
                "VersionStages": ["AWSCURRENT"],
                "CreatedDate": datetime.now(UTC).timestamp(),
            },
            kind=_AMAZON,
        )

    def _put(self, name: AssetName, body: dict[str, object]) -> Said:
        value = body.get("SecretString")
        if not isinstance(value, str):
            raise Invalid("SecretString: it must be text.")
        self._visible.write(name, value.encode())
        self._announced.pop(name, None)
        version = {"VersionId": str(uuid.uuid4()), "VersionStages": ["AWSCURRENT"]}
        return Said.json({"ARN": _arn(name), "Name": name.name, **version}, kind=_AMAZON)


def _asset(text: str) -> AssetName:
    name = roboto_name(text)
    if name is None:
        raise NotSeen(f"{shown(text)} names nothing: write letters, digits, hyphens, dots and underscores.")
    return name


def _arn(name: AssetName) -> str:
    return f"arn:botkeep:secretsmanager:{REGION}:{DEFAULT}:secret:{name}"


def _object(body: bytes) -> dict[str, object]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidName("The request is no JSON object.")
    return found
