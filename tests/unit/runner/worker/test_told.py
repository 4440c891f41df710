"""Lines of a running command are handed on whole, once, and within a limit."""

from pathlib import Path

from runner.worker.told import Told


def test_whole_lines_are_told_once_and_no_more_than_the_limit(tmp_path: Path) -> None:
    output, heard = tmp_path / "output", list[str]()
    told = Told(heard.append, limit=20)
    output.write_bytes(b"")
    told.look(output)
    for piece in (b"one\ntw", b"o\n", b"", b"\xff\n"):
        with output.open("ab") as file:
            file.write(piece)
        told.look(output)
    assert heard == ["", "one\n", "two\n", "", "\ufffd\n"]
    with output.open("ab") as file:
        file.write(b"x" * 5 + b"\n" + b"y" * 100 + b"\n")
    told.look(output)
    told.look(output)
    assert heard[5:] == ["xxxxx\n", ""]
