"""The README is true: every `$` line is run, what it shows is what comes, and every bot in it runs.

Blocks of `console` are transcripts, played in their order by bash in one temporary home. Other blocks that begin
with `# NAME` are files, saved there first. In what a transcript shows `…` stands for any text of a line, and a
line that is nothing but `…` for any lines.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.services import Services
from tests.support import ROOT, clean_environment, descendants, wait_until

README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\S+\.\w+)\n")
ANYTHING = "…"
#: The heading of what bots of other worlds look like; `tests/compat` runs those.
WORLDS = "Bots that exist already"


@dataclass(frozen=True, slots=True)
class Step:
    """A line that a reader types, and the text that follows it."""

    command: str
    expected: str


def blocks(document: str, kind: str) -> list[str]:
    """The contents of the fenced blocks of a kind."""
    return [content for found, content in BLOCK.findall(document) if found == kind]


def steps(document: str) -> list[Step]:
    """All transcripts of a document as one."""
    found: list[Step] = []
    for block in blocks(document, "console"):
        first, *rest = re.split(r"^\$ ", block, flags=re.MULTILINE)
        assert not first, f"a transcript begins with its first command, not with {first!r}"
        found += [Step(command, expected) for command, _, expected in (part.partition("\n") for part in rest)]
    return found


def files(document: str) -> dict[str, str]:
    """The files of a document, by name."""
    contents = [content for kind, content in BLOCK.findall(document) if kind != "console"]
    return {match[1]: content for content in contents if (match := FILE.match(content))}


def shows(expected: str, actual: str) -> bool:
    """Whether a transcript's text is what really came, but for spaces at the ends of lines."""
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == ANYTHING else _pattern_of(line) + r"[ \t]*\n" for line in expected.splitlines()
    )
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in actual.splitlines())) is not None


def _pattern_of(line: str) -> str:
    return ".*".join(re.escape(part) for part in line.rstrip().split(ANYTHING))


@pytest.fixture
def reader(home: Path, services: Services, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A new user's home, with the files of the README, and `botkeep` on the path."""
    before = services.kept.union(descendants(os.getpid()))
    monkeypatch.delenv("BOTKEEP_HOME")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    for name, content in files(README).items():
        path = home / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    yield home
    subprocess.run(["botkeep", "down", "--grace", "0s"], capture_output=True, check=False, timeout=60)
    wait_until(lambda: not descendants(os.getpid(), without=before), 60, "everything to have ended")


@pytest.mark.timeout(180)
def test_everything_that_the_readme_shows_is_what_comes(reader: Path) -> None:
    environment = {**clean_environment(), "BOTKEEP_RUN_AS_ROOT": "true"}
    assert len(steps(README)) >= 10
    for step in steps(README):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", step.command],
            cwd=reader,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, f"$ {step.command}\n{done.stdout}{done.stderr}"
        told = f"$ {step.command}\nwas to show\n{step.expected}\nand showed\n{done.stdout}"
        assert shows(step.expected, done.stdout), told


def test_every_bot_of_the_readme_is_added_and_run() -> None:
    commands = [step.command for step in steps(README)]
    programs = blocks(README.replace(section(README, WORLDS), ""), "python")
    assert len(programs) >= 2
    for program in programs:
        name = FILE.match(program)
        assert name is not None, f"this program has no name, so nobody runs it:\n{program}"
        path = name[1].partition("/")[0]
        (added,) = [command.split()[3] for command in commands if re.fullmatch(rf"botkeep bot add \S+ {path}", command)]
        assert any(command.startswith(f"botkeep run {added} ") and "--follow" in command for command in commands)


def test_every_snippet_of_another_world_is_run_with_its_real_packages() -> None:
    """Line by line, since the bots do more besides."""
    bots = [path.read_text().splitlines() for path in (ROOT / "tests/compat/bots").rglob("*.py")]
    snippets = blocks(section(README, WORLDS), "python")
    assert len(snippets) == 4
    for snippet in snippets:
        lines = [line.strip() for line in snippet.splitlines() if line.strip()]
        run = [bot for bot in bots if all(any(each.strip().startswith(line) for each in bot) for line in lines)]
        assert run, f"no bot of tests/compat has this in it:\n{snippet}"


def section(text: str, heading: str) -> str:
    """From a heading of the third level to the next of any level."""
    found = re.search(rf"^### {re.escape(heading)}\n.*?(?=^##)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, heading
    return found[0]


def test_the_first_transcript_has_twelve_lines() -> None:
    assert len(blocks(README, "console")[0].splitlines()) == 12


def test_no_transcript_shows_what_it_sets() -> None:
    values = re.findall(r"printf '([^']+)' \| botkeep asset set", README)
    assert len(values) == 2
    assert all(README.count(value) == 1 for value in values)


def test_the_headings_come_in_the_order_that_readers_know() -> None:
    assert re.findall(r"^## (.+)$", README, re.MULTILINE) == [
        "What it refuses to do",
        "In twelve lines",
        "Start",
        "In a browser",
        "The words",
        "Writing a bot",
        "Operating",
        "Security in one table",
        "Limits and honest numbers",
        "Tests",
        "Documents",
    ]


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ("a\n", "a\n"),
        ("a\n", "a  \n"),
        ("", ""),
        ("Job … succeeded in … s\n", "Job 17 succeeded in 0.3 s\n"),
        ("…\nend\n", "one\ntwo\nend\n"),
        ("…\nend\n", "end\n"),
        ("a [dev] (…)\n", "a [dev] (x)\n"),
    ],
)
def test_a_true_transcript_is_accepted(expected: str, actual: str) -> None:
    assert shows(expected, actual)


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ("a\n", "b\n"),
        ("a\n", ""),
        ("", "a\n"),
        ("a\n", "a\nb\n"),
        ("a\nb\n", "a\n"),
        ("a.c\n", "abc\n"),
        ("Job … succeeded in … s\n", "Job 17 failed in 0.3 s\n"),
        ("one … two\n", "one\ntwo\n"),
        ("…\nend\n", "one\nend\nmore\n"),
        ("Signed in with ***\n", "Signed in with x7!Kq-live\n"),
    ],
)
def test_a_false_transcript_is_noticed(expected: str, actual: str) -> None:
    assert not shows(expected, actual)


def test_a_transcript_is_split_into_commands_and_what_follows_them() -> None:
    document = "```console\n$ one\nfirst\nsecond\n$ two\n```\n\n```sh\n$ three\n```\n"
    assert steps(document) == [Step("one", "first\nsecond\n"), Step("two", "")]
