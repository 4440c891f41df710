"""For any parameters: what is found is what is replaced, once, and nothing else changes."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from vault.errors import InvalidToken
from vault.names import AssetName
from vault.tokens import JSON, Reference, find, render

parts = st.text("AZaz09_", min_size=1, max_size=6)
tokens = st.builds("{{{{ASSET.{}.{}}}}}".format, parts, parts)
literals = st.text(st.characters(exclude_characters="{}"), max_size=10).filter(lambda text: "secret:" not in text)
answers = st.text(max_size=20) | tokens | st.sampled_from(["{{ASSET.", "secret://A", "\\1", "{{"])
near = st.lists(
    st.sampled_from(["{{", "}}", "{", "}", "ASSET", ".", " ", "A", "\n", "secret://", "/", "@"]), max_size=12
)


@given(st.lists(st.tuples(literals, tokens), max_size=5), literals, answers)
def test_every_token_is_replaced_and_the_text_between_is_kept(
    pieces: list[tuple[str, str]], end: str, answer: str
) -> None:
    text = "".join(before + token for before, token in pieces) + end
    assert render(text, lambda _: answer) == "".join(before + answer for before, _ in pieces) + end
    assert {reference.text for reference in find(text)} == {token for _, token in pieces}


@given(near.map("".join), answers)
def test_any_text_is_rendered_literally_in_part_or_refused(text: str, answer: str) -> None:
    seen: list[Reference] = []

    def lookup(reference: Reference) -> str:
        seen.append(reference)
        return answer

    with contextlib.suppress(InvalidToken):
        rendered = render(text, lookup)
        assert {*seen} == {*find(text)}
        if not seen:
            assert rendered == text
            assert "{{ASSET." not in text
            assert not text.startswith("secret://")


json_values: st.SearchStrategy[JSON] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | literals | tokens,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(literals, inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_rendering_each_reference_as_itself_changes_nothing(value: JSON) -> None:
    assert render(value, lambda reference: reference.text) == value


@given(parts, parts)
def test_the_three_spellings_mean_the_same_asset(group: str, name: str) -> None:
    asset = AssetName(group, name)
    for text in (f"{{{{ASSET.{group}.{name}}}}}", f"secret://{group}/{name}"):
        assert [reference.asset for reference in find(text)] == [asset]
    for text in (f"secret://{name}", f"roboto-secret://{name}", f"roboto-secret://{name}@w_1"):
        assert [reference.asset for reference in find(text)] == [AssetName("GLOBAL", name)]
