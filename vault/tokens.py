"""References to assets inside parameters: finding them, and putting the looked-up text in their place.

| written as | where | means |
|---|---|---|
| `{{ASSET.GROUP.NAME}}` | anywhere in a string, several allowed | the asset GROUP.NAME |
| `secret://GROUP/NAME` | the whole string | the asset GROUP.NAME |
| `secret://NAME` | the whole string | the asset GLOBAL.NAME |
| `roboto-secret://NAME[@WORKSPACE]` | the whole string | the asset GLOBAL.NAME, of that workspace only |

Roboto's names may hold hyphens and dots, which are underscores here: `my-api-key` is GLOBAL.MY_API_KEY. A workspace is
letters, digits and underscores, as Roboto's own clients read it: what follows one is an error, and never cut off.

Promises: one pass. Looked-up text is never scanned again, so a value that contains a reference stays as it
is. `find` and `render` walk the same way, so what was found is what is replaced. Lists and the values of
objects are walked; keys, numbers, booleans and null are returned untouched. Pure: no input or output.
Refuses: text that begins a reference and is not one (`InvalidToken`), instead of handing it to a bot as if
it were a password. Other text in double braces is literal, and so is `secret://` inside a longer string.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from vault.errors import InvalidToken, InvalidValue
from vault.names import GLOBAL, MAX_LENGTH, AssetName, shown

JSON: TypeAlias = dict[str, "JSON"] | list["JSON"] | str | int | float | bool | None

#: Deepest nesting that is walked: far more than a parameter needs, far less than would exhaust the stack.
MAX_DEPTH = 64

_NAME = rf"[A-Za-z0-9_]{{1,{MAX_LENGTH}}}"

_FOREIGN = rf"[A-Za-z0-9_][A-Za-z0-9_.-]{{0,{MAX_LENGTH - 1}}}"

# The second alternative is text that begins a reference, with or without blanks, and is none: at least that
# much of it is kept, without the rest of the string, to be named in the error.
_EMBEDDED = re.compile(
    rf"\{{\{{ASSET\.(?P<group>{_NAME})\.(?P<name>{_NAME})\}}\}}"
    r"|\{\{[ \t]*ASSET[ \t]*\.[^{}\s]{0,40}\}{0,2}",
    re.ASCII,
)
_WHOLE = re.compile(
    rf"secret://(?:(?P<group>{_NAME})/)?(?P<name>{_NAME})"
    rf"|roboto-secret://(?P<foreign>{_FOREIGN})(?:@(?P<workspace>{_NAME}))?",
    re.ASCII,
)
_SCHEMES = ("secret://", "roboto-secret://")


@dataclass(frozen=True, slots=True)
class Reference:
    """One reference as written: `workspace` is the one it insists on, and None where it names none."""

    text: str
    asset: AssetName
    workspace: str | None = None


Lookup = Callable[[Reference], str]


def find(value: JSON) -> tuple[Reference, ...]:
    """The references in the parameters, each once, in order of appearance; raises `InvalidToken`."""
    found: dict[Reference, None] = {}

    def note(reference: Reference) -> str:
        found[reference] = None
        return ""

    render(value, note)
    return tuple(found)


def roboto_name(text: str) -> AssetName | None:
    """The asset that Roboto's clients mean by a bare name, `None` for text that names none."""
    return _roboto_asset(text) if re.fullmatch(_FOREIGN, text, re.ASCII) else None


def render(value: JSON, lookup: Lookup) -> JSON:
    """A copy of the parameters with each reference replaced by what `lookup` answers for it.

    Everything that is not a string is returned as it is. Raises `InvalidToken` before any part of a
    malformed string is looked up, and lets through whatever `lookup` raises.
    """
    return _render(value, lookup, depth=0)


def _render(value: JSON, lookup: Lookup, *, depth: int) -> JSON:
    if depth > MAX_DEPTH:
        raise InvalidValue(f"The parameters are nested more than {MAX_DEPTH} levels deep: flatten them.")
    if isinstance(value, str):
        return _render_text(value, lookup)
    if isinstance(value, list):
        return [_render(item, lookup, depth=depth + 1) for item in value]
    if isinstance(value, dict):
        return {key: _render(item, lookup, depth=depth + 1) for key, item in value.items()}
    return value


def _render_text(text: str, lookup: Lookup) -> str:
    if text.startswith(_SCHEMES):
        return lookup(_whole(text))
    references = [_embedded(match) for match in _EMBEDDED.finditer(text)]
    if not references:
        return text
    answers = iter([lookup(reference) for reference in references])
    return _EMBEDDED.sub(lambda _: next(answers), text)


def _embedded(match: re.Match[str]) -> Reference:
    if match["group"] is None:
        raise InvalidToken(
            f"{shown(match[0])} is not a reference to an asset: write {{{{ASSET.GROUP.NAME}}}} without "
            "blanks, with ASCII letters, digits and underscores.",
            token=match[0],
        )
    return Reference(match[0], AssetName(match["group"], match["name"]))


def _whole(text: str) -> Reference:
    match = _WHOLE.fullmatch(text)
    if match is None:
        raise InvalidToken(
            f"{shown(text)} is not a reference to an asset: write secret://GROUP/NAME, secret://NAME or "
            "roboto-secret://NAME@WORKSPACE, with ASCII letters, digits and underscores.",
            token=text,
        )
    if match["foreign"]:
        return Reference(text, _roboto_asset(match["foreign"]), match["workspace"])
    return Reference(text, AssetName(match["group"] or GLOBAL, match["name"]))


def _roboto_asset(name: str) -> AssetName:
    return AssetName(GLOBAL, name.replace("-", "_").replace(".", "_"))
