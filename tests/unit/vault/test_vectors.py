"""The committed vectors: the format as it was written down, which no change of the code may move."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from vault import errors
from vault.decrypt import DataKeys, Identities, Identity, open_envelope
from vault.encrypt import Recipient
from vault.envelope import Context, Envelope
from vault.identities import read_identities

VECTORS = Path(__file__).parents[2] / "vectors"


def cases(name: str) -> list[Any]:
    loaded = json.loads((VECTORS / name).read_text())["cases"]
    return [pytest.param(case, id=case["case"]) for case in loaded]


def identity(name: str) -> Identity:
    keys = json.loads((VECTORS / "keys.json").read_text())["cases"]
    return next(Identity.from_text(key["identity"]) for key in keys if key["case"] == name)


def holding(*names: str) -> Identities:
    held: dict[str, dict[bytes, Identity]] = {}
    for key in map(identity, names):
        held.setdefault(key.environment, {})[key.id] = key
    return held


@pytest.mark.parametrize("case", cases("contexts.json"))
def test_a_context_is_encoded_as_specified(case: dict[str, Any]) -> None:
    assert Context(**case["context"]).encode().hex() == case["hex"]


@pytest.mark.parametrize("case", cases("keys.json"))
def test_a_key_keeps_its_text_its_public_half_and_its_id(case: dict[str, Any]) -> None:
    key = Identity.from_text(case["identity"])
    assert (key.environment, key.id.hex()) == (case["environment"], case["id"])
    assert key.to_text() == case["identity"]
    assert key.recipient.to_text() == case["recipient"]
    assert Recipient.from_text(case["recipient"]) == key.recipient


@pytest.mark.parametrize("case", cases("envelopes.json"))
def test_an_envelope_opens(case: dict[str, Any]) -> None:
    data = base64.b64decode(case["envelope"])
    opened = open_envelope(data, holding(case["key"]), context=Context(**case["context"]))
    assert opened.reveal() == base64.b64decode(case["plaintext"])
    assert Envelope.from_bytes(data).to_bytes() == data


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("case", cases("refusals.json"))
def test_an_envelope_that_must_not_open_fails_with_its_error(case: dict[str, Any], *, warm: bool) -> None:
    keys = DataKeys()
    if warm:  # with the key of the untouched envelope in the cache
        genuine = json.loads((VECTORS / "envelopes.json").read_text())["cases"][0]
        data, context = base64.b64decode(genuine["envelope"]), Context(**genuine["context"])
        open_envelope(data, holding(genuine["key"]), context=context, keys=keys)
    with pytest.raises(errors.DecryptError) as caught:
        open_envelope(
            base64.b64decode(case["envelope"]),
            holding(*case["keys"]),
            context=Context(**case["context"]),
            keys=keys,
        )
    assert type(caught.value).__name__ == case["error"]
    assert len(keys) == int(warm)


@pytest.mark.parametrize("case", cases("keyfiles.json"))
def test_a_key_file_is_read(case: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "prod.key"
    path.write_text(case["content"])
    path.chmod(0o600)
    held = read_identities(path, "prod", passphrase=lambda _environment: str(case["passphrase"]))
    assert [key.hex() for key in held] == case["ids"]
