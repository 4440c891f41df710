"""The stored bytes: contexts that are not canonical and junk are refused before any key is touched."""

from dataclasses import replace

import pytest

from vault.envelope import Context, Envelope
from vault.errors import Invalid, TamperedEnvelope, UnsupportedEnvelope

WORKSPACE = "0190a5c2-7b1e-7c3d-9a4f-5e6d7c8b9a01"
CONTEXT = Context(WORKSPACE, "-", "SAP", "PASSWORD", "prod", 1)
CANARY = Context("-", "-", "BOTKEEP", "CANARY", "prod", 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"workspace": "-"},
        {"workspace": ""},
        {"workspace": WORKSPACE.upper()},
        {"workspace": WORKSPACE.replace("-", "")},
        {"workspace": WORKSPACE + "\n"},
        {"bot": ""},
        {"bot": "invoices"},
        {"bot": WORKSPACE.upper()},
        {"group": "sap"},
        {"group": ""},
        {"name": "A-B"},
        {"name": "N" * 129},
        {"environment": "Prod"},
        {"environment": "test"},
        {"number": -1},
        {"number": 0},
        {"number": 2**63},
    ],
)
def test_a_context_that_is_not_canonical_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        replace(CONTEXT, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("changes", [{"workspace": WORKSPACE}, {"bot": WORKSPACE}, {"number": 1}])
def test_the_context_of_a_canary_cannot_be_that_of_a_value(changes: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        replace(CANARY, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("data", [b"", b"B", b"BKE", b"BK\x01", b"\x00" * 2000, b"BKE\x01", b"BKE\x01" + bytes(1211)])
def test_junk_is_no_envelope(data: bytes) -> None:
    with pytest.raises(TamperedEnvelope, match="restore the row"):
        Envelope.from_bytes(data)


def test_a_newer_format_says_to_upgrade() -> None:
    with pytest.raises(UnsupportedEnvelope, match=r"version 2 .* upgrade"):
        Envelope.from_bytes(b"BKE\x02" + bytes(2000))


@pytest.mark.parametrize("sizes", [(15, 1168, 12, 16), (16, 1167, 12, 16), (16, 1168, 13, 16), (16, 1168, 12, 15)])
def test_an_envelope_with_a_part_of_another_size_cannot_be_made(sizes: tuple[int, int, int, int]) -> None:
    with pytest.raises(TamperedEnvelope):
        Envelope(*(bytes(size) for size in sizes))
