"""The canonical archive of a bot's package: one order of bytes for one set of files.

A canonical archive is a zip with stored (never compressed) entries sorted by name, one fixed time, and mode
0644, or 0755 where any execute bit was set. Its SHA-256 is therefore the same on every machine and with every
zlib, and names the package version. A worker verifies it before each start.

Promises that what `canonical` accepts unpacks on any file system to exactly its files, below one directory.
Refuses, naming the entry: links and devices, absolute and climbing paths, backslashes, drive letters,
invisible characters, names that are not UTF-8, names that differ in case or Unicode form only, a file where a
folder is, encrypted and damaged entries, an entry whose size is not the declared one, more than 64 MiB or
10,000 files.
Leaves out what no bot needs: version control, virtual environments, caches and compiled Python.

    RunnerError
    ├── Invalid
    │   └── PackageInvalid
    └── PackageTampered
"""

from __future__ import annotations

import hashlib
import hmac
import io
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from runner.dependencies import Dependencies, find_dependencies
from runner.errors import Invalid, RunnerError
from runner.manifest import Manifest, read_manifest

MAX_SIZE = 64 * 2**20
MAX_FILES = 10_000

#: Bytes of a zip's own tables, beside the content: 10,000 names of 500 bytes, twice. Bounds the memory of a
#: hostile table, which the standard library reads whole.
MAX_TABLES = 16 * 2**20

#: Linux: NAME_MAX is 255 bytes; a path this long still fits into PATH_MAX below any sensible root.
MAX_PART, MAX_NAME, MAX_DEPTH = 255, 1024, 32

#: Folders and endings that are left out of every package, from whatever side it comes.
LEFT_OUT = frozenset(
    {".git", ".hg", ".svn", ".venv", ".tox", "__pycache__", "__MACOSX", ".DS_Store"}
    | {".mypy_cache", ".pytest_cache", ".ruff_cache"}
)
LEFT_OUT_ENDINGS = (".pyc", ".pyo")

#: The first time that a zip can hold (APPNOTE.TXT 4.4.6, MS-DOS format).
_TIME = (1980, 1, 1, 0, 0, 0)
_END, _END_ZIP64 = b"PK\x05\x06", b"PK\x06\x07"


class PackageInvalid(Invalid):
    """The files cannot be a package; the message names the entry and what to do about it."""


class PackageTampered(RunnerError):
    """The stored bytes of a package are not those that were registered; nothing of it may run."""


class Listed(TypedDict):
    """What is known of one file of a package beside its content."""

    size: int
    digest: str
    executable: bool


@dataclass(frozen=True, slots=True)
class Package:
    """One immutable package version. `digest` is the SHA-256, in hex, of `content`; `files` is sorted."""

    content: bytes = field(repr=False)
    digest: str
    files: tuple[str, ...]
    manifest: Manifest
    dependencies: Dependencies | None
    #: Of each file its size in bytes, its SHA-256 in hex, and whether it is a program.
    listing: Mapping[str, Listed]


@dataclass(frozen=True, slots=True)
class File:
    """One file of a package."""

    content: bytes = field(repr=False)
    executable: bool


def canonical(archive: bytes) -> Package:
    """Makes a package of any zip of a bot's files; the canonical archive of a canonical archive is itself.

    Raises:
        PackageInvalid: the archive holds something refused.
        ManifestInvalid: its bot.toml does, or nothing says what to start.
        RequirementInvalid: its declared dependencies do.
    """
    files = _read(archive)
    contents = {name: file.content for name, file in files.items()}
    manifest = read_manifest(contents)
    dependencies = find_dependencies(contents, entry=manifest.entry, requirements=manifest.requirements)
    content = _write(files)
    listing = {name: _listed(file) for name, file in files.items()}
    return Package(content, hashlib.sha256(content).hexdigest(), tuple(files), manifest, dependencies, listing)


def pack(path: Path) -> bytes:
    """Packs one Python file, or a directory, into a canonical archive without looking at what it means.

    Raises:
        PackageInvalid: there is no such file, it holds a link or a device, or is too large.
    """
    if path.is_dir():
        paths = dict(_walk(path, ""))
    elif path.is_file() and path.suffix == ".py":
        paths = {path.name: path}
    else:
        raise PackageInvalid(f"{str(path)!r} is neither a .py file nor a directory; name one of the two.")
    _check_names(paths)
    _check_amount(found.stat().st_size for found in paths.values())
    files = {name: File(found.read_bytes(), bool(found.stat().st_mode & 0o111)) for name, found in paths.items()}
    return _write(dict(sorted(files.items(), key=_order)))


