"""Bots without a runner: on a laptop, and in their own unit tests."""

import json
import os
import subprocess
import sys
from pathlib import Path

import botkeep
import pytest
from botkeep import local
from botkeep.testing import fake

from tests.support import ROOT

FILE = """
[assets]
"SAP.PASSWORD" = "of-a-test-system"
API_KEY = "plain-name"
[parameters]
region = "eu"
[sources]
orders = [{ id = 1, total = 12 }]
[trays]
invoices = [{ number = 7 }]
"""

BOT = """
import json, botkeep, heptora
for item in botkeep.work_items.each("invoices"):
    with item:
        botkeep.progress(0.5, "halfway")
botkeep.output("rows", list(botkeep.source("orders")))
print(json.dumps([botkeep.assets["SAP.PASSWORD"], heptora.get_secret("API_KEY"), botkeep.parameters()]))
try:
    botkeep.assets["SAP.PASWORD"]
except botkeep.UnknownAsset as error:
    print(error)
"""


def run(folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    (folder / "heptora.py").write_text((ROOT / "sdk/botkeep/heptora.py").read_text())
    (folder / "bot.py").write_text(BOT)
    env = {"PYTHONPATH": str(ROOT / "sdk"), "PATH": os.environ["PATH"], **more}
    return subprocess.run(
        [sys.executable, "bot.py"],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=30,
        check=False,
    )


def test_a_bot_runs_on_a_laptop_with_values_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / local.FILE
    path.write_text(FILE)
    path.chmod(0o600)
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert json.loads(first) == ["of-a-test-system", "plain-name", {"region": "eu"}]
    assert second.startswith("This bot sees no asset SAP.PASWORD. Did you mean SAP.PASSWORD?")
    assert "50% halfway" in done.stderr
    assert "rows = [{'id': 1, 'total': 12}]" in done.stderr


def test_a_file_that_would_spread_is_refused(tmp_path: Path) -> None:
    path = tmp_path / local.FILE
    path.write_text(FILE)
    path.chmod(0o644)
    assert "chmod 600" in run(tmp_path).stderr
    path.chmod(0o600)
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True, capture_output=True)
    refused = run(tmp_path)
    assert "git would commit" in refused.stderr
    (tmp_path / ".gitignore").write_text(f"{local.FILE}\n")
    assert run(tmp_path).returncode == 0
    path.write_text('[assets]\n"A.B" = canary-without-quotes\n')
    broken = run(tmp_path)
    assert "is not valid TOML" in broken.stderr
    assert "canary" not in broken.stderr


def test_the_file_is_not_looked_at_where_a_runner_started_the_bot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / local.FILE
    path.write_text(FILE)
    path.chmod(0o600)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BOTKEEP_ENDPOINT", "http://127.0.0.1:9")
    assert local.stand() is None
    with pytest.raises(botkeep.EndpointUnreachable):
        botkeep.assets["SAP.PASSWORD"]


def test_a_unit_test_stands_in_the_runners_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KLANGO_ASSET_SAP_PASSWORD", "of the real environment")
    trays = {"invoices": [{"n": 1}, {"n": 2}]}
    with fake(assets={"SAP.PASSWORD": "x", "SAP.UNSET": None}, parameters={"n": 3}, trays=trays) as runner:
        assert botkeep.assets["SAP.PASSWORD"] == "x"
        assert botkeep.parameters() == {"n": 3}
        with pytest.raises(botkeep.NoValue):
            botkeep.assets["SAP.UNSET"]
        with pytest.raises(botkeep.UnknownAsset, match=r"Did you mean SAP\.PASSWORD"):
            botkeep.assets["SAP.PASSWORT"]
        for item in botkeep.work_items.each("invoices"):
            with item:
                if item.data["n"] == 2:
                    raise botkeep.BusinessError("no")
        botkeep.output("total", 5)
        botkeep.progress(0.25, "a quarter")
        botkeep.mask("a session's token")
        botkeep.Secret.create("NEW", "made")
        with pytest.raises(botkeep.Refused):
            botkeep.progress(7)
        (botkeep.output_dir() / "report.txt").write_text("kept until here")
    assert runner.outputs == {"total": 5}
    assert runner.progress == [(0.25, "a quarter")]
    assert runner.settled == [({"n": 1}, "done"), ({"n": 2}, "business")]
    assert runner.masked == [b"a session's token"]
    assert runner.written == {"GLOBAL.NEW": b"made"}
    assert botkeep.assets["SAP.PASSWORD"] == "of the real environment"
    assert "BOTKEEP_ENVIRONMENT" not in os.environ


def test_a_value_object_shows_nothing() -> None:
    with fake(assets={"GLOBAL.MY_API_KEY": "canary-of-the-key"}, parameters={"key": "canary-too", "n": 5}):
        found = botkeep.Secret.from_name("my-api-key")
        value = found.read_value()
        assert value.get_secret_value() == "canary-of-the-key"
        shown = f"{value} {value!r} {value:>20} {found!r} {[value]}"
        assert "canary" not in shown
        assert str(value) == "**********"
        with pytest.raises(TypeError, match="neither pickled nor copied"):
            __import__("copy").copy(value)
        context = botkeep.InvocationContext.from_env()
        assert "canary" not in repr(context)
        assert str(context.get_secret_parameter("key")) == "**********"
        assert (context.get_parameter("n"), context.get_optional_parameter("x", "y")) == ("5", "y")
        with pytest.raises(botkeep.UnknownParameter, match="did you mean key"):
            context.get_parameter("kei")


@pytest.mark.parametrize(
    "uri",
    ["roboto-secret://", "roboto-secret://a@", "roboto-secret://a@og-1", "roboto-secret://a@b@c", "secret://a/b/c",
     "x roboto-secret://a", "roboto-secret://a b", "secret://a.b", "http://a", "roboto-secret://\u0430", "roboto-secret://a\n"],
)  # fmt: skip
def test_what_is_not_exactly_a_reference_is_none(uri: str) -> None:
    with fake(assets={"GLOBAL.A": "x", "A.B": "y"}), pytest.raises(botkeep.UnknownAsset):
        botkeep.Secret.from_uri(uri)


@pytest.mark.parametrize(
    ("uri", "name"),
    [("roboto-secret://a", "GLOBAL.A"), ("roboto-secret://a@default", "GLOBAL.A"), ("secret://a/b", "A.B"),
     ("secret://A", "GLOBAL.A")],
)  # fmt: skip
def test_a_reference_names_one_asset(uri: str, name: str) -> None:
    with fake(assets={"GLOBAL.A": "x", "A.B": "y"}):
        assert botkeep.Secret.from_uri(uri).name == name
        with pytest.raises(botkeep.Refused):
            botkeep.Secret.from_uri("roboto-secret://a@another")
