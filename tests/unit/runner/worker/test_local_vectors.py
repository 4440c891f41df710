"""The formats of local values, computed from the words of docs/LOCAL-VALUES.md and from nothing of ours."""

import base64
import hashlib
import hmac
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from runner.worker.local import document, key, transfer
from runner.worker.local.errors import Damaged
from runner.worker.local.key import HostKey
from vault.errors import IdentityFileError
from vault.names import AssetName

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[3] / "vectors" / "local.json").read_text())
KEY = bytes.fromhex(VECTORS["key"]["value"])


def unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def derived(purpose: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=purpose).derive(KEY)


def argon2id(passphrase: str, salt: bytes) -> AESGCM:
    made = Argon2id(salt=salt, length=32, iterations=3, lanes=4, memory_cost=65536).derive(passphrase.encode())
    return AESGCM(made)


def test_the_id_of_a_key_is_a_digest() -> None:
    assert hashlib.sha256(b"botkeep local key v1\0" + KEY).hexdigest()[:32] == VECTORS["key"]["id"] == HostKey(KEY).id


def test_the_lines_of_a_key_are_as_specified() -> None:
    lines = VECTORS["key"]
    head, _, text = lines["file"].rpartition(".")
    assert (head, unpadded(text)) == (f"BOTKEEP-LOCAL-KEY-V1.file.{lines['id']}", KEY)
    label, _, sealed = lines["passphrase"].rpartition(".")
    *_, salt, nonce = label.split(".")
    opened = argon2id(lines["with"], unpadded(salt)).decrypt(unpadded(nonce), unpadded(sealed), label.encode())
    assert opened == KEY
    assert key.from_line(lines["file"]).text() == base64.urlsafe_b64encode(KEY).decode().rstrip("=")
    behind = key.from_protected_line(lines["passphrase"], lines["with"])
    assert behind is not None
    assert behind.id == lines["id"]
    assert key.from_protected_line(lines["passphrase"], lines["with"] + "!") is None
    assert key.kind_of(lines["keyring"]) == ("keyring", lines["id"])


@pytest.mark.parametrize("case", VECTORS["values"], ids=lambda case: str(case["asset"]))
def test_a_value_is_sealed_as_specified(case: dict[str, Any]) -> None:
    parts = [case["asset_id"], case["bot"], *case["asset"].split("."), case["environment"]]
    place = b"BOTKEEP-LOCAL\x01"
    for part in parts:
        place += len(part.encode()).to_bytes(2, "big") + part.encode()
    place += case["number"].to_bytes(8, "big")
    sealed = bytes.fromhex(case["sealed"])
    assert place.hex() == case["place"]
    opened = AESGCM(derived(b"botkeep local values v1")).decrypt(sealed[:12], sealed[12:], place)
    assert opened.hex() == case["value"]
    ours = document.place(
        uuid.UUID(case["asset_id"]),
        case["bot"],
        AssetName.parse(case["asset"]),
        environment=case["environment"],
        number=case["number"],
    )
    assert ours == place
    secret = HostKey(KEY).open(sealed, place=place)
    assert secret is not None
    assert secret.reveal() == opened


def test_the_file_is_proved_as_specified() -> None:
    stored = json.loads(VECTORS["document"])
    proof = unpadded(stored.pop("proof"))
    canonical = json.dumps(stored, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
    assert hmac.digest(derived(b"botkeep local document v1"), canonical, "sha256") == proof
    parsed = document.parse(VECTORS["document"].encode(), where="the vector")
    parsed.check(HostKey(KEY), where="the vector")
    opened = [one.open(HostKey(KEY)).reveal().hex() for one in parsed.held]
    assert opened == [case["value"] for case in VECTORS["values"]]
    assert [one.number for one in parsed.entries if one.sealed is None] == [7]


def test_an_export_is_sealed_as_specified(tmp_path: Path) -> None:
    export = json.loads(VECTORS["export"])
    sealed = unpadded(export.pop("sealed"))
    bound = json.dumps(export, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
    content = argon2id(VECTORS["export_with"], unpadded(export["salt"])).decrypt(
        unpadded(export["nonce"]), sealed, bound
    )
    assert [unpadded(one["value"]).hex() for one in json.loads(content)] == [one["value"] for one in VECTORS["values"]]
    path = tmp_path / "export.json"
    path.write_text(VECTORS["export"])
    carried = transfer.read(path, passphrase=VECTORS["export_with"])
    assert [one.secret.reveal().hex() for one in carried] == [one["value"] for one in VECTORS["values"]]


def test_every_changed_character_of_the_file_is_noticed() -> None:
    text = VECTORS["document"]
    noticed = 0
    for place in range(0, len(text), 7):
        changed = text[:place] + chr(ord(text[place]) ^ 1) + text[place + 1 :]
        if changed.split() == text.split():
            continue
        with pytest.raises(Damaged):
            document.parse(changed.encode(), where="the file").check(HostKey(KEY), where="the file")
        noticed += 1
    assert noticed > 100


@pytest.mark.parametrize("kept", [0, 1, 100, -2, -3])
def test_a_file_that_is_cut_short_is_noticed(kept: int) -> None:
    with pytest.raises(Damaged, match="cut short"):
        document.parse(VECTORS["document"].encode()[:kept], where="the file")


def test_a_damaged_key_line_is_refused() -> None:
    line = VECTORS["key"]["file"]
    with pytest.raises(IdentityFileError, match="damaged"):
        key.from_line(line[:-2] + ("AA" if not line.endswith("AA") else "BB"))
    assert key.kind_of(line + "x") is None


def test_a_key_shows_nothing_of_itself() -> None:
    made = HostKey(KEY)
    assert repr(made) == f"HostKey(id={made.id})"
    with pytest.raises(TypeError):
        made.__reduce_ex__(2)
    with pytest.raises(TypeError):
        made.__getstate__()
