"""Prefixes of the dialects, where each carries its token, and what a refusal looks like there. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote

from runner.dialects import ROBOCORP, ROBOTO
from runner.worker.grant import Said

#: The words of the prefixes `/compat/WORD/`, and the dialect whose token each takes.
DIALECTS = {"roboto": ROBOTO, "aws": ROBOTO, "rc": ROBOCORP}

#: Roboto's words for refusals (`roboto.exceptions`); its client tries 408, 429 and 5xx again.
_ROBOTO_CODES = {
    401: "RobotoUnauthorizedException",
    403: "RobotoUnauthorizedException",
    404: "RobotoNotFoundException",
    409: "RobotoConflictException",
}

#: The store's words; botocore tries none of these again.
_AWS_TYPES = {401: "AccessDeniedException", 403: "AccessDeniedException", 404: "ResourceNotFoundException"}

_AMAZON = "application/x-amz-json-1.1"


def word_of(path: str) -> str:
    """The word of a dialect's address, empty for Botkeep's own."""
    return path.split("/", 3)[2].partition("?")[0] if path.startswith("/compat/") else ""


def pass_of(word: str, path: str, headers: Mapping[str, str]) -> str | None:
    """The pass that a request carries where its clients send no token; `None` where they do."""
    if word == "aws":
        return headers.get("X-Amz-Security-Token", "")
    if word == "rc" and path.startswith("/compat/rc/files/"):
        return unquote(path.removeprefix("/compat/rc/files/"))
    return None


def refusal(word: str, status: int, sentence: str) -> Said:
    """A refusal as the clients of this prefix expect it."""
    if word == "roboto":
        code = _ROBOTO_CODES.get(status, "RobotoInvalidRequestException")
        # Its client tries 429 again for minutes, and what a bot asks too often stays too much.
        shown = 400 if status in {422, 429} else status
        return Said.json({"error": {"error_code": code, "message": sentence}}, status=shown)
    if word == "aws":
        kind = _AWS_TYPES.get(status, "InvalidRequestException")
        return Said.json({"__type": kind, "Message": sentence}, status=status if status >= 500 else 400, kind=_AMAZON)
    if word == "rc":
        return Said.json({"status": status, "code": str(status), "message": sentence}, status=status)
    return Said(status, sentence.encode(), "text/plain; charset=utf-8")
