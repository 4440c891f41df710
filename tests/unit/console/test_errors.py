"""What errors show, and what they must not."""

import pytest
from pydantic import BaseModel, ValidationError

import runner.errors
import vault.errors
from console.errors import KNOWN, complaints, places
from console.text import JsonObject, Text


class Order(BaseModel):
    bot: Text
    count: int
    parameters: JsonObject = {}


def complaints_of(given: object) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Order.model_validate(given)
    return complaints([{**each, "loc": ("body", *each["loc"])} for each in caught.value.errors()])


def test_a_complaint_names_the_field_and_the_rule() -> None:
    assert complaints_of({"count": 1}) == ["bot: it is required."]
    assert complaints_of({"bot": 1, "count": "x"}) == ["bot: it must be text.", "count: it must be a whole number."]
    assert complaints_of({"bot": "a\0", "count": 1}) == ["bot: it holds a NUL character."]


def test_a_complaint_about_what_is_nested_too_deep_is_one_short_sentence() -> None:
    endless: object = 1
    for _ in range(300):
        endless = {"k": endless}
    (said,) = complaints_of({"bot": "x", "count": 1, "parameters": endless})
    assert said == "parameters.k.dict.k.dict.k.dict.k.…: it is nested too deep."


def test_a_complaint_never_repeats_what_was_given() -> None:
    canary = "canary-2231"
    for given in (
        {"bot": [canary], "count": canary},
        {"bot": "x", "count": canary, "parameters": {"a": object()}},
        {"bot": f"{canary}\0", "count": 1},
        {"bot": "x", "count": 1, "parameters": {"a": f"{canary}\ud800"}},
    ):
        assert canary not in " ".join(complaints_of(given))


def test_a_field_that_a_client_made_up_is_shown_without_its_tricks() -> None:
    found = complaints([{"loc": ("body", "parameters", "\x1b[31m" + "k" * 500), "type": "x", "msg": "No"}])
    assert found[0].isprintable()
    assert len(found[0]) < 120


def test_the_places_of_an_error_hold_no_message() -> None:
    with pytest.raises(KeyError) as caught:
        fail_twice()
    found = places(caught.value)
    assert found[0] == "KeyError"
    assert "ValueError" in found
    assert "canary" not in " ".join(found)
    assert any("test_errors.py" in place for place in found)


def fail_twice() -> None:
    try:
        int("canary-2232")
    except ValueError as error:
        raise KeyError("canary-2233") from error


@pytest.mark.parametrize("tree", [vault.errors, runner.errors])
def test_every_error_that_a_caller_can_cause_has_an_answer(tree: object) -> None:
    internal = {"DecryptError", "WrongIdentity", "TamperedEnvelope", "UnsupportedEnvelope", "IdentityFileError"}
    kinds = [kind for kind in vars(tree).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    unmapped = {
        kind.__name__ for kind in kinds if not issubclass(kind, tuple(known for known, _status, _code in KNOWN))
    }
    assert unmapped - internal == {"VaultError"} & unmapped | {"RunnerError"} & unmapped
