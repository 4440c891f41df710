"""Values that were typed into parameters become references, and nothing else does."""

from typing import Any

import pytest

from runner.worker.typed import Typed
from vault.decrypt import Secret
from vault.names import AssetName

LOGIN, TOKEN, SHORT = AssetName("SAP", "LOGIN"), AssetName("API", "TOKEN"), AssetName("API", "SHORT")
VALUES: dict[AssetName, Secret | None] = {
    LOGIN: Secret(b"horse-battery-9"),
    TOKEN: Secret(b"horse-battery-9-staple"),
    AssetName("SAP", "USER"): Secret(b"administrator"),
    AssetName("SAP", "PIN"): Secret(b"4711"),
    AssetName("BLOB", "FILE"): Secret(b"\xff\xfe\x00binary-value"),
    AssetName("SAP", "NONE"): None,
    SHORT: Secret("äß7ñ9ü".encode()),
}


@pytest.mark.parametrize(
    ("written", "kept", "assets"),
    [
        ({"a": "horse-battery-9"}, {"a": "{{ASSET.SAP.LOGIN}}"}, [("a", LOGIN)]),
        ({"a": ["x", {"b": "<horse-battery-9>"}]}, {"a": ["x", {"b": "<{{ASSET.SAP.LOGIN}}>"}]}, [("a", LOGIN)]),
        ({"a": "horse-battery-9-staple"}, {"a": "{{ASSET.API.TOKEN}}"}, [("a", TOKEN)]),
        ({"a": "administrator", "b": "4711", "c": 7, "d": None}, None, []),
        ({"a": "{{ASSET.SAP.LOGIN}}", "b": "horse-battery"}, None, []),
        ({"a": {"horse-battery-9": ["horse-batt", "ery-9"]}}, None, []),
        ({"a": "\ud800 horse-battery-9"}, {"a": "\ud800 {{ASSET.SAP.LOGIN}}"}, [("a", LOGIN)]),
        ({"a": "äß7ñ9ü"}, {"a": "{{ASSET.API.SHORT}}"}, [("a", SHORT)]),
        ({"a": "horse-\ud800-battery-9", "horse-battery-9": "x" * 8}, None, []),
        ({}, None, []),
    ],
)
def test_a_typed_value_becomes_a_reference(written: dict[str, Any], kept: Any, assets: list[Any]) -> None:  # noqa: ANN401
    typed = Typed.of(written, VALUES)
    assert typed.parameters == (written if kept is None else kept)
    assert list(typed.assets) == assets
    assert all("horse" not in warning for warning in typed.warnings)
    assert len(typed.warnings) == len(assets)


def test_what_would_be_no_reference_stays_as_it_was_typed() -> None:
    written = {"a": "{{ASSET.horse-battery-9"}
    assert Typed.of(written, VALUES).parameters == written
