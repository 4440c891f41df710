"""For any names: collisions are found exactly where two different names share a variable."""

import string

from hypothesis import given
from hypothesis import strategies as st

from vault.errors import InvalidName
from vault.names import AssetName, collision, matches, parse_pattern, variables

ALPHABET = string.ascii_letters + string.digits + "_"

# Few letters and many underscores, so that collisions are common.
parts = st.text("AB_", min_size=1, max_size=5) | st.sampled_from(["GLOBAL", "ASSET", "ASSET_GLOBAL", "GLOBAL_A"])
joined = st.lists(parts, min_size=1, max_size=3).map("_".join)
names = st.builds(AssetName, joined, joined)


@given(names, names)
def test_two_names_collide_exactly_where_they_share_a_variable(one: AssetName, other: AssetName) -> None:
    shared = set(variables(one)) & set(variables(other))
    assert (collision(one, other) is not None) == (one != other and bool(shared))
    assert collision(one, other) == collision(other, one) or len(shared) > 1


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_text_is_a_canonical_name_or_refused(group: str, name: str) -> None:
    valid = all(0 < len(part) <= 128 and set(part) <= set(ALPHABET) for part in (group, name))
    try:
        asset = AssetName(group, name)
    except InvalidName:
        assert not valid
    else:
        assert valid
        assert AssetName.parse(str(asset)) == asset
        assert (asset.group, asset.name) == (group.upper(), name.upper())


@given(names)
def test_case_never_makes_another_asset(name: AssetName) -> None:
    assert AssetName.parse(str(name).lower()) == name
    assert variables(AssetName.parse(str(name).lower())) == variables(name)


@given(names, st.integers(0, 8))
def test_a_prefix_of_a_name_declares_it(name: AssetName, cut: int) -> None:
    assert matches(f"{name.group}.{name.name[:cut]}*", name)
    assert matches(f"{name.group[:cut]}*.*", name)
    assert matches(parse_pattern(str(name)), name)


@given(names, names)
def test_a_pattern_without_a_wildcard_declares_one_name(one: AssetName, other: AssetName) -> None:
    assert matches(str(one), other) == (one == other)
