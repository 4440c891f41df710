"""What a bot learns about its own run."""

import subprocess
import sys
from pathlib import Path

import botkeep
import pytest

from tests.support import ROOT


def test_parameters_are_what_the_runner_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "parameters.json"
    path.write_text('{"month": "2026-08", "limit": 3, "names": ["Zoë", null]}', encoding="utf-8")
    monkeypatch.setenv("BOTKEEP_PARAMETERS_FILE", str(path))
    assert botkeep.parameters() == {"month": "2026-08", "limit": 3, "names": ["Zoë", None]}


@pytest.mark.parametrize("content", ['["canary-in-a-list"]', '{"password": "canary-and-no-end'])
def test_broken_parameters_are_refused_without_being_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    path = tmp_path / "parameters.json"
    path.write_text(content)
    monkeypatch.setenv("BOTKEEP_PARAMETERS_FILE", str(path))
    with pytest.raises(botkeep.BotkeepError, match="not a JSON object") as caught:
        botkeep.parameters()
    assert "canary" not in str(caught.value)
    assert caught.value.__context__ is None


def test_the_output_folder_is_the_one_of_this_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOTKEEP_OUTPUT_DIR", str(tmp_path))
    assert botkeep.output_dir() == tmp_path


def test_a_program_that_nobody_started_has_neither() -> None:
    with pytest.raises(botkeep.OutsideBotkeep, match="BOTKEEP_PARAMETERS_FILE is not set"):
        botkeep.parameters()
    with pytest.raises(botkeep.OutsideBotkeep, match="BOTKEEP_OUTPUT_DIR is not set"):
        botkeep.output_dir()


def test_an_uncaught_business_error_reads_as_one() -> None:
    with pytest.raises(botkeep.BusinessError, match="invoice 7"):
        raise botkeep.BusinessError("There is no customer for invoice 7.")
    assert not issubclass(botkeep.BusinessError, botkeep.BotkeepError)


def test_importing_the_package_loads_nothing_that_is_slow() -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import botkeep; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(ROOT / "sdk")], capture_output=True, text=True, check=True
    )
    assert {"http.client", "json", "pathlib", "typing", "re"} & set(done.stdout.split()) == set()


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(botkeep.__file__).parent / "py.typed").is_file()
