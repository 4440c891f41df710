"""Text that passes the edge can be stored and answered everywhere."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue, TypeAdapter, ValidationError

from console.text import JsonObject, storable

OBJECTS: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(JsonObject)


@settings(deadline=None)
@given(st.text())
def test_whatever_is_unicode_without_nul_passes_unchanged(text: str) -> None:
    if "\0" in text:
        with pytest.raises(ValueError, match="NUL"):
            storable(text)
    else:
        assert storable(text) == text


@pytest.mark.parametrize("text", ['{"a": "\\ud800"}', '{"\\udfff": 1}', '{"a": [{"b": "x\\udc00y"}]}'])
def test_half_a_character_is_refused_wherever_it_is(text: str) -> None:
    with pytest.raises(ValidationError, match="half of a character"):
        OBJECTS.validate_python(json.loads(text))
