"""Any files: packed, made canonical, verified and unpacked, they are the same files; any bytes: refused."""

import io
import tempfile
import unicodedata
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.archive import PackageTampered, canonical, pack, verify
from runner.errors import Invalid
from runner.worker.unpacking import unpack

#: Two alphabets that do not meet without regard to case, so that a name is never both a file and a folder.
folders = st.text("abc\u00e9_ ", min_size=1, max_size=4).filter(lambda part: part.strip())
leaves = st.text("xyz\u4e2d.0-", min_size=1, max_size=4).filter(lambda part: part.strip(".") and part != ".pyc")
names = st.builds(lambda parents, leaf: "/".join([*parents, leaf]), st.lists(folders, max_size=3), leaves)
trees = st.dictionaries(names, st.tuples(st.binary(max_size=200), st.booleans()), max_size=8)


def zipped(tree: dict[str, tuple[bytes, bool]], *, compression: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, (content, executable) in tree.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o700 if executable else 0o600) << 16
            info.compress_type = compression
            archive.writestr(info, content)
    return buffer.getvalue()


@settings(max_examples=60)
@given(tree=trees, order=st.randoms(use_true_random=False))
def test_files_survive_the_whole_way(tree: dict[str, tuple[bytes, bool]], order: object) -> None:
    tree = {**tree, "main.py": (b"print(1)\n", False)}
    shuffled = list(tree.items())
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    package = canonical(zipped(tree, compression=zipfile.ZIP_STORED))
    assert package == canonical(zipped(dict(shuffled), compression=zipfile.ZIP_DEFLATED))
    assert canonical(package.content) == package
    verify(package.content, package.digest)
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "out"
        unpack(package.content, out)
        found = {
            path.relative_to(out).as_posix(): (path.read_bytes(), bool(path.stat().st_mode & 0o100))
            for path in out.rglob("*")
            if path.is_file()
        }
        assert found == tree
        assert pack(out) == package.content


@settings(max_examples=60)
@given(data=st.data())
def test_one_changed_byte_is_noticed(data: st.DataObject) -> None:
    package = canonical(zipped({"main.py": (b"print(1)\n", False)}, compression=zipfile.ZIP_DEFLATED))
    position = data.draw(st.integers(0, len(package.content) - 1))
    changed = bytearray(package.content)
    changed[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(PackageTampered):
        verify(bytes(changed), package.digest)


@settings(max_examples=150)
@given(data=st.data())
def test_any_damage_is_refused_or_harmless(data: st.DataObject) -> None:
    tree = {"main.py": (b"print(1)\n" * 9, False), "a/b": (b"", True)}
    archive = bytearray(zipped(tree, compression=zipfile.ZIP_DEFLATED))
    for _ in range(data.draw(st.integers(1, 4))):
        archive[data.draw(st.integers(0, len(archive) - 1))] = data.draw(st.integers(0, 255))
    try:
        package = canonical(bytes(archive))
    except Invalid:
        return
    assert canonical(package.content) == package


@settings(max_examples=150)
@given(name=st.text(min_size=1, max_size=12))
def test_any_name_is_unpacked_below_the_directory_or_refused(name: str) -> None:
    try:
        archive = zipped({name: (b"x", False), "main.py": (b"", False)}, compression=zipfile.ZIP_STORED)
        package = canonical(archive)
    except (Invalid, UnicodeEncodeError):
        return
    with tempfile.TemporaryDirectory() as scratch:
        unpack(package.content, Path(scratch) / "out")
        assert [path.name for path in Path(scratch).iterdir()] == ["out"]
        out = Path(scratch) / "out"
        files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert files == set(package.files)
    assert not any(
        unicodedata.category(letter).startswith("C") and letter < "\xa0" for file in files for letter in file
    )
