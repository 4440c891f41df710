"""The files that pages are made of, from memory, at addresses that change with their content.

An address holds a digest of its file, so that a browser may keep it for a year and never has an old one. A page
that was made before an upgrade still gets the file as it is now, which is then not kept.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

#: Where they lie.
FOLDER = Path(__file__).parent.parent / "static"

_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}

router = APIRouter()


@dataclass(frozen=True, slots=True)
class File:
    """One file: what it is, and both ways to send it."""

    kind: str
    digest: str
    content: bytes
    packed: bytes


@cache
def files() -> dict[str, File]:
    """Every file by name, read once."""
    return {path.name: _read(path) for path in sorted(FOLDER.iterdir()) if path.suffix in _TYPES}


def address(name: str) -> str:
    """Where a page finds a file.

    Raises:
        KeyError: when there is no such file.
    """
    return f"/static/{files()[name].digest}/{name}"


@router.get("/static/{digest}/{name}")
def static(request: Request, digest: str, name: str) -> Response:
    """One file, packed where the client takes that."""
    return _answer(request, name, kept=name in files() and files()[name].digest == digest)


@router.get("/favicon.ico")
def icon(request: Request) -> Response:
    """What browsers ask for by themselves."""
    return _answer(request, "icon.svg", kept=False)


def _answer(request: Request, name: str, *, kept: bool) -> Response:
    if name not in files():
        raise HTTPException(404)
    file = files()[name]
    packed = "gzip" in request.headers.get("accept-encoding", "")
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable" if kept else "no-cache",
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
        **({"Content-Encoding": "gzip"} if packed else {}),
    }
    return Response(file.packed if packed else file.content, media_type=file.kind, headers=headers)


def _read(path: Path) -> File:
    content = path.read_bytes()
    return File(
        kind=_TYPES[path.suffix],
        digest=hashlib.sha256(content).hexdigest()[:16],
        content=content,
        packed=gzip.compress(content, mtime=0),
    )
