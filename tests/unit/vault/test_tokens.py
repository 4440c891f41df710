"""References in parameters: the grammar, one pass, and what stays literal."""

from typing import TYPE_CHECKING

import pytest

from vault.errors import InvalidToken, InvalidValue
from vault.names import AssetName
from vault.tokens import Reference, find, render

if TYPE_CHECKING:
    from vault.tokens import JSON


def shown(reference: Reference) -> str:
    return f"<{reference.asset}>"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ASSET.SAP.PASSWORD}}", "<SAP.PASSWORD>"),
        ("{{ASSET.sap.password}}", "<SAP.PASSWORD>"),
        ("u={{ASSET.A.U}};p={{ASSET.A.P}}", "u=<A.U>;p=<A.P>"),
        ("{{ASSET.A.P}}{{ASSET.A.P}}", "<A.P><A.P>"),
        ("{{{ASSET.A.P}}}", "{<A.P>}"),
        ("secret://SAP/PASSWORD", "<SAP.PASSWORD>"),
        ("secret://API_KEY", "<GLOBAL.API_KEY>"),
        ("roboto-secret://api_key", "<GLOBAL.API_KEY>"),
        ("roboto-secret://my-api.key", "<GLOBAL.MY_API_KEY>"),
        ("roboto-secret://api_key@og1", "<GLOBAL.API_KEY>"),
    ],
)
def test_a_reference_is_replaced(text: str, expected: str) -> None:
    assert render(text, shown) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain",
        "{{ other }}",
        "{{asset.name}}",
        "{{ASSET}}",
        "{{ASSETS.A.B}}",
        "{ASSET.A.B}",
        "ASSET.A.B",
        "Bearer secret://API_KEY",
        " secret://API_KEY",
        "SECRET://API_KEY",
        "https://host/secret://X",
    ],
)
def test_other_text_is_literal(text: str) -> None:
    assert find(text) == ()
    assert render(text, shown) == text


@pytest.mark.parametrize(
    "text",
    [
        "{{ASSET.A}}",
        "{{ASSET.}}",
        "{{ASSET..B}}",
        "{{ASSET.A.B",
        "{{ASSET.A.B}",
        "{{ASSET.A.B.C}}",
        "{{ASSET.A-B.C}}",
        "{{ASSET.A.B }}",
        "{{ ASSET.A.B }}",
        "{{ASSET .A.B}}",
        "{{ASSET.A.B\n}}",
        "{{ASSET.\u0410.B}}",  # a Cyrillic letter
        "{{ASSET." + "A" * 129 + ".B}}",
        "ok {{ASSET.A.B}} then {{ASSET.A}}",
        "secret://",
        "secret://A/B/C",
        "secret:///B",
        "secret://A/",
        "secret://A\n",
        "secret://A.B",
        "secret://{{ASSET.A.B}}",
        "roboto-secret://a@",
        "roboto-secret://a@og-1",
        "roboto-secret://a@og1.x",
        "roboto-secret://a@og1/",
        "roboto-secret://-a",
        "roboto-secret://a/../b",
        "roboto-secret://\u0430pi",
        "roboto-secret://a@og1/evil?x",
        "roboto-secret://a@b@c",
        "roboto-secret://my key",
        "roboto-secret://",
    ],
)
def test_what_begins_a_reference_and_is_none_is_refused_and_named(text: str) -> None:
    with pytest.raises(InvalidToken) as caught:
        render(text, lambda reference: pytest.fail(f"{reference} was looked up"))
    assert caught.value.token in text
    assert ascii(caught.value.token)[1:40].rstrip("'") in str(caught.value)


def test_looked_up_text_is_never_expanded_again() -> None:
    answers = {
        AssetName("A", "X"): "{{ASSET.B.Y}} secret://B/Y \\1 \\g<0>",
        AssetName("A", "Z"): "secret://B",
    }
    value: JSON = ["{{ASSET.A.X}}+{{ASSET.A.Z}}", "secret://A/Z"]
    rendered = render(value, lambda reference: answers[reference.asset])
    assert rendered == ["{{ASSET.B.Y}} secret://B/Y \\1 \\g<0>+secret://B", "secret://B"]


def test_a_value_that_names_a_later_reference_of_the_same_text_does_not_receive_it() -> None:
    answers = {AssetName("A", "X"): "{{ASSET.A.Z}}", AssetName("A", "Z"): "{{ASSET.A.X}}"}
    rendered = render("{{ASSET.A.X}}+{{ASSET.A.Z}}", lambda reference: answers[reference.asset])
    assert rendered == "{{ASSET.A.Z}}+{{ASSET.A.X}}"


def test_only_strings_are_references_and_containers_are_walked() -> None:
    value: JSON = {"n": 5, "f": 1.5, "t": True, "z": None, "l": ["{{ASSET.A.B}}", {"k": "secret://C"}]}
    assert render(value, shown) == {
        "n": 5,
        "f": 1.5,
        "t": True,
        "z": None,
        "l": ["<A.B>", {"k": "<GLOBAL.C>"}],
    }
    assert [reference.text for reference in find(value)] == ["{{ASSET.A.B}}", "secret://C"]


def test_keys_are_never_references() -> None:
    value: JSON = {"{{ASSET.A.B}}": "x", "{{ASSET.": "y", "secret://A": 1}
    assert find(value) == ()
    assert render(value, shown) == value


def test_the_parameters_given_are_not_changed() -> None:
    value: JSON = {"a": ["{{ASSET.A.B}}"]}
    render(value, shown)
    assert value == {"a": ["{{ASSET.A.B}}"]}


def test_each_reference_is_found_once_in_order_with_its_workspace() -> None:
    found = find(["secret://B", "{{ASSET.A.B}} {{ASSET.A.B}}", "roboto-secret://k@og1", "secret://B"])
    assert [(reference.text, reference.workspace) for reference in found] == [
        ("secret://B", None),
        ("{{ASSET.A.B}}", None),
        ("roboto-secret://k@og1", "og1"),
    ]


def test_parameters_nested_too_deep_are_refused_not_crashed_on() -> None:
    value: JSON = "x"
    for _ in range(500):
        value = [value]
    with pytest.raises(InvalidValue, match="flatten"):
        find(value)
