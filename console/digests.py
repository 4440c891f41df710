"""What is stored of a random text that somebody shows again: its SHA-256.

A fast hash is enough, since 256 random bits cannot be guessed whatever the hash costs. Rows are found by an index on
the digest and not compared in constant time: timing could tell about the digest of what was sent, and nobody can choose
a text by its digest.
"""

from __future__ import annotations

import hashlib
import secrets


def fresh() -> str:
    """A new text of 256 random bits: 43 letters, digits, hyphens and underscores."""
    return secrets.token_urlsafe(32)


def digest(text: str) -> str:
    """What is stored of it: SHA-256 in hex."""
    return hashlib.sha256(text.encode()).hexdigest()
