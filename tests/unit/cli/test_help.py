"""What help says is true: every example is a command line that is understood; and what a shell is offered."""

import shlex

import pytest

from cli.__main__ import run
from cli.examples import EXAMPLES
from tests.unit.cli.conftest import Answer, Botkeep, Console, understood

LINES = [(command, example) for command, examples in EXAMPLES.items() for example in examples]


@pytest.mark.parametrize(("command", "example"), LINES)
def test_an_example_is_a_command_line_that_is_understood(command: str, example: str) -> None:
    words = shlex.split(example.replace('"$(', "").replace(')"', ""), comments=True)
    words = words[words.index("botkeep") + 1 :]
    words = words[: words.index(">")] if ">" in words else words
    assert " ".join(words).startswith(command)
    understood(words)


def test_help_shows_the_examples_a_line_each(botkeep: Botkeep) -> None:
    shown = botkeep("asset", "set", "--help").out
    assert (
        "\n  Examples:\n    botkeep asset set SAP.PASSWORD --env prod\n    pass show sap/prod | botkeep asset set"
        in shown
    )


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("botkeep ass", "asset"),
        ("botkeep asset set SAP.PASSWORD --env ", "dev staging prod"),
        ("botkeep run in", "invoices"),
        ("botkeep asset show sap.u", "sap.user"),
    ],
)
def test_a_shell_is_offered_commands_choices_and_names(
    console: Console,
    typed: str,
    offered: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    console.on("GET", "/api/v1/bots", Answer({"items": [{"name": "invoices"}, {"name": "report"}], "next": None}))
    assets = [{"asset": "SAP.PASSWORD"}, {"asset": "SAP.USER"}]
    console.on("GET", "/api/v1/assets", Answer({"items": assets, "next": None}))
    for name, value in (
        ("_BOTKEEP_COMPLETE", "complete_bash"),
        ("COMP_WORDS", typed),
        ("COMP_CWORD", str(typed.count(" "))),
    ):
        monkeypatch.setenv(name, value)
    assert run([]) == 0
    assert capsys.readouterr().out.split() == offered.split()


def test_without_a_console_a_shell_is_offered_no_names(
    home: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_BOTKEEP_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "botkeep run ")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert (run([]), capsys.readouterr()) == (0, ("\n", ""))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_lines_for_a_shell_ask_botkeep(botkeep: Botkeep, shell: str) -> None:
    done = botkeep("completion", shell)
    assert (done.status, "_BOTKEEP_COMPLETE" in done.out) == (0, True)
