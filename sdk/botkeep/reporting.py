"""What people see of a bot while it runs."""

from __future__ import annotations


def progress(fraction: float | None = None, text: str = "") -> None:
    """Say how far this run is: `fraction` from 0 to 1, `text` of at most 200 characters, either or both.

    The console shows the latest; the runner masks the values of assets in it. Saying it often costs little: what comes
    faster than twice a second is not stored one by one.

    Raises:
        Refused: for a fraction outside of 0 to 1, or a longer text.
        OutsideBotkeep, EndpointUnreachable: when there is no runner, or it does not answer.
    """
    from botkeep import endpoint  # noqa: PLC0415 - HTTP takes longer to load than most bots to start

    endpoint.tell("PUT", "/v1/progress", {"fraction": fraction, "text": text})
