"""For any value, context and damage: it comes back whole, from its own place, or not at all."""

import uuid
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vault.decrypt import DataKeys, Identity, open_envelope, rewrap
from vault.encrypt import encrypt
from vault.envelope import MAX_NUMBER, Context, Envelope
from vault.errors import DecryptError
from vault.names import ENVIRONMENTS

IDENTITIES = {environment: Identity.generate(environment) for environment in ENVIRONMENTS}
HELD = {environment: {identity.id: identity} for environment, identity in IDENTITIES.items()}

ids = st.uuids().map(str)
parts = st.text("ABC_0", min_size=1, max_size=128)
contexts = st.builds(
    Context,
    workspace=ids,
    bot=ids | st.just("-"),
    group=parts,
    name=parts,
    environment=st.sampled_from(ENVIRONMENTS),
    number=st.integers(1, MAX_NUMBER),
)


def sealed(value: bytes, context: Context) -> bytes:
    return encrypt(value, IDENTITIES[context.environment].recipient, context=context)


@given(st.binary(max_size=5000) | st.text().map(str.encode), contexts)
def test_any_value_comes_back_cold_and_warm(value: bytes, context: Context) -> None:
    data, keys = sealed(value, context), DataKeys()
    for _ in range(2):
        assert open_envelope(data, HELD, context=context, keys=keys).reveal() == value
    new = Identity.generate(context.environment)
    rotated = rewrap(data, HELD, recipient=new.recipient, context=context)
    assert open_envelope(rotated, {new.environment: {new.id: new}}, context=context).reveal() == value


@given(contexts, contexts)
def test_different_contexts_never_share_an_encoding(one: Context, other: Context) -> None:
    assert (one.encode() == other.encode()) == (one == other)


@given(parts, parts, st.integers(1, 4))
def test_letters_moved_across_a_field_border_change_the_encoding(group: str, name: str, moved: int) -> None:
    assume(moved < len(name) and len(group) + moved <= 128)
    one = Context(str(uuid.UUID(int=1)), "-", group, name, "prod", 1)
    assert one.encode() != replace(one, group=group + name[:moved], name=name[moved:]).encode()


@settings(max_examples=60)
@given(contexts, contexts, st.data())
def test_a_value_opens_in_no_context_but_its_own(context: Context, other: Context, data: st.DataObject) -> None:
    field = data.draw(st.sampled_from(["workspace", "bot", "group", "name", "environment", "number"]))
    changed = replace(context, **{field: getattr(other, field)})
    assume(changed != context)
    with pytest.raises(DecryptError):
        open_envelope(sealed(b"x", context), HELD, context=changed)


@given(contexts, st.data())
def test_any_damage_to_the_stored_bytes_is_refused(context: Context, data: st.DataObject) -> None:
    stored = sealed(b"some value", context)
    start = data.draw(st.integers(0, len(stored)))
    end = data.draw(st.integers(start, min(len(stored), start + 40)))
    damaged = stored[:start] + data.draw(st.binary(max_size=40)) + stored[end:]
    assume(damaged != stored)
    with pytest.raises(DecryptError):
        open_envelope(damaged, HELD, context=context)


@given(st.binary(max_size=3000) | st.binary(max_size=3000).map(b"BKE\x01".__add__))
def test_junk_is_refused_or_survives_a_round_trip(data: bytes) -> None:
    try:
        envelope = Envelope.from_bytes(data)
    except DecryptError:
        return
    assert envelope.to_bytes() == data
