"""Values that somebody typed into a parameter where a reference belongs; pure.

Parameters are kept and shown as they were written, so a value among them would stay in history for good. Promises the
same parameters with references in the places of values that are long enough not to stand there by chance: the bot gets
the same text, now and when the job is run again. What cannot be written as a reference stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from vault import tokens
from vault.decrypt import Secret
from vault.errors import InvalidToken
from vault.grading import dictionary_like
from vault.names import AssetName
from vault.tokens import JSON

#: Bytes of a value from which on it stands in a parameter by no chance.
TELLING = 8


@dataclass(frozen=True, slots=True)
class Typed:
    """The parameters without values, and the assets whose values were there, by the parameter's name."""

    parameters: dict[str, Any]
    assets: tuple[tuple[str, AssetName], ...] = ()

    @classmethod
    def of(cls, parameters: Mapping[str, Any], values: Mapping[AssetName, Secret | None]) -> Self:
        """Look for `values` in `parameters`."""
        found: list[tuple[str, AssetName]] = []
        kept = dict(parameters)
        written = b"\0".join(text.encode(errors="surrogatepass") for text in _texts(list(parameters.values())))
        for asset, text in _telling(values, written) if written else ():
            for name, value in kept.items():
                referring = _replaced(value, text, f"{{{{ASSET.{asset}}}}}")
                if referring != value and _is_sound(referring):
                    kept[name] = referring
                    found.append((name, asset))
        return cls(kept, tuple(found))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the job says of them."""
        return tuple(
            f"The parameter {name} was given the value of {asset} itself. History shows {{{{ASSET.{asset}}}}} in its "
            "place now; write it there next time, and change the value, which was kept as typed until the job started."
            for name, asset in self.assets
        )


def _telling(values: Mapping[AssetName, Secret | None], written: bytes) -> list[tuple[AssetName, str]]:
    """Of those values that are written there the ones that are so by no chance."""
    found = []
    for asset, secret in values.items():
        content = b"" if secret is None else secret.reveal().strip()
        if len(content) < TELLING or content not in written:  # first, since nearly all end here
            continue
        text = content.decode(errors="replace")
        if "\ufffd" not in text and not dictionary_like(text):
            found.append((asset, text))
    # A value that holds another one goes first.
    return sorted(found, key=lambda pair: -len(pair[1]))


def _texts(value: JSON) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for each in value if isinstance(value, list) else value.values():
            yield from _texts(each)


def _replaced(value: JSON, text: str, reference: str) -> JSON:
    if isinstance(value, str):
        return value.replace(text, reference)
    if isinstance(value, list):
        return [_replaced(each, text, reference) for each in value]
    if isinstance(value, dict):
        return {name: _replaced(each, text, reference) for name, each in value.items()}
    return value


def _is_sound(value: JSON) -> bool:
    try:
        tokens.find(value)
    except InvalidToken:
        return False
    return True
