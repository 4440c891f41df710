"""What a bot asks to have masked beside its assets: a session's token, a password that it made up."""

from __future__ import annotations

import os


def mask(value: str | bytes) -> bool:
    """Have `value` written as `***` in all output that follows, in every encoding, as if it were an asset's.

    True when it is masked from the next line on. False when it is not: it is too short to be told from other
    text (the job then carries a warning), or this program was not started by Botkeep, so that nobody masks.

    Raises:
        MaskRefused: when the value is larger than 8 KiB, or the job named more values than one may (1,000).
        EndpointUnreachable: when the runner does not answer.
    """
    if not isinstance(value, (str, bytes)):
        raise TypeError(f"mask takes text or bytes, not {type(value).__name__}")
    from botkeep import local  # noqa: PLC0415 - as below

    if "BOTKEEP_ENDPOINT" not in os.environ and local.stand() is None:
        return False
    from botkeep import endpoint  # noqa: PLC0415 - HTTP takes longer to load than most bots to start

    return endpoint.mask(value.encode(errors="surrogateescape") if isinstance(value, str) else value)
