"""Packages on the worker: fetched once, kept under their digest, and verified from memory before each start.

What is unpacked are the very bytes that were hashed, so nothing can change in between; what the bot declares is
read from these bytes too, not from a row that could have been edited. A copy that does not match is refused,
not repaired: somebody changed it, and a person should know.
"""

from __future__ import annotations

import os
import uuid
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TypeVar

from sqlalchemy import Engine, LargeBinary, cast, select

from runner.archive import PackageTampered, canonical, files_of, verify
from runner.dependencies import Dependencies
from runner.dialects import spoken
from runner.manifest import Manifest
from runner.models import Bot, PackageBlob, PackageVersion
from runner.worker.unpacking import Listing, listing
from vault import db

#: Descriptions of versions kept in memory; they are immutable and small.
_KNOWN = 1024

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Version:
    """Which package a version is; immutable, like its row."""

    bot: str
    number: int
    digest: str


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a package says about its bot, and what it holds."""

    manifest: Manifest
    dependencies: Dependencies | None
    listed: Listing
    #: The worlds whose clients the bot brings along; see `runner.dialects`.
    dialects: frozenset[str] = frozenset()
    #: Bytes of the package.
    size: int = 0


@dataclass(frozen=True, slots=True)
class Verified:
    """A package whose bytes were compared with its digest a moment ago."""

    content: bytes = field(repr=False)
    declaration: Declaration


class PackageStore:
    """The worker's copies below `root`; shared by all its attempts."""

    def __init__(self, engine: Engine, root: Path) -> None:
        self._engine = engine
        self._root = str(root)
        self._versions: OrderedDict[uuid.UUID, Version] = OrderedDict()
        self._declared: OrderedDict[str, Declaration] = OrderedDict()
        self._lock = Lock()

    def version(self, version_id: uuid.UUID) -> Version:
        """Which package this version is."""
        known = self._versions.get(version_id)
        if known is None:
            with db.reading(self._engine) as session:
                row = session.execute(
                    select(Bot.name, PackageVersion.number, PackageVersion.digest)
                    .join(PackageVersion, PackageVersion.bot_id == Bot.id)
                    .where(PackageVersion.id == version_id)
                ).one()
            known = Version(row.name, row.number, row.digest)
            self._remember(self._versions, version_id, known)
        return known

    def load(self, digest: str) -> Verified:
        """The verified bytes of a package and what they declare.

        Raises:
            PackageTampered: when the copy on this host, or the row in the database, is not what was registered.
        """
        declared = self._declared.get(digest)
        content = self._content(digest, size=declared.size if declared else 0)
        if declared is None:
            package = canonical(content)
            declared = Declaration(
                package.manifest,
                package.dependencies,
                listing(files_of(content)),
                spoken(package.manifest, package.dependencies),
                size=len(content),
            )
            self._remember(self._declared, digest, declared)
        return Verified(content, declared)

    def _content(self, digest: str, *, size: int) -> bytes:
        path = f"{self._root}/{digest}.zip"
        try:
            content = _read(path, size)
        except FileNotFoundError:
            content = self._fetch(digest)
            _check(content, digest, where="in the database")
            _keep(Path(path), content)
            return content
        _check(content, digest, where=f"on this runner ({path})")
        return content

    def _remember(self, known: OrderedDict[K, V], key: K, value: V) -> None:
        with self._lock:
            known[key] = value
            if len(known) > _KNOWN:
                known.popitem(last=False)

    def _fetch(self, digest: str) -> bytes:
        with db.reading(self._engine) as session:
            # SQLite keeps text where an editor put it, which would be no package even to compare with its digest.
            content = session.scalar(select(cast(PackageBlob.content, LargeBinary)).where(PackageBlob.digest == digest))
        if content is None:
            raise PackageTampered(
                f"The package {digest} is not in the database any more; register the bot again from a trusted copy."
            )
        return bytes(content)


def _read(path: str, size: int) -> bytes:
    """A file's content; that of one which has `size` bytes, as expected, in one look."""
    if size:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            content = os.read(descriptor, size + 1)
        finally:
            os.close(descriptor)
        if len(content) == size:
            return content
    return Path(path).read_bytes()


def _check(content: bytes, digest: str, *, where: str) -> None:
    try:
        verify(content, digest)
    except PackageTampered:
        raise PackageTampered(
            f"The package kept {where} is not the one that was registered ({digest}). Nothing was decrypted or "
            "started. Find out who changed it, then remove it and register the bot again from a trusted copy."
        ) from None


def _keep(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
