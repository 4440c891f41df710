"""The passwords that a build is given by its operator and by its package, which its output may repeat. Pure.

They are no assets, and no environment of a bot holds them; but tools print the addresses that they fail to reach.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

from runner.dependencies import Dependencies
from vault.grading import too_weak

#: The user information of an address (RFC 3986, 3.2.1).
_USER_INFO = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#@\s]+)@")

#: Variables that hold a password or a token and nothing else: UV_INDEX_NAME_PASSWORD, UV_PUBLISH_TOKEN.
_TELLING = re.compile(r"(?:UV|PIP)_\w*(?:PASSWORD|TOKEN)", re.ASCII)


def given(environ: Mapping[str, str], dependencies: Dependencies | None) -> list[tuple[str, bytes]]:
    """The passwords in these variables and requirements, as a masker takes them, without those too weak to mask."""
    texts = [*environ.items(), ("a requirement", dependencies.text if dependencies else "")]
    found = [(name, word.encode(errors="surrogateescape")) for name, text in texts for word in _passwords(name, text)]
    return [(name, word) for name, word in found if not too_weak(word)]


def _passwords(name: str, text: str) -> Iterator[str]:
    if _TELLING.fullmatch(name):
        yield text
    for user_info in _USER_INFO.findall(text):
        user, colon, password = user_info.partition(":")
        written = password if colon else user  # a token alone stands where the user's name would
        yield from {written, unquote(written)}
