"""What can go wrong with local values, below the vault's own errors.

    Conflict
    ├── Locked         the values are there and cannot be opened now: unlock them
    ├── Damaged        the file is not what was stored here: edited, cut short, or another host's
    └── Changed        somebody else saved the same value meanwhile
    NotFound
    ├── NotDeclared    no such local asset; `near` are the names of the same bot that it resembles
    └── NotSet         the asset is declared and has no value on this host

Files that others may read, or that cannot be written, are `IdentityFileError`, as key files are.
"""

from __future__ import annotations

from vault.errors import Conflict, NotFound


class Locked(Conflict):
    """The host's key cannot be had now."""


class Damaged(Conflict):
    """The file of values is not what was stored here; it is left as it is."""


class Changed(Conflict):
    """Another process saved the value after the caller had looked at it."""


class NotDeclared(NotFound):
    """There is no such local asset."""


class NotSet(NotFound):
    """The asset has no value on this host."""
