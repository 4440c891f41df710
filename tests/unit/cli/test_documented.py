"""Every command that the documents name exists, with these options."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from tests.unit.cli.conftest import understood
from vault.__main__ import _parser as vault_parser

ROOT = Path(__file__).parents[3]
PAGES = sorted([ROOT / "README.md", ROOT / "deploy" / "README.md", *(ROOT / "docs").glob("*.md")])

#: A span of code on one or two lines, or a line of a console's transcript.
SPAN = re.compile(
    r"(?<!`)`((?:botkeep|python -m vault) [^`]+)`(?!`)|^\$ (?:.*\| )?((?:botkeep|python -m vault) .*)$", re.MULTILINE
)

#: What stands for words that a person puts there, or cannot be taken as it is written.
OPEN = re.compile(r"…|\.\.\.|\||\[|COMMAND|[<>]|[A-Za-z] or [A-Za-z]")


def written() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for span, line in SPAN.findall(page.read_text()):
            command = " ".join((span or line).split())
            if not OPEN.search(command):
                found.append((page.name, command))
    return sorted(set(found))


def complaint(command: str) -> str:
    """What is wrong with a command as it is written; one that lacks words was only named."""
    words = shlex.split(command)
    if words[0] == "python":
        try:
            vault_parser().parse_args([*words[3:], "--help"])
        except SystemExit as ended:
            return "" if ended.code == 0 else "usage"
    try:
        understood(words[1:])
    except typer.TyperException as error:
        message = error.format_message()
        return message if "No such" in message or "extra argument" in message else ""
    return ""


def test_a_command_of_the_documents_exists_with_these_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert {place: problem for place in written() if (problem := complaint(place[1]))} == {}
    capsys.readouterr()


def test_the_documents_name_enough_commands_for_this_to_mean_something() -> None:
    assert len(written()) > 100
