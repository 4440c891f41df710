"""`botkeep source`, `run --source` and `workspace connections` against a console."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.__main__ import run
from tests.api import Api, serving
from tests.support import Stores

TOML = """
connection = "postgresql://app:{{ASSET.DB.PASSWORD}}@db.corp.example/orders"
query = "SELECT 1"
timeout = "30s"
"""


@pytest.fixture
def api(stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    with serving(stores, tmp_path) as running:
        running.set_value("DB.PASSWORD", b"a value", "dev")
        running.add_bot()
        monkeypatch.setenv("BOTKEEP_URL", running.url)
        monkeypatch.setenv("BOTKEEP_TOKEN", running.token("admin"))
        yield running


def test_a_source_goes_in_from_a_file_and_comes_out_as_it_is_stored(
    api: Api, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "orders.toml"
    config.write_text(TOML)
    assert run(["source", "list"]) == 0
    assert "No data sources yet" in capsys.readouterr().err
    assert run(["source", "add", "orders", "--kind", "sql", "--config", str(config), "--env", "dev"]) == 0
    assert "botkeep source check orders --env dev" in capsys.readouterr().out
    assert run(["source", "add", "orders", "--kind", "sql", "--config", str(config)]) == 5
    assert (
        run(["source", "add", "orders", "--kind", "sql", "--config", str(config), "--bot", "hello", "--replace"]) == 0
    )
    capsys.readouterr()
    assert run(["source", "list"]) == 0
    assert "hello" in capsys.readouterr().out
    assert run(["source", "show", "orders"]) == 0
    assert "{{ASSET.DB.PASSWORD}}" in capsys.readouterr().out
    assert run(["source", "show", "orders", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["environments"], shown["definition"]["timeout"]) == (["dev", "staging", "prod"], 30)
    assert run(["source", "check", "orders", "--env", "dev"]) == 1
    assert "botkeep runner --environment dev" in capsys.readouterr().err
    assert run(["source", "check", "orders", "--env", "dev", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["state"] == "failed"
    assert run(["source", "remove", "orders", "--json"]) == 0
    assert run(["source", "show", "orders"]) == 3


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.toml", "query = 'a'\nquery = 'b'\n", "at line 2"),
        ("a.json", '{"query": "a", "query": "b"}', "given twice"),
        ("a.json", "[1]", "no object"),
        ("a.toml", "connection = ", "a.toml"),
        ("a.toml", TOML.replace("{{ASSET.DB.PASSWORD}}", "hunter2"), "password itself"),
    ],
)
def test_a_definition_that_cannot_be_used_is_refused_without_its_content(
    api: Api, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, words: str
) -> None:
    (tmp_path / name).write_text(text)
    assert run(["source", "add", "orders", "--kind", "sql", "--config", str(tmp_path / name)]) == 5
    said = capsys.readouterr().err
    assert words in said
    assert "hunter2" not in said


def test_options_that_do_not_go_together_are_usage_errors(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["run", "hello", "--batch", "3"]) == 2
    assert run(["run", "hello", "--source", "orders", "--wait"]) == 2
    assert run(["run", "hello", "--source", "nothing"]) == 3
    assert run(["workspace", "connections", "allow"]) == 2
    capsys.readouterr()
    assert run(["workspace", "connections", "allow=*.corp.example,10.0.0.0/8", "paths="]) == 0
    assert "*.corp.example, 10.0.0.0/8" in capsys.readouterr().out
    assert run(["workspace", "connections", "allow=default", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["allow"] == ["*"]
