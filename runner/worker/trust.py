"""Whose certificates the builds of virtual environments trust: the machine's, as every other program on it does.

uv brings a list of its own, with which a package mirror that an organisation signs itself cannot be reached
(docs.astral.sh/uv/concepts/authentication/certificates). Where the machine has no certificates, uv's list stays.
"""

from __future__ import annotations

import ssl
from pathlib import Path


def system_certificates(cafile: str | None = None, capath: str | None = None) -> dict[str, str]:
    """The variable that makes uv trust the machine's certificates; none where there are none.

    `cafile` and `capath` are where OpenSSL looks for them, by default as Python was built.
    """
    if cafile is None and capath is None:
        paths = ssl.get_default_verify_paths()
        cafile, capath = paths.cafile, paths.capath
    there = (cafile is not None and Path(cafile).is_file()) or (capath is not None and _holds_any(Path(capath)))
    return {"UV_SYSTEM_CERTS": "true"} if there else {}


def _holds_any(folder: Path) -> bool:
    try:
        return next(folder.iterdir(), None) is not None
    except OSError:
        return False
