"""What doctor is told of the users for bots."""

import os
from pathlib import Path

import pytest

from runner.errors import Invalid
from runner.worker import bot_users, findings, privileges
from runner.worker.leases import BotUsers
from runner.worker.settings import RunnerSettings
from tests import own_users
from vault.settings import load


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RunnerSettings:
    monkeypatch.setattr(bot_users, "require_reach", lambda *_, **__: None)
    monkeypatch.setattr(privileges, "missing", list)
    users = own_users.numbers()
    return load(
        RunnerSettings,
        {"bot_users": f"{users[0]}-{users[1]}", "bot_users_dir": tmp_path, "home": tmp_path, "concurrency": 2},
    )


def levels(settings: RunnerSettings) -> list[str]:
    return [level for level, _, _ in findings.findings(settings)]


def test_a_pool_that_works_is_well(settings: RunnerSettings) -> None:
    assert levels(settings) == ["ok", "ok"]


def test_what_is_missing_is_named_with_its_mend(settings: RunnerSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privileges, "missing", lambda: ["CAP_KILL"])
    *_, (level, message, mend) = findings.findings(settings)
    assert (level, "CAP_KILL" in message, "bot-users.conf" in mend) == ("warn", True, True)


def test_a_python_that_bots_cannot_reach_is_a_fault(settings: RunnerSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise Invalid("The users of BOTKEEP_BOT_USERS cannot reach /opt/python.")

    monkeypatch.setattr(bot_users, "require_reach", refuse)
    assert levels(settings) == ["ok", "fail"]


def test_only_strangers_are_named_and_no_bot(
    settings: RunnerSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = BotUsers(bot_users.parse(settings.bot_users), tmp_path).lease(0)
    monkeypatch.setattr(findings, "lives", lambda _number: True)
    *_, (level, message, mend) = findings.findings(settings)
    stranger = own_users.numbers()[1]
    assert (level, message) == (
        "warn",
        f"Processes that are no bots run as {stranger}; these are passed over.",
    )
    assert f"pkill -KILL -u {stranger}" in mend
    lease.close()
    assert os.path.lexists(tmp_path / str(lease.user.number))
