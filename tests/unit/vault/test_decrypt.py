"""An identity opens what belongs to it, a rotation re-wraps keys only, and nothing shows a plaintext."""

import copy
import json
import logging
import pickle
import traceback
from typing import Any

import pytest

from vault.decrypt import DataKeys, Identity, Sealed, Secret, open_all, open_envelope, rewrap
from vault.encrypt import encrypt
from vault.envelope import Context, Envelope
from vault.errors import (
    IdentityFileError,
    InvalidRecipient,
    InvalidValue,
    TamperedEnvelope,
    WrongIdentity,
)

WORKSPACE = "0190a5c2-7b1e-7c3d-9a4f-5e6d7c8b9a01"
CONTEXT = Context(WORKSPACE, "-", "SAP", "PASSWORD", "prod", 1)
CANARY = b"canary-7e57-value"


def holding(*identities: Identity) -> dict[str, dict[bytes, Identity]]:
    held: dict[str, dict[bytes, Identity]] = {}
    for identity in identities:
        held.setdefault(identity.environment, {})[identity.id] = identity
    return held


@pytest.mark.parametrize(
    "show",
    [
        pytest.param(repr, id="repr"),
        pytest.param(str, id="str"),
        pytest.param("{}".format, id="format"),
        pytest.param("{:>40}".format, id="format with a width"),
        pytest.param("%s".__mod__, id="percent"),
        pytest.param(lambda it: f"{[it]} { ({'k': it}) }", id="inside containers"),
    ],
)
def test_a_plaintext_shows_itself_as_three_stars(show: Any) -> None:  # noqa: ANN401 - any way to show it
    shown = show(Secret(CANARY))
    assert "***" in shown
    assert "canary" not in shown


@pytest.mark.parametrize(
    "leak",
    [
        pytest.param(pickle.dumps, id="pickle"),
        copy.copy,
        copy.deepcopy,
        pytest.param(json.dumps, id="json"),
        bytes,
        vars,
        list,
        pytest.param(lambda it: it.__getstate__(), id="getstate"),
        pytest.param(lambda it: it.__reduce__(), id="reduce"),
        pytest.param(lambda it: b"" + it, id="concatenation"),
    ],
)
def test_a_plaintext_is_not_taken_out_by_accident(leak: Any) -> None:  # noqa: ANN401 - any way to leak it
    with pytest.raises(TypeError) as caught:
        leak(Secret(CANARY))
    assert "canary" not in str(caught.value)


def test_a_plaintext_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("test").warning("got %s and %r", Secret(CANARY), Secret(CANARY))
    assert "got *** and ***" in caplog.text


def test_a_plaintext_is_revealed_when_asked_for() -> None:
    assert Secret(CANARY).reveal() == CANARY
    assert Secret("pä".encode()).text() == "pä"
    assert Secret(b"a") == Secret(b"a")
    assert Secret(b"a") != Secret(b"b")
    assert Secret(b"a") != b"a"
    assert len(Secret(b"")) == 0
    assert Secret(b"")


def test_a_plaintext_that_is_no_text_says_so_without_showing_itself() -> None:
    with pytest.raises(InvalidValue, match="deliver it to the bot as a file") as caught:
        Secret(CANARY + b"\xff").text()
    assert caught.value.__context__ is None
    assert "canary" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "leak", [pytest.param(pickle.dumps, id="pickle"), copy.copy, copy.deepcopy, lambda it: it.__getstate__()]
)
def test_an_identity_is_neither_shown_nor_copied(leak: Any) -> None:  # noqa: ANN401 - any way to leak it
    identity = Identity.generate("prod")
    assert repr(identity) == f"Identity('prod', id={identity.id.hex()})"
    with pytest.raises(TypeError):
        leak(identity)


def test_an_identity_survives_its_text() -> None:
    identity = Identity.generate("staging")
    text = identity.to_text()
    assert Identity.from_text(f"  {text}\n") == identity
    assert Identity.from_text(text).to_text() == text


def test_no_changed_character_of_an_identity_goes_unnoticed_or_is_shown() -> None:
    text = Identity.generate("staging").to_text()
    for position in range(len("BOTKEEP-IDENTITY-V1.staging."), len(text)):
        changed = text[:position] + ("A" if text[position] != "A" else "B") + text[position + 1 :]
        with pytest.raises(IdentityFileError) as caught:
            Identity.from_text(changed)
        assert changed[-40:] not in str(caught.value)


def test_a_value_moved_to_another_environment_does_not_open_whatever_the_database_says() -> None:
    dev, prod = Identity.generate("dev"), Identity.generate("prod")
    data = encrypt(CANARY, prod.recipient, context=CONTEXT)
    with pytest.raises(WrongIdentity, match="holds no private key of prod"):
        open_envelope(data, holding(dev), context=CONTEXT)
    moved = Context(WORKSPACE, "-", "SAP", "PASSWORD", "dev", 1)
    with pytest.raises(WrongIdentity, match=prod.id.hex()):
        open_envelope(data, holding(dev, prod), context=moved)


def test_an_identity_filed_under_another_environment_is_not_used() -> None:
    prod = Identity.generate("prod")
    data = encrypt(CANARY, prod.recipient, context=CONTEXT)
    moved = Context(WORKSPACE, "-", "SAP", "PASSWORD", "dev", 1)
    with pytest.raises(WrongIdentity):
        open_envelope(data, {"dev": {prod.id: prod}}, context=moved)


