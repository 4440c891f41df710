"""The archive of a bot holds its files and nothing that could reach outside them."""

import io
import os
import zipfile
from pathlib import Path

import pytest

from cli import archive as archives
from cli.archive import archive
from cli.errors import NotFound, Refused
from runner import archive as server


@pytest.fixture
def bot(tmp_path: Path) -> Path:
    folder = tmp_path / "bot"
    folder.mkdir()
    (folder / "bot.toml").write_text('name = "bot"\nentry = "main.py"\n')
    (folder / "main.py").write_text("print(1)\n")
    return folder


def names(content: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        return opened.namelist()


def test_what_tools_leave_behind_is_left_out(bot: Path) -> None:
    left = (
        ".git/config",
        "__pycache__/main.pyc",
        ".venv/bin/python",
        ".tox/x",
        ".DS_Store",
        "lib/old.pyc",
        "lib/old.pyo",
    )
    for path in (*left, "lib/data.csv"):
        (bot / path).parent.mkdir(parents=True, exist_ok=True)
        (bot / path).write_text("x")
    (bot / ".venv" / "link").symlink_to("/")
    assert names(archive(bot)) == ["bot.toml", "main.py", "lib/data.csv"]


def test_a_virtual_environment_of_any_name_is_left_out_with_its_links(bot: Path) -> None:
    (bot / "lib" / "tools" / "bin").mkdir(parents=True)
    (bot / "lib" / "tools" / "pyvenv.cfg").touch()
    (bot / "lib" / "tools" / "bin" / "python").symlink_to("/usr/bin/python3")
    (bot / "lib" / "tools" / "lib64").symlink_to("/usr/lib")
    assert names(archive(bot)) == ["bot.toml", "main.py"]


def test_client_and_server_leave_out_the_same(bot: Path) -> None:
    assert (archives.LEFT_OUT, archives.LEFT_OUT_ENDINGS) == (server.LEFT_OUT, server.LEFT_OUT_ENDINGS)
    assert (archives.MAX_BYTES, archives.MAX_FILES) == (server.MAX_SIZE, server.MAX_FILES)
    for folder in (*server.LEFT_OUT, "kept", "env", "old.pyc"):
        (bot / folder / "deeper").mkdir(parents=True)
        (bot / folder / "deeper" / "file.py").touch()
    for name in (*server.LEFT_OUT, "old.pyo", "kept.pyx"):
        (bot / "kept" / "deeper" / name).touch()
    (bot / "env" / "pyvenv.cfg").touch()
    package = server.canonical(server.pack(bot))
    assert sorted(names(archive(bot))) == sorted(package.files)
    assert server.canonical(archive(bot)).digest == package.digest


def test_the_same_files_make_the_same_bytes(bot: Path) -> None:
    first = archive(bot)
    os.utime(bot / "main.py", (1, 1))
    assert archive(bot) == first


def test_a_program_stays_executable(bot: Path) -> None:
    (bot / "main.py").chmod(0o700)
    with zipfile.ZipFile(io.BytesIO(archive(bot))) as opened:
        modes = {entry.filename: entry.external_attr >> 16 & 0o777 for entry in opened.infolist()}
    assert modes == {"bot.toml": 0o644, "main.py": 0o755}


@pytest.mark.parametrize("target", ["/etc/passwd", "main.py", "nowhere", "/etc"])
def test_a_link_is_refused_wherever_it_points(bot: Path, target: str) -> None:
    (bot / "link").symlink_to(target)
    with pytest.raises(Refused, match="is a link"):
        archive(bot)


def test_a_pipe_is_refused_without_being_opened(bot: Path) -> None:
    os.mkfifo(bot / "fifo")
    with pytest.raises(Refused, match="not a regular file"):
        archive(bot)


def test_a_folder_without_a_manifest_and_a_file_of_another_kind_are_no_bots(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    for path in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(Refused) as refused:
            archive(path)
        assert "bot.toml" in refused.value.sentence
    with pytest.raises(NotFound):
        archive(tmp_path / "missing.py")


def test_too_much_is_refused_before_it_is_sent(bot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_FILES", 2)
    archive(bot)
    (bot / "third.py").write_text("")
    with pytest.raises(Refused, match="2 files"):
        archive(bot)
    monkeypatch.setattr(archives, "MAX_FILES", 3)
    monkeypatch.setattr(archives, "MAX_BYTES", 10)
    with pytest.raises(Refused, match="MiB"):
        archive(bot)
