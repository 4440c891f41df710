"""A recipient can only wrap, and only for its own environment."""

import subprocess
import sys

import pytest

from vault.decrypt import Identity, open_envelope
from vault.encrypt import Recipient, encrypt
from vault.envelope import OVERHEAD, Context, Envelope
from vault.errors import InvalidName, InvalidRecipient

WORKSPACE = "0190a5c2-7b1e-7c3d-9a4f-5e6d7c8b9a01"
CONTEXT = Context(WORKSPACE, "-", "SAP", "PASSWORD", "prod", 1)


def test_a_recipient_has_no_way_to_open_anything() -> None:
    recipient = Identity.generate("prod").recipient
    public = {name for name in dir(recipient) if not name.startswith("_")}
    assert public == {"environment", "from_text", "id", "public_key", "to_text", "wrap"}


def test_importing_what_encrypts_imports_nothing_that_decrypts() -> None:
    check = (
        "import sys; sys.modules['vault.decrypt'] = None; import vault.encrypt, vault.names, vault.tokens; "
        "sys.exit(bool({'vault.identities', 'vault.reader', 'vault.sights'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


@pytest.mark.parametrize("size", [0, 1, 31, 4096, 1_000_000])
def test_an_envelope_is_longer_than_its_value_by_a_fixed_amount(size: int) -> None:
    data = encrypt(bytes(size), Identity.generate("prod").recipient, context=CONTEXT)
    assert len(data) == size + OVERHEAD == size + 1216


def test_the_same_value_encrypted_twice_shares_nothing_but_the_recipient() -> None:
    recipient = Identity.generate("prod").recipient
    one, two = (Envelope.from_bytes(encrypt(b"x", recipient, context=CONTEXT)) for _ in range(2))
    assert one.recipient_id == two.recipient_id == recipient.id
    assert one.wrapped_key != two.wrapped_key
    assert one.nonce != two.nonce
    assert one.ciphertext != two.ciphertext


def test_every_value_has_its_own_random_data_key() -> None:
    identity = Identity.generate("prod")
    envelopes = [Envelope.from_bytes(encrypt(b"x", identity.recipient, context=CONTEXT)) for _ in range(3)]
    data_keys = {identity.unwrap(envelope.wrapped_key, context=CONTEXT) for envelope in envelopes}
    assert len(data_keys) == 3
    assert {len(data_key) for data_key in data_keys} == {32}


def test_a_public_key_has_one_spelling() -> None:
    text = Identity.generate("prod").recipient.to_text()
    assert text[-1] in "AQgw"  # the last character carries two bits, and four that must be zero
    with pytest.raises(InvalidRecipient):
        Recipient.from_text(text[:-1] + chr(ord(text[-1]) + 1))
    with pytest.raises(InvalidRecipient):
        Recipient.from_text(text + "==")


def test_a_value_is_never_encrypted_for_another_environment() -> None:
    dev = Identity.generate("dev").recipient
    with pytest.raises(InvalidRecipient, match="use the public key of prod"):
        encrypt(b"x", dev, context=CONTEXT)


def test_a_key_relabelled_for_another_environment_is_another_recipient() -> None:
    dev = Identity.generate("dev").recipient
    assert Recipient("prod", dev.public_key).id != dev.id
    with pytest.raises(InvalidRecipient, match="damaged"):
        Recipient.from_text(dev.to_text().replace(".dev.", ".prod."))


def test_a_public_key_with_any_character_changed_is_refused() -> None:
    text = Identity.generate("prod").recipient.to_text()
    start = text.rindex(".") + 1
    for position in (start, start + 1, start + 800, len(text) - 2, len(text) - 1):
        for other in "Ab":
            changed = text[:position] + other + text[position + 1 :]
            if changed != text:
                with pytest.raises(InvalidRecipient):
                    Recipient.from_text(changed)


@pytest.mark.parametrize("text", ["", "x", "BOTKEEP-RECIPIENT-V1.prod", "BOTKEEP-RECIPIENT-V1.prod.00.AA"])
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidRecipient, match="copy the whole line"):
        Recipient.from_text(text)


def test_a_private_key_is_not_taken_for_a_public_one_and_is_not_repeated() -> None:
    text = Identity.generate("prod").to_text()
    with pytest.raises(InvalidRecipient) as caught:
        Recipient.from_text(text)
    assert text[60:] not in str(caught.value)


def test_a_recipient_of_an_unknown_environment_is_refused() -> None:
    with pytest.raises(InvalidName, match="dev, staging, prod"):
        Recipient("test", Identity.generate("prod").recipient.public_key)


@pytest.mark.parametrize("point", [bytes(32), b"\x01" + bytes(31)])
def test_a_public_key_of_small_order_is_refused_before_it_is_used(point: bytes) -> None:
    public_key = Identity.generate("prod").recipient.public_key
    with pytest.raises(InvalidRecipient):
        Recipient("prod", public_key[:1184] + point)


@pytest.mark.parametrize("public_key", [b"", bytes(1215), bytes(1217), b"\xff" * 1216])
def test_a_public_key_of_the_wrong_shape_is_refused(public_key: bytes) -> None:
    with pytest.raises(InvalidRecipient, match="copy the whole key"):
        Recipient("prod", public_key)


def test_a_recipient_read_from_text_encrypts_for_the_same_identity() -> None:
    identity = Identity.generate("prod")
    data = encrypt(b"x", Recipient.from_text(identity.recipient.to_text()), context=CONTEXT)
    opened = open_envelope(data, {"prod": {identity.id: identity}}, context=CONTEXT)
    assert opened.reveal() == b"x"
