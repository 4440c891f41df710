"""Values of assets by name: from the environment variable, else the file, else the job's endpoint.

A name is `GROUP.NAME` in any case. The variable is `KLANGO_ASSET_GROUP_NAME`, so `A.B_C` and `A_B.C` read the
same one; only one of the two can exist. An empty variable stands for an empty value and for none, so the
endpoint, where there is one, says which.
"""

from __future__ import annotations

import os

from botkeep.errors import BotkeepError, NotText, NoValue, UnknownAsset

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

#: The group that a name without one belongs to.
GLOBAL = "GLOBAL"


class Assets:
    """The assets that this bot sees, by `GROUP.NAME`; nothing is kept, and nothing is shown by `repr`."""

    __slots__ = ()

    def __getitem__(self, name: str) -> str:
        """The value as text.

        Raises:
            UnknownAsset: when this bot sees no such asset.
            NoValue: when it has no value in this environment.
            NotText: when the value is not UTF-8.
            EndpointUnreachable: when the runner is needed for the answer and does not give it.
        """
        asset = canonical(name)
        text = _decoded(_read(asset, name))
        if text is None:
            raise NotText(f'{asset} is not UTF-8 text; take its bytes: botkeep.asset_bytes("{asset}")')
        return text

    def get(self, name: str, default: str | None = None) -> str | None:
        """The value, or `default` when there is no such asset or it has no value."""
        try:
            return self[name]
        except (UnknownAsset, NoValue):
            return default

    def keys(self) -> list[str]:
        """The names of all assets that this bot sees, whether they have a value or not."""
        from botkeep import endpoint  # noqa: PLC0415 - most bots never need it

        return endpoint.names()

    def __contains__(self, name: object) -> bool:
        """Whether this bot sees such an asset, with a value or without."""
        try:
            asset = canonical(name) if isinstance(name, str) else None
        except UnknownAsset:
            return False
        return asset is not None and (_delivered(asset) is not None or asset in self.keys())

    def __iter__(self) -> Iterator[str]:
        """The names, as `keys`."""
        return iter(self.keys())

    def __len__(self) -> int:
        """How many assets this bot sees."""
        return len(self.keys())

    def __repr__(self) -> str:
        """Never a value, and no question to the runner either."""
        return "<the assets of this bot; list(assets) names them>"


#: What `botkeep.assets` is.
assets = Assets()


def asset_bytes(name: str) -> bytes:
    """The value's bytes, exactly; raises what `assets[name]` raises, but for `NotText`."""
    return _read(canonical(name), name)


def get_secret(name: str) -> str:
    """The value of `GLOBAL.NAME` for a plain name, or of `GROUP.NAME`; raises what `assets[name]` raises."""
    return assets[name if "." in name else f"{GLOBAL}.{name}"]


def _read(asset: str, written: str) -> bytes:
    value = _delivered(asset)
    if value or (value is not None and "BOTKEEP_ENDPOINT" not in os.environ):
        return value
    from botkeep import endpoint  # noqa: PLC0415 - HTTP takes longer to load than most bots to start

    return endpoint.value(asset, written=written)


def _delivered(asset: str) -> bytes | None:
    """What was put into the bot's environment or folder at its start."""
    variable = os.environ.get(f"KLANGO_ASSET_{asset.replace('.', '_')}")
    if variable is not None:
        return os.fsencode(variable)
    folder = os.environ.get("BOTKEEP_ASSET_DIR")
    if folder is None:
        return None
    from pathlib import Path  # noqa: PLC0415 - only for what no variable can carry

    try:
        return (Path(folder) / asset).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        problem = error.strerror
    raise BotkeepError(f"The file of {asset} in BOTKEEP_ASSET_DIR cannot be read ({problem}); run the job again.")


def canonical(name: str) -> str:
    """`GROUP.NAME` in upper case.

    Raises:
        UnknownAsset: for text that names no asset.
    """
    parts = name.split(".")
    if len(parts) != 2 or not all(part.isascii() and part.replace("_", "a").isalnum() for part in parts):
        raise UnknownAsset(f"{name[:60]!a} is not the name of an asset: write GROUP.NAME, for example SAP.PASSWORD.")
    return name.upper()


def _decoded(value: bytes) -> str | None:
    # The error of a failed decoding carries the whole value, so it ends here.
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None
