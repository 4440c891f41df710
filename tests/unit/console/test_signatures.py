"""Signatures, with the vectors that senders publish; pure."""

from datetime import UTC, datetime

import pytest

from console.signatures import delivery, proof_of, verified
from scheduler.definitions import Style, Webhook

NOW = datetime(2031, 3, 3, tzinfo=UTC)


def hook(style: str, **more: object) -> Webhook:
    return Webhook.model_validate({"style": style, **more})


def test_the_vector_that_github_publishes_is_verified() -> None:
    # docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    proof = proof_of(Style.GITHUB, b"It's a Secret to Everybody")
    given = {"X-Hub-Signature-256": signature}
    assert verified(hook("github"), given, b"Hello, World!", proof=proof, now=NOW)
    assert not verified(hook("github"), given, b"Hello, World?", proof=proof, now=NOW)


@pytest.mark.parametrize(
    "header", ["", "t=1", "v1=00", "t=1,t=2,v1=00", "t=x,v1=00", "t=99999999999999,v1=00", "t=-1,v1=00", ",,,=,"]
)
def test_a_malformed_signature_is_only_wrong(header: str) -> None:
    assert not verified(hook("stripe"), {"Stripe-Signature": header}, b"{}", proof=b"k" * 20, now=NOW)


def test_a_plain_key_is_compared_by_its_digest() -> None:
    proof = proof_of(Style.PLAIN, b"k" * 20)
    assert proof != b"k" * 20
    assert verified(hook("plain"), {"X-Botkeep-Key": "k" * 20}, b"", proof=proof, now=NOW)
    assert not verified(hook("plain"), {"X-Botkeep-Key": "k" * 19}, b"", proof=proof, now=NOW)
    assert verified(hook("plain", header="X-Mine"), {"X-Mine": "k" * 20}, b"", proof=proof, now=NOW)


def test_what_tells_deliveries_apart() -> None:
    assert delivery(hook("github"), {"X-GitHub-Delivery": "7"}, b"{}", {}) == "delivery:7"
    assert delivery(hook("stripe"), {}, b"", {"id": "evt"}) == "id:evt"
    assert delivery(hook("plain", delivery="X-Id"), {"X-Id": "9"}, b"", {"id": "evt"}) == "delivery:9"
    signed = [delivery(hook("botkeep"), {"X-Botkeep-Signature": f"t={t},v1=0"}, b"{}", {}) for t in (1, 1, 2)]
    assert signed[0] == signed[1] != signed[2]
    assert delivery(hook("plain"), {}, b"{}", {}) != delivery(hook("plain"), {}, b"{}", {})
