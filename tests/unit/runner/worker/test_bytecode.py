"""Our part of a bot's start is compiled once, whatever the installation left undone."""

import os
import py_compile
from importlib.machinery import SourceFileLoader
from importlib.util import cache_from_source
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from runner.worker import bytecode


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "ours.py"
    source.write_text("ANSWER = 41\n")
    return source


def cached(source: Path) -> Path:
    return Path(cache_from_source(str(source)))


def is_taken(source: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the import system runs the bytecode and does not compile the source."""
    compiled: list[object] = []
    monkeypatch.setattr(SourceFileLoader, "source_to_code", lambda *_found, **_options: compiled.append(1))
    SourceFileLoader("ours", str(source)).get_code("ours")
    monkeypatch.undo()
    return not compiled


def test_what_is_missing_is_written_though_the_environment_forbids_imports_to(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    assert not is_taken(source, monkeypatch)
    bytecode.prepare([source])
    assert is_taken(source, monkeypatch)


def test_it_lies_where_bots_look_for_it_whatever_this_process_was_told(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = cached(source)
    monkeypatch.setattr("sys.pycache_prefix", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    bytecode.prepare([source])
    monkeypatch.undo()
    assert cached(source) == expected
    assert is_taken(source, monkeypatch)
    assert expected.read_bytes()[4:8] == bytes(4), "valid by time, which costs no reading of the source"


def test_what_is_there_is_left_alone_and_what_is_old_is_written_again(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bytecode.prepare([source])
    before = cached(source).stat().st_ino
    bytecode.prepare([source])
    assert cached(source).stat().st_ino == before
    source.write_text("ANSWER = 4200\n")
    bytecode.prepare([source])
    assert cached(source).stat().st_ino != before
    assert is_taken(source, monkeypatch)
    os.utime(source, (1, 1))
    bytecode.prepare([source])
    assert is_taken(source, monkeypatch)


def test_bytecode_that_is_valid_by_its_hash_is_left_alone(source: Path) -> None:
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(source), cfile=str(cached(source)), invalidation_mode=unchecked)
    before = cached(source).stat().st_ino
    bytecode.prepare([source])
    assert cached(source).stat().st_ino == before


@pytest.mark.parametrize("content", [b"", b"\0" * 16, b"nonsense"])
def test_a_broken_file_is_written_again(source: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    cached(source).parent.mkdir()
    cached(source).write_bytes(content)
    bytecode.prepare([source])
    assert is_taken(source, monkeypatch)


def test_a_folder_that_cannot_be_written_is_said_and_does_no_harm(source: Path) -> None:
    cached(source).parent.write_text("no folder")
    with capture_logs() as logs:
        bytecode.prepare([source])
    assert [(line["event"], line["file"]) for line in logs] == [("bytecode.missing", str(source))]
    assert "compileall" in logs[0]["advice"]
