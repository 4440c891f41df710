"""What a bot may know about its own run: its parameters, and where its results go."""

from __future__ import annotations

import os

from botkeep.errors import BotkeepError, OutsideBotkeep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any


def parameters() -> dict[str, Any]:
    """The parameters that this job was started with, as JSON has them; references hold their values.

    Raises:
        OutsideBotkeep: when there is no parameters file.
        BotkeepError: when the file was changed and is no JSON object.
    """
    import json  # noqa: PLC0415 - a third of a small bot's start
    from pathlib import Path  # noqa: PLC0415 - the same

    if "BOTKEEP_PARAMETERS_FILE" not in os.environ:
        from botkeep import local  # noqa: PLC0415 - a bot that a runner started never comes here

        standing = local.stand()
        if standing is not None:
            return dict(standing.parameters)
    path = Path(_from_runner("BOTKEEP_PARAMETERS_FILE", "a JSON file"))
    try:
        found = json.loads(path.read_bytes())
    except ValueError:  # it would carry the whole text, values included
        found = None
    if not isinstance(found, dict):
        raise BotkeepError(f"{path} is not a JSON object; leave the file as the runner wrote it.")
    return found


def output_dir() -> Path:
    """The folder for this attempt's results.

    Raises:
        OutsideBotkeep: when there is none.
    """
    from pathlib import Path  # noqa: PLC0415 - a third of a small bot's start

    if "BOTKEEP_OUTPUT_DIR" not in os.environ:
        from botkeep import local  # noqa: PLC0415 - as above

        if local.stand() is not None:
            made = Path("botkeep-output")
            made.mkdir(exist_ok=True)
            return made
    return Path(_from_runner("BOTKEEP_OUTPUT_DIR", "a folder"))


def _from_runner(variable: str, kind: str) -> str:
    found = os.environ.get(variable)
    if not found:
        raise OutsideBotkeep(
            f"{variable} is not set: this program was not started by Botkeep. Run it with `botkeep run`; to try it "
            f"by hand, set the variable to {kind}."
        )
    return found
