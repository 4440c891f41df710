"""A runner that is started with what makes no sense says which setting, in one sentence, and does not start."""

import pytest

from runner.worker.__main__ import INVALID, main


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> "Refused":
    return Refused(monkeypatch, capsys)


class Refused:
    """Starts a runner in this process and gives back what it said."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys
        monkeypatch.setenv("BOTKEEP_RUN_AS_ROOT", "true")

    def __call__(self, *words: str, **settings: str) -> str:
        for name, value in settings.items():
            self._monkeypatch.setenv(f"BOTKEEP_{name.upper()}", value)
        assert main(words) == INVALID
        said = self._capsys.readouterr().err
        assert said.count("\n") == 1, said
        return said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--environment production", "environment"),
        ("--environment PROD", "environment"),
        ("--group no/such", "A runner group is"),
        ("--group=", "A runner group is"),
        ("--group " + "x" * 49, "A runner group is"),
        ("--concurrency 0", "BOTKEEP_CONCURRENCY"),
        ("--concurrency -3", "BOTKEEP_CONCURRENCY"),
        ("--concurrency 513", "BOTKEEP_CONCURRENCY"),
        ("--name=", "BOTKEEP_RUNNER_NAME"),
        ("--name a/b", "letters, digits, dots, hyphens or underscores"),
        ("--name a@b", "letters, digits, dots, hyphens or underscores"),
        ("--label linux", "NAME=VALUE"),
        ("--label os=linux --label os=plan9", "given twice"),
        ("--label /=x", "has no name"),
    ],
)
def test_words_that_make_no_sense_are_named(refused: Refused, words: str, sentence: str) -> None:
    assert sentence in refused(*words.split())


@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [
        ("environments", "prod", 'BOTKEEP_ENVIRONMENTS is not a JSON list; write it like ["dev", "prod"]'),
        ("environments", "[]", "at least one environment"),
        ("groups", "[]", "at least one group"),
        ("groups", "default", "BOTKEEP_GROUPS is not a JSON list"),
        ("labels", "os=linux", 'BOTKEEP_LABELS is not a JSON object; write it like {"os": "linux"}'),
        ("labels", '["os"]', "BOTKEEP_LABELS: Input should be a valid dictionary"),
        ("labels", '{"os": 3}', "BOTKEEP_LABELS: Input should be a valid string"),
        ("labels", '{"": "x"}', "has no name"),
        ("concurrency", "many", "BOTKEEP_CONCURRENCY"),
    ],
)
def test_variables_that_make_no_sense_are_named(refused: Refused, setting: str, value: str, sentence: str) -> None:
    assert sentence in refused(**{setting: value})
