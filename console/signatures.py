"""How the sender of a webhook proves who it is, and what tells its deliveries apart. Pure.

| style | header | proves | a delivery's id |
|---|---|---|---|
| `github` | `X-Hub-Signature-256: sha256=HEX` | HMAC-SHA256 of the body | `X-GitHub-Delivery` |
| `stripe` | `Stripe-Signature: t=SECONDS,v1=HEX` | HMAC-SHA256 of `SECONDS.body`, not old | the body's `id` |
| `botkeep` | `X-Botkeep-Signature`, as `stripe` | the same | the body's `id`, else what was signed |
| `plain` | `X-Botkeep-Key: KEY` | the key itself | the header that the definition names |

https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries,
https://docs.stripe.com/webhooks/signature. Promises to compare in constant time, and to answer the same for every
reason to refuse.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from scheduler.definitions import Style, Webhook

HEADERS = {
    Style.GITHUB: "X-Hub-Signature-256",
    Style.STRIPE: "Stripe-Signature",
    Style.BOTKEEP: "X-Botkeep-Signature",
    Style.PLAIN: "X-Botkeep-Key",
}

_DELIVERIES = {Style.GITHUB: "X-GitHub-Delivery"}

_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)


def proof_of(style: Style, key: bytes) -> bytes:
    """What must be kept to verify by this key: the key itself, or its digest where it is sent as it is."""
    return hashlib.sha256(key).digest() if style is Style.PLAIN else key


def verified(webhook: Webhook, headers: Mapping[str, str], body: bytes, *, proof: bytes, now: datetime) -> bool:
    """Whether whoever sent this has the key; `headers` are found by names in any case."""
    given = headers.get(webhook.header or HEADERS[webhook.style], "")
    if webhook.style is Style.PLAIN:
        return hmac.compare_digest(hashlib.sha256(given.encode()).digest(), proof)
    if webhook.style is Style.GITHUB:
        return _same(given.removeprefix("sha256="), proof, body)
    stamp, signatures = _parts(given)
    if stamp is None or abs(now.timestamp() - int(stamp)) > webhook.tolerance.total_seconds():
        return False
    # A sender that changes its key signs with the old and the new one for a while.
    return any([_same(one, proof, stamp.encode() + b"." + body) for one in signatures])  # noqa: C419 - all are compared


def delivery(webhook: Webhook, headers: Mapping[str, str], body: bytes, document: Any) -> str:  # noqa: ANN401 - any JSON
    """What the delivery is known by; the same for one that is sent again."""
    named = webhook.delivery or _DELIVERIES.get(webhook.style)
    if named is not None and headers.get(named):
        return f"delivery:{headers[named]}"
    own = document.get("id") if isinstance(document, dict) else None
    if webhook.style is not Style.GITHUB and isinstance(own, str | int):
        return f"id:{own}"
    if webhook.style is Style.PLAIN:
        return f"once:{uuid.uuid4().hex}"
    stamp, _ = _parts(headers.get(webhook.header or HEADERS[webhook.style], ""))
    return f"signed:{hashlib.sha256((stamp or '').encode() + b'.' + body).hexdigest()}"


def _parts(header: str) -> tuple[str | None, list[str]]:
    """The timestamp and the signatures of `t=…,v1=…`, at most ten."""
    pairs = [part.strip().partition("=") for part in header.split(",")[:12]]
    stamps = [value for name, _, value in pairs if name == "t" and _SECONDS.fullmatch(value)]
    return (stamps[0] if len(stamps) == 1 else None), [value for name, _, value in pairs if name == "v1"][:10]


def _same(given: str, key: bytes, signed: bytes) -> bool:
    wanted = hmac.new(key, signed, hashlib.sha256).hexdigest()
    return hmac.compare_digest(wanted.encode(), given.encode())
