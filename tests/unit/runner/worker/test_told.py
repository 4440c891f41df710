"""Lines of a running command are handed on whole, once, and within a limit that keeps the end."""

from pathlib import Path

from runner.worker.told import Told


def test_whole_lines_are_told_once_and_the_end_instead_of_what_is_too_much(tmp_path: Path) -> None:
    output, heard = tmp_path / "output", list[str]()
    told = Told(heard.append, limit=24)
    output.write_bytes(b"")
    told.look(output)
    for piece in (b"one\ntw", b"o\n", b"", b"\xff\n"):
        with output.open("ab") as file:
            file.write(piece)
        told.look(output)
    assert heard == ["", "one\n", "two\n", "", "\ufffd\n"]
    with output.open("ab") as file:
        file.write(b"x" * 5 + b"\n" + b"y" * 100 + b"\nwhy")
    told.look(output)
    told.look(output)
    assert heard[5:] == ["xxxxx\n", ""]
    told.end(output)
    assert heard[7:] == ["[101 bytes are left out]\nwhy"]


def test_a_last_line_without_an_end_is_told_at_the_end(tmp_path: Path) -> None:
    output, heard = tmp_path / "output", list[str]()
    told = Told(heard.append, limit=100)
    output.write_bytes(b"one\nkilled in the mid")
    told.look(output)
    told.end(output)
    told.end(output)
    assert heard == ["one\n", "killed in the mid"]


def test_of_a_line_that_is_too_long_nothing_is_told(tmp_path: Path) -> None:
    """Half of a credential would be no value that a mask knows."""
    output, heard = tmp_path / "output", list[str]()
    told = Told(heard.append, limit=24)
    output.write_bytes(b"one\n" + b"x" * 100)
    told.look(output)
    told.end(output)
    assert heard == ["one\n", "[100 bytes are left out]\n"]
