"""What is taken from an output folder: plain files of the bot, masked; everything else is named."""

import os
import uuid
from pathlib import Path

import pytest

from runner.stores import Store, directory
from runner.worker import collection
from runner.worker.collection import Collected
from runner.worker.masker import Masker

JOB = uuid.UUID(int=7)
VALUE = b"Tr0ub4dor-canary"
MASKER = Masker([("SAP.PASSWORD", VALUE)])


@pytest.fixture
def output(tmp_path: Path) -> Path:
    folder = tmp_path / "output"
    folder.mkdir()
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return directory(tmp_path / "store")


def collect(output: Path, store: Store, *, most: int = 1_000_000) -> Collected:
    return collection.collect(output, MASKER, store=store, job_id=JOB, attempt=1, most=most)


def content(store: Store, number: int) -> bytes:
    return b"".join(store.artefact(JOB, 1, number))


def test_an_empty_folder_costs_nothing(output: Path, store: Store, tmp_path: Path) -> None:
    assert collect(output, store) == Collected()
    assert not (tmp_path / "store").exists()


def test_a_text_is_masked_across_blocks(output: Path, store: Store) -> None:
    (output / "a.txt").write_bytes(b"x" * (65536 - 5) + VALUE + b" end " + VALUE)
    (found,) = collect(output, store).files
    assert content(store, 0) == b"x" * (65536 - 5) + b"*** end ***"
    assert (found.masked, found.withheld, found.size) == (True, None, 65536 - 5 + 11)


@pytest.mark.parametrize("form", [VALUE, VALUE.decode().encode("utf-16-le"), VALUE.hex().encode()])
def test_a_binary_file_with_a_value_is_withheld_and_not_stored(
    output: Path, store: Store, tmp_path: Path, form: bytes
) -> None:
    (output / "a.bin").write_bytes(b"\0" + b"y" * 200_000 + form)
    (found,) = collect(output, store).files
    assert found.withheld is not None
    assert (found.size, found.digest) == (0, "")
    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file()]


def test_a_binary_file_without_a_value_is_kept_as_it_is(output: Path, store: Store) -> None:
    whole = os.urandom(300_000)
    (output / "a.bin").write_bytes(b"\0" + whole)
    (found,) = collect(output, store).files
    assert (found.masked, found.withheld) == (False, None)
    assert content(store, 0) == b"\0" + whole


def test_links_and_what_is_no_file_are_named_and_not_taken(output: Path, store: Store, tmp_path: Path) -> None:
    (tmp_path / "foreign").write_text("foreign")
    (output / "link").symlink_to(tmp_path / "foreign")
    (output / "folder").symlink_to(tmp_path)
    os.link(tmp_path / "foreign", output / "hard")
    os.mkfifo(output / "pipe")
    found = collect(output, store)
    assert found.files == []
    assert [sentence.partition(" was")[0] for sentence in found.refused] == [
        f"The artefact {name}" for name in ("folder", "hard", "link", "pipe")
    ]


def test_a_folder_that_became_a_link_is_not_followed(output: Path, store: Store, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("foreign")
    output.rmdir()
    output.symlink_to(tmp_path / "elsewhere")
    found = collect(output, store)
    assert found.files == []
    assert "replaced by a link" in found.refused[0]


def test_limits_are_kept_and_said(output: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "MOST_FILES", 3)
    monkeypatch.setattr(collection, "DEEPEST", 1)
    for number in range(20):
        (output / f"{number:02}").write_bytes(b"x" * (1 if number else 500))
    (output / "a" / "b").mkdir(parents=True)
    (output / "a" / "b" / "deep").write_text("x")
    found = collect(output, store, most=100)
    assert [kept.path for kept in found.files] == ["01", "02", "03"]
    assert "together they have more than 100 bytes" in found.refused[0]
    assert "there are more than 3" in found.refused[1]
    assert found.refused[-1] == "8 further artefacts were not kept."


def test_names_are_masked_and_cannot_steer_a_terminal(output: Path, store: Store) -> None:
    (output / f"a-{VALUE.decode()}").write_text("1")
    (output / f"b-{VALUE.decode()}\x1b[2J").write_text("2")
    (output / "c\nd").write_text("3")
    os.close(os.open(os.fsencode(output) + b"/e\xff", os.O_CREAT | os.O_WRONLY))
    found = collect(output, store)
    assert [kept.path for kept in found.files] == ["a-***", "b-***\\x1b[2J", "c\\nd", "e\\xff"]


def test_two_names_that_are_one_when_masked_are_not_mixed_up(output: Path, store: Store) -> None:
    (output / VALUE.decode()).write_text("1")
    (output / VALUE.hex()).write_text("2")
    found = collect(output, store)
    assert [kept.path for kept in found.files] == ["***"]
    assert "another one has this name" in found.refused[0]
