"""What a bot gives back: results that history shows and that workflows pass on."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def output(key: str, value: Any) -> None:  # noqa: ANN401 - any JSON
    """Give a result of this run: any JSON of at most 64 kB; a second one of the same key replaces the first.

    The runner masks the values of assets in it. Workflows use it as `{{STEP.name.key}}`, people see it in the job.

    Raises:
        Refused: when it is no JSON, too large, or its key is none.
        OutsideBotkeep, EndpointUnreachable: when there is no runner, or it does not answer.
    """
    from urllib.parse import quote  # noqa: PLC0415 - most bots never need it

    from botkeep import endpoint  # noqa: PLC0415 - the same

    endpoint.tell("PUT", f"/v1/results/{quote(str(key), safe='')}", value)