def test_every_flipped_bit_of_the_stored_bytes_is_noticed() -> None:
    prod = Identity.generate("prod")
    data = encrypt(b"x", prod.recipient, context=CONTEXT)
    for position in range(20, len(data), 7):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        with pytest.raises(TamperedEnvelope):
            open_envelope(bytes(changed), holding(prod), context=CONTEXT)


def test_a_refusal_says_which_value_and_what_to_do_and_no_content() -> None:
    prod = Identity.generate("prod")
    data = encrypt(CANARY, prod.recipient, context=CONTEXT)
    with pytest.raises(TamperedEnvelope, match=r"value 1 of SAP.PASSWORD in prod .* restore") as caught:
        open_envelope(data[:-1], holding(prod), context=CONTEXT)
    assert "canary" not in "".join(traceback.format_exception(caught.value))


def test_a_data_key_of_the_wrong_size_is_refused() -> None:
    prod = Identity.generate("prod")
    with pytest.raises(TamperedEnvelope):
        prod.unwrap(prod.recipient.wrap(bytes(16), context=CONTEXT), context=CONTEXT)


def test_a_rotation_replaces_the_wrapped_key_and_leaves_the_ciphertext() -> None:
    old, new = Identity.generate("prod"), Identity.generate("prod")
    data = encrypt(CANARY, old.recipient, context=CONTEXT)
    rotated = rewrap(data, holding(old, new), recipient=new.recipient, context=CONTEXT)
    before, after = Envelope.from_bytes(data), Envelope.from_bytes(rotated)
    assert (before.nonce, before.ciphertext) == (after.nonce, after.ciphertext)
    assert open_envelope(rotated, holding(new), context=CONTEXT).reveal() == CANARY
    with pytest.raises(WrongIdentity):
        open_envelope(rotated, holding(old), context=CONTEXT)


def test_a_rotation_does_not_need_a_plaintext_that_opens() -> None:
    old, new = Identity.generate("prod"), Identity.generate("prod")
    damaged = encrypt(CANARY, old.recipient, context=CONTEXT)[:-1] + b"\0"
    assert rewrap(damaged, holding(old), recipient=new.recipient, context=CONTEXT)[-30:] == damaged[-30:]


def test_a_rotation_stays_in_its_environment_and_its_row() -> None:
    old, dev = Identity.generate("prod"), Identity.generate("dev")
    data = encrypt(CANARY, old.recipient, context=CONTEXT)
    with pytest.raises(InvalidRecipient):
        rewrap(data, holding(old), recipient=dev.recipient, context=CONTEXT)
    other = Context(WORKSPACE, "-", "SAP", "PASSWORD", "prod", 2)
    with pytest.raises(TamperedEnvelope):
        rewrap(data, holding(old), recipient=old.recipient, context=other)


def test_a_warm_cache_still_refuses_a_process_without_the_identity() -> None:
    prod, keys = Identity.generate("prod"), DataKeys()
    data = encrypt(CANARY, prod.recipient, context=CONTEXT)
    open_envelope(data, holding(prod), context=CONTEXT, keys=keys)
    with pytest.raises(WrongIdentity):
        open_envelope(data, {}, context=CONTEXT, keys=keys)
    other = Context(WORKSPACE, "-", "SAP", "PASSWORD", "prod", 2)
    with pytest.raises(TamperedEnvelope):
        open_envelope(data, holding(prod), context=other, keys=keys)


def test_many_values_open_as_each_of_them_whether_their_keys_are_held_or_not() -> None:
    prod, other, keys = Identity.generate("prod"), Identity.generate("prod"), DataKeys()
    contexts = [Context(WORKSPACE, "-", "SAP", f"PASSWORD_{number}", "prod", 1) for number in range(4)]
    data = [encrypt(b"%d" % number, prod.recipient, context=each) for number, each in enumerate(contexts)]
    data[2] = encrypt(b"2", other.recipient, context=contexts[2])
    sealed = [Sealed(each, context=context) for each, context in zip(data, contexts, strict=True)]
    for _ in range(2):
        opened = open_all(sealed, holding(prod, other), keys=keys)
        assert [secret.reveal() for secret in opened] == [b"0", b"1", b"2", b"3"]
    with pytest.raises(WrongIdentity, match=r"SAP\.PASSWORD_2"):
        open_all(sealed, holding(prod), keys=keys)
    with pytest.raises(WrongIdentity):
        open_all(sealed, {}, keys=keys)
    sealed[3] = Sealed(data[3][:-1] + bytes([data[3][-1] ^ 1]), context=contexts[3])
    with pytest.raises(TamperedEnvelope, match=r"SAP\.PASSWORD_3"):
        open_all(sealed, holding(prod, other), keys=keys)


def test_a_warm_cache_opens_without_unwrapping() -> None:
    class Counting(Identity):
        __slots__ = ("unwrapped",)
        unwrapped: int

        def unwrap(self, wrapped_key: bytes, *, context: Context) -> bytes:
            self.unwrapped += 1
            return super().unwrap(wrapped_key, context=context)

    prod = Counting.generate("prod")
    assert isinstance(prod, Counting)
    prod.unwrapped = 0
    keys, data = DataKeys(), encrypt(CANARY, prod.recipient, context=CONTEXT)
    for _ in range(3):
        assert open_envelope(data, holding(prod), context=CONTEXT, keys=keys).reveal() == CANARY
    assert prod.unwrapped == 1
