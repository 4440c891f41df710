"""Stands where the runner stands, inside of this process: for developing a bot, and for its unit tests.

What is said to it is kept in lists. It promises the same answers and the same refusals as a runner where they are about
names, values and states, and masks nothing: there is no log.
"""

from __future__ import annotations

import difflib

from botkeep.errors import NoValue, Refused, UnknownAsset, UnknownSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any


class StandIn:
    """Assets, parameters, rows and trays, and what the bot said."""

    def __init__(
        self,
        *,
        assets: Mapping[str, str | bytes | None] | None = None,
        parameters: Mapping[str, Any] | None = None,
        sources: Mapping[str, Iterable[Mapping[str, Any]]] | None = None,
        trays: Mapping[str, Iterable[Any]] | None = None,
        ask: Callable[[str], str | None] | None = None,
        tell: Callable[[str], object] = lambda _line: None,
    ) -> None:
        """`ask` is asked for the value of an asset that is not here; `tell` hears what the bot says, in words."""
        self._assets = {_canonical(name): value for name, value in (assets or {}).items()}
        self.parameters = dict(parameters or {})
        self._sources = {name: [dict(row) for row in rows] for name, rows in (sources or {}).items()}
        self._waiting = {tray: list(items) for tray, items in (trays or {}).items()}
        self._held: dict[str, tuple[str, Any]] = {}
        self._ask, self._tell = ask, tell
        #: What the bot gave with `output`, by key.
        self.outputs: dict[str, Any] = {}
        #: What it said with `progress`: fraction and text.
        self.progress: list[tuple[float | None, str]] = []
        #: What it asked to have masked.
        self.masked: list[bytes] = []
        #: What it set: names of assets and their values.
        self.written: dict[str, bytes] = {}
        #: How its work items went: data, and `done`, `business` or `application`.
        self.settled: list[tuple[Any, str]] = []

    def names(self) -> list[str]:
        """The names of all assets."""
        return sorted(self._assets)

    def value(self, asset: str) -> bytes:
        """The value of an asset; raises what a runner's answer raises."""
        if asset not in self._assets and self._ask is not None:
            answer = self._ask(asset)
            if answer is not None:
                self._assets[asset] = answer
        if asset not in self._assets:
            near = difflib.get_close_matches(asset, self._assets, 3)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise UnknownAsset(f"This bot sees no asset {asset}.{hint}")
        value = self._assets[asset]
        if value is None:
            raise NoValue(f"{asset} has no value in this environment.")
        return value.encode() if isinstance(value, str) else value

    def write(self, asset: str, value: bytes) -> None:
        """Keep a value."""
        self._assets[asset] = self.written[asset] = value
        self._tell(f"{asset} is set")

    def mask(self, value: bytes) -> bool:
        """Keep that it is to be masked."""
        self.masked.append(value)
        return len(value) >= 4

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The rows of a data source."""
        if name not in self._sources:
            raise UnknownSource(f"There is no data source {name}; there are {', '.join(self._sources) or 'none'}.")
        return [dict(row) for row in self._sources[name]]

    def waiting(self, tray: str) -> list[Any]:
        """The data of the items that wait in a tray."""
        return list(self._waiting.get(tray, []))

    def tell(self, path: str, body: Any) -> Any:  # noqa: ANN401 - JSON
        """What a runner does with what a bot says."""
        _, _, *parts = path.split("/")
        if parts == ["progress"]:
            return self._progressed(body)
        if parts[0] == "results":
            self.outputs[parts[1]] = body
            return self._tell(f"{parts[1]} = {body!r}")
        if parts == ["work-items"]:
            self._waiting.setdefault(body["tray"], []).append(body["data"])
            self._tell(f"a work item in {body['tray']}: {body['data']!r}")
            return {"id": f"item-{len(self._waiting[body['tray']])}"}
        if parts == ["work-items", "reservation"]:
            return self._reserve(body["tray"])
        return self._settle(parts[1], parts[2], body)

    def _progressed(self, body: dict[str, Any]) -> None:
        fraction, text = body["fraction"], body["text"]
        if fraction is not None and not 0 <= fraction <= 1:
            raise Refused("fraction: it is from 0 to 1.")
        if len(text) > 200:
            raise Refused("text: it has at most 200 characters.")
        self.progress.append((fraction, text))
        self._tell(f"{'' if fraction is None else f'{fraction:.0%} '}{text}")

    def _reserve(self, tray: str) -> dict[str, Any] | None:
        waiting = self._waiting.get(tray)
        if not waiting:
            return None
        item_id = f"item-{tray}-{len(self._held) + len(self.settled)}"
        self._held[item_id] = (tray, waiting.pop(0))
        return {"id": item_id, "data": self._held[item_id][1], "reference": None, "tries": 1, "deadline": None}

    def _settle(self, item_id: str, word: str, body: dict[str, Any]) -> None:
        if item_id not in self._held:
            raise Refused(f"Work item {item_id} is not held by this attempt (any more). Nothing was changed.")
        _tray, data = self._held.pop(item_id)
        how = "done" if word == "completion" else body["kind"]
        self.settled.append((data, how))
        self._tell(f"the work item {data!r} is {how}")


def _canonical(name: str) -> str:
    return (name if "." in name else f"GLOBAL.{name}").upper()
