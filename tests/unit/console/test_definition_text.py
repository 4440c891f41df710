"""Definitions as text: what is written is read as the same table, and what cannot be read is said."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.pages import definition_text, form_fields, source_form, trigger_form, typed
from runner.errors import Invalid
from scheduler.definitions import read as read_trigger

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
#: Durations are written in words; see below.
KEYS = TEXTS.filter(lambda key: key not in definition_text.DURATIONS)
NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.booleans() | TEXTS | NUMBERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_what_is_written_is_read_as_the_same(table: dict[str, Any]) -> None:
    assert definition_text.read(definition_text.written(table)) == json.loads(json.dumps(table))


def test_a_table_with_a_null_is_written_as_json() -> None:
    text = definition_text.written({"a": [None]})
    assert text.startswith("{")
    assert definition_text.read(text) == {"a": [None]}


def test_durations_are_written_as_people_say_them_but_those_of_bots_are_theirs() -> None:
    table = {"timeout": 28_800.0, "steps": {"a": {"delay": 90.5, "parameters": {"timeout": 60}}}}
    read = definition_text.read(definition_text.written(table))
    assert read == {"timeout": "8h", "steps": {"a": {"delay": "90.5s", "parameters": {"timeout": 60}}}}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a = \nb = 1", "line 1"),
        ('{"a": 1, "a": 2}', "given twice"),
        ("a = 1\na = 2\n", "Cannot overwrite"),
        ("{", "JSON"),
        ("[" * 50_000, "TOML"),
        ("x" * 300_000, "262,144"),
    ],
)
def test_what_cannot_be_read_is_said(text: str, part: str) -> None:
    with pytest.raises(Invalid, match=part):
        definition_text.read(text)


def test_what_people_type_becomes_values() -> None:
    assert typed.table('a = "x"\nb = eu west\nc = 3', field="p") == {"a": "x", "b": "eu west", "c": 3}
    assert typed.entries("a, b;c\n d,,") == ["a", "b", "c", "d"]
    assert typed.number("1,000", field="n") == 1000
    with pytest.raises(Invalid, match=r"^p: "):
        typed.table("nothing", field="p")
    with pytest.raises(Invalid, match=r"^n: "):
        typed.number("1.5", field="n")


def test_a_form_says_the_definition_that_it_shows() -> None:
    given = {
        "connection": "sqlite:////d",
        "query": "select 1\nfrom x",
        "parameters": {"a": "b"},
        "read_only": False,
        "timeout": 300.0,
    }
    shown = form_fields.written(source_form.FORMS["sql"], given)
    assert (shown["timeout"], shown["parameters"]) == ("5m", 'a = "b"')
    assert form_fields.read(source_form.FORMS["sql"], shown) == {**given, "timeout": "5m"}


@pytest.mark.parametrize("kind", trigger_form.FORMS)
def test_every_kind_of_trigger_can_be_written_as_a_form_and_read_again(kind: str) -> None:
    tables: dict[str, dict[str, Any]] = {
        "schedule": {"cron": "0 7 * * *", "zone": "Europe/Berlin", "windows": ["mon-fri 08:00-18:00"], "jitter": "5m"},
        "webhook": {"style": "plain", "rate": 5},
        "file": {"folder": "/data", "stable": "3s"},
        "completion": {"queue": "other", "states": ["failed"]},
        "email": {"source": "inbox", "from": "a@b", "backlog": True},
    }
    given = {
        "bot" if kind == "email" else "workflow": "x",
        "enabled": False,
        "parameters": {"a": 1},
        kind: tables[kind],
    }
    stored = read_trigger(given).model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    shown = form_fields.written(trigger_form.FORMS[kind], trigger_form.fields_of(kind, stored))
    again = trigger_form.definition(kind, form_fields.read(trigger_form.FORMS[kind], shown))
    assert read_trigger(again) == read_trigger(given)