def verify(content: bytes, digest: str) -> None:
    """Returns when `content` has this digest.

    Raises:
        PackageTampered: it has another.
    """
    actual = hashlib.sha256(content).hexdigest()
    if not hmac.compare_digest(actual, digest):
        raise PackageTampered(
            f"The stored package is not the one that was registered: its SHA-256 is {actual}, not {digest}. "
            "Nothing was started. Add the bot again, and find out who changed the file."
        )


def files_of(content: bytes) -> dict[str, File]:
    """The files of an archive, checked and sorted by name.

    Raises:
        PackageInvalid: the bytes are no package; verify them first.
    """
    return _read(content)


def _listed(file: File) -> Listed:
    digest = hashlib.sha256(file.content).hexdigest()
    return {"size": len(file.content), "digest": digest, "executable": file.executable}


def _write(files: Mapping[str, File]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, file in files.items():
            info = zipfile.ZipInfo(name, _TIME)
            info.create_system = 3  # Unix, so that the mode counts
            info.external_attr = (stat.S_IFREG | (0o755 if file.executable else 0o644)) << 16
            archive.writestr(info, file.content)
    return buffer.getvalue()


def _read(archive: bytes) -> dict[str, File]:
    """The files of a zip, checked and sorted by name."""
    listed = _entries(archive)
    everything = {info.orig_filename for info in listed}
    entries: dict[str, zipfile.ZipInfo] = {}
    for info in listed:
        name = info.orig_filename
        if _left_out(name, everything):
            continue
        if name in entries:
            raise PackageInvalid(f"{_quoted(name)} is in the archive twice; keep one of the two.")
        _check_entry(info)
        entries[name] = info
    _check_names(entries)
    files = {name: info for name, info in entries.items() if not name.endswith("/")}
    _check_amount(info.file_size for info in files.values())
    ordered = sorted(files.items(), key=_order)
    return {name: File(_content(archive, info), bool(info.external_attr >> 16 & 0o111)) for name, info in ordered}


def _entries(archive: bytes) -> list[zipfile.ZipInfo]:
    if len(archive) > MAX_SIZE + MAX_TABLES:
        raise _too_large()
    # Without a comment the end record is the last 22 bytes: nothing that two readers could disagree about.
    if archive[-22:-18] != _END or archive[-2:] != b"\0\0" or archive[-42:-38] == _END_ZIP64:
        raise PackageInvalid("This is not a zip archive, or has a comment or the ZIP64 extension; send a plain zip.")
    count, size = struct.unpack("<HL", archive[-12:-6])
    if count > 2 * MAX_FILES or size > MAX_TABLES // 2:
        raise PackageInvalid(f"The archive lists {count:,} entries; a package may have {MAX_FILES:,} files.")
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            entries = opened.infolist()
    except UnicodeDecodeError as error:
        name = bytes(error.object).decode(errors="backslashreplace")
        raise PackageInvalid(f"The name {_quoted(name)} is not UTF-8; rename the file.") from None
    except (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError) as error:
        raise PackageInvalid(f"The zip archive is damaged ({error}); make it again.") from None
    return entries


def _check_entry(info: zipfile.ZipInfo) -> None:
    name = _quoted(info.orig_filename)
    kind = stat.S_IFMT(info.external_attr >> 16)
    if info.flag_bits & 0x41:
        raise PackageInvalid(f"{name} is encrypted; make the archive without a password.")
    if kind not in (0, stat.S_IFDIR if info.orig_filename.endswith("/") else stat.S_IFREG):
        raise _special(info.orig_filename)
    if not info.flag_bits & 0x800 and not info.orig_filename.isascii():
        raise PackageInvalid(f"The name {name} is not marked as UTF-8; rename it, or let Botkeep make the archive.")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise PackageInvalid(f"{name} is compressed in an unusual way; use 'deflate' or none.")


def _content(archive: bytes, info: zipfile.ZipInfo) -> bytes:
    """Reads one entry. Inflates at most one byte more than declared, so that a bomb stays small."""
    start = info.header_offset
    header = archive[start : start + 30]
    if len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise _damaged(info)
    start += 30 + sum(struct.unpack("<HH", header[26:30]))
    packed = archive[start : start + info.compress_size]
    if info.compress_type == zipfile.ZIP_DEFLATED:
        inflating = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            content = inflating.decompress(packed, info.file_size + 1)
        except zlib.error:
            raise _damaged(info) from None
    else:
        content = packed
    if len(content) != info.file_size or zlib.crc32(content) != info.CRC:
        raise _damaged(info)
    return content


def _check_amount(sizes: Iterable[int]) -> None:
    listed = list(sizes)
    if len(listed) > MAX_FILES:
        raise PackageInvalid(f"The package has {len(listed):,} files; it may have {MAX_FILES:,}.")
    if sum(listed) > MAX_SIZE:
        raise _too_large()


def _check_names(names: Iterable[str]) -> None:
    """Refuses names that are unsafe, and names that would meet on some file system."""
    spelled: dict[str, tuple[str, bool]] = {}
    for name in sorted(names):
        _check_name(name)
        is_folder, parts = name.endswith("/"), name.rstrip("/").split("/")
        for depth in range(1, len(parts) + 1):
            path, folder = "/".join(parts[:depth]), is_folder or depth < len(parts)
            folded = unicodedata.normalize("NFC", path.casefold())
            other, other_folder = spelled.setdefault(folded, (path, folder))
            if other != path:
                both = f"{_quoted(other)} and {_quoted(path)}"
                raise PackageInvalid(f"{both} differ in case or Unicode form only; rename one.")
            if folder != other_folder:
                raise PackageInvalid(f"{_quoted(path)} is both a file and a folder; rename one.")


def _check_name(name: str) -> None:
    path = name.removesuffix("/")
    parts = path.split("/")
    if path.startswith("/") or re.match(r"[A-Za-z]:", path):
        problem = "is an absolute path"
    elif "\\" in path:
        problem = "has a backslash; folders are separated by /"
    elif ".." in parts or "." in parts or "" in parts:
        problem = "has an empty, . or .. part"
    elif any(unicodedata.category(letter) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for letter in path):
        problem = "has an invisible character"
    elif len(path.encode()) > MAX_NAME or max(len(part.encode()) for part in parts) > MAX_PART:
        problem = f"is longer than {MAX_NAME} bytes, or {MAX_PART} in one part"
    elif len(parts) > MAX_DEPTH:
        problem = f"is more than {MAX_DEPTH} folders deep"
    else:
        return
    raise PackageInvalid(f"The name {_quoted(name)} {problem}; rename the file.")


def _left_out(name: str, names: AbstractSet[str]) -> bool:
    parts = name.split("/")
    folders = ("/".join(parts[:depth]) for depth in range(1, len(parts)))
    return (
        name.endswith(LEFT_OUT_ENDINGS)
        or not LEFT_OUT.isdisjoint(parts)
        or any(f"{folder}/pyvenv.cfg" in names for folder in folders)
    )


def _walk(directory: Path, prefix: str) -> Iterator[tuple[str, Path]]:
    for entry in sorted(directory.iterdir()):
        name = prefix + entry.name
        if entry.name in LEFT_OUT or entry.name.endswith(LEFT_OUT_ENDINGS):
            continue
        if entry.is_symlink() or not (entry.is_dir() or entry.is_file()):
            raise _special(name)
        if entry.is_file():
            yield name, entry
        elif not (entry / "pyvenv.cfg").exists():
            yield from _walk(entry, f"{name}/")


def _order(item: tuple[str, object]) -> bytes:
    return item[0].encode()


def _quoted(name: str) -> str:
    """`repr` escapes what a terminal could take for a command."""
    return repr(name if len(name) <= 120 else f"{name[:119]}…")


def _special(name: str) -> PackageInvalid:
    return PackageInvalid(f"{_quoted(name)} is a link or a special file; put the file itself into the package.")


def _damaged(info: zipfile.ZipInfo) -> PackageInvalid:
    return PackageInvalid(
        f"{_quoted(info.orig_filename)} does not hold the {info.file_size:,} bytes that the archive claims; "
        "make the archive again."
    )


def _too_large() -> PackageInvalid:
    return PackageInvalid(f"The package has more than {MAX_SIZE // 2**20} MiB; keep data out of it.")
