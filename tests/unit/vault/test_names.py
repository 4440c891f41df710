"""Names: what is refused, what they become, and which of them would meet."""

import pytest

from vault.errors import Conflict, Invalid, InvalidName, NameCollision
from vault.names import (
    RESERVED,
    AssetName,
    check_collisions,
    check_environment,
    check_reserved,
    collision,
    matches,
    parse_pattern,
    variables,
)

REFUSED = [
    "A-B",
    "A B",
    "A\n",
    "\nA",
    "A.B",
    "",
    " ",
    "{{",
    "A=B",
    "A\0",
    "\u041f\u0410\u0420\u041e\u041b\u042c",  # Cyrillic: six letters, for `\w` too
    "PASSW\u041eRD",  # one Cyrillic letter that looks like an O
    "\u00c9",
    "\u0661",  # a digit, for `\d` too
    "\u212a",  # the Kelvin sign, which lower() turns into an ASCII k
    "\u017f",  # the long s, which upper() turns into an ASCII S
    "A" * 129,
    "A" * 256,
]


@pytest.mark.parametrize("text", REFUSED)
def test_only_ascii_letters_digits_and_underscores_make_a_name(text: str) -> None:
    with pytest.raises(InvalidName, match="ASCII letters"):
        AssetName(text, "A")
    with pytest.raises(InvalidName, match="ASCII letters"):
        AssetName("A", text)


@pytest.mark.parametrize("text", ["", "SAP", "SAP.", ".PASSWORD", "A.B.C", "A.B\n", " A.B", "A..B"])
def test_an_asset_is_written_with_one_dot(text: str) -> None:
    with pytest.raises(InvalidName):
        AssetName.parse(text)


def test_a_name_is_upper_case_whatever_it_was_written_in() -> None:
    assert AssetName.parse("db.Password") == AssetName("DB", "PASSWORD")
    assert str(AssetName("db", "password")) == "DB.PASSWORD"


def test_the_longest_name_is_accepted_and_one_more_is_not() -> None:
    assert AssetName("A" * 128, "B").group == "A" * 128
    with pytest.raises(InvalidName):
        AssetName("A" * 129, "B")


def test_a_wrong_name_is_shown_short_and_printable() -> None:
    with pytest.raises(InvalidName) as caught:
        AssetName("\x1b[31m" + "x" * 5000, "A")
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_an_asset_reaches_a_bot_as_one_variable_and_in_group_global_as_two() -> None:
    assert variables(AssetName("MYAPP", "API_KEY")) == ("KLANGO_ASSET_MYAPP_API_KEY",)
    assert variables(AssetName("GLOBAL", "X")) == ("KLANGO_ASSET_GLOBAL_X", "KLANGO_X")


@pytest.mark.parametrize(
    ("one", "other", "variable"),
    [
        ("A_B.C", "A.B_C", "KLANGO_ASSET_A_B_C"),
        ("a_b.c", "A.B_C", "KLANGO_ASSET_A_B_C"),
        ("GLOBAL.ASSET_X_Y", "X.Y", "KLANGO_ASSET_X_Y"),
        ("GLOBAL.ASSET_GLOBAL_X", "GLOBAL.X", "KLANGO_ASSET_GLOBAL_X"),
        ("GLOBAL_X.Y", "GLOBAL.X_Y", "KLANGO_ASSET_GLOBAL_X_Y"),
        ("_.A", "__.A", None),
        ("SAP.PASSWORD", "SAP.USER", None),
        ("GLOBAL.X", "X.X", None),
        ("SAP.PASSWORD", "sap.password", None),
    ],
)
def test_different_names_that_meet_are_found_from_both_sides(one: str, other: str, variable: str) -> None:
    left, right = AssetName.parse(one), AssetName.parse(other)
    assert collision(left, right) == variable
    assert collision(right, left) == variable


def test_a_collision_names_both_owners_and_the_variable() -> None:
    with pytest.raises(NameCollision) as caught:
        check_collisions(AssetName("A_B", "C"), [AssetName("X", "Y"), AssetName("A", "B_C")])
    message = str(caught.value)
    assert "A_B.C" in message
    assert "A.B_C" in message
    assert "KLANGO_ASSET_A_B_C" in message
    assert isinstance(caught.value, Conflict)


def test_the_same_name_in_both_scopes_is_an_override_and_allowed() -> None:
    check_collisions(AssetName("SAP", "PASSWORD"), [AssetName("SAP", "PASSWORD")])


@pytest.mark.parametrize("variable", sorted(RESERVED))
def test_no_asset_takes_a_variable_of_the_runner(variable: str) -> None:
    name = AssetName("global", variable.removeprefix("KLANGO_").lower())
    with pytest.raises(NameCollision, match=rf"{name}.*{variable}.*the runner"):
        check_reserved(name)


def test_the_runner_keeps_what_existing_bots_read_about_their_run() -> None:
    kept = "API_KEY BOT ENDPOINT ENVIRONMENT JOB_ID RUNNER RUN_ID SERVER_URL TOKEN WORKSPACE"
    assert {f"KLANGO_{word}" for word in kept.split()} == RESERVED


def test_a_reserved_word_is_free_in_any_other_group() -> None:
    check_reserved(AssetName("SAP", "JOB_ID"))
    check_reserved(AssetName("GLOBAL", "PASSWORD"))


@pytest.mark.parametrize("text", ["Prod", "production", "", "prod\n", "x"])
def test_an_unknown_environment_names_itself_and_the_choices(text: str) -> None:
    with pytest.raises(InvalidName, match=r"dev, staging, prod") as caught:
        check_environment(text)
    assert ascii(text) in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("SAP.*", "SAP.PASSWORD", True),
        ("sap.*", "SAP.PASSWORD", True),
        ("*.*", "DB.USER", True),
        ("*.PASSWORD", "DB.PASSWORD", True),
        ("SAP_*.PASS*", "SAP_EU.PASSWORD", True),
        ("SAP_*.PASS*", "SAP.PASSWORD", False),
        ("SAP.*", "SAPX.PASSWORD", False),
        ("DB.PASSWORD", "DB.PASSWORD", True),
        ("DB.PASSWORD", "DB.PASSWORD2", False),
    ],
)
def test_a_pattern_declares_names_by_whole_parts_or_prefixes(pattern: str, name: str, *, expected: bool) -> None:
    assert matches(pattern, AssetName.parse(name)) is expected
    assert matches(parse_pattern(pattern), AssetName.parse(name)) is expected


@pytest.mark.parametrize("text", ["*", "SAP", "SAP.", "*SAP.X", "S*P.X", "A.**", "A.?", "A.[B]", "A.B.*", "A.*\n"])
def test_a_pattern_with_any_other_wildcard_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="SAP"):
        parse_pattern(text)
