"""Tokens and passes of the endpoint: each opens one attempt, in one dialect, until its end."""

import time

import pytest

from runner.worker.grant import Grant
from runner.worker.tokens import PASS_LIFETIME, Tokens


def grant(heard: list[str] | None = None) -> Grant:
    return Grant(tuple, lambda _name: None, lambda _value: True, refused=(heard if heard is not None else []).append)


def test_a_token_is_valid_in_its_own_dialect_only() -> None:
    known = Tokens()
    own, other = known.admit(grant()), known.admit(grant(), "roboto")
    assert known.find(own) is not None
    assert known.find(other, "roboto") is not None
    assert known.find(own, "roboto") is known.find(other) is known.find(other, "robocorp") is None
    assert own not in repr(vars(known))


def test_a_token_that_is_used_after_its_end_is_told_of() -> None:
    heard: list[str] = []
    known = Tokens()
    token = known.admit(grant(heard))
    known.revoke(token)
    assert known.find(token) is None
    assert heard == ["anything after its end"]
    assert known.find("never issued") is None
    assert len(heard) == 1


def test_a_pass_opens_one_thing_of_its_attempt_until_either_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Tokens()
    token = known.admit(grant(), "roboto")
    admission = known.find(token, "roboto")
    assert admission is not None
    issued = known.issue(admission.handle, "GLOBAL.KEY")
    found = known.passed(issued, "roboto")
    assert found is not None
    assert found.passed == "GLOBAL.KEY"
    assert token not in issued
    assert known.passed(issued, "robocorp") is None
    assert known.find(issued, "roboto") is None, "a pass is no token"
    later = time.time() + PASS_LIFETIME + 1
    monkeypatch.setattr(time, "time", lambda: later)
    assert known.passed(issued, "roboto") is None
    monkeypatch.undo()
    known.revoke(token)
    assert known.passed(issued, "roboto") is None


@pytest.mark.parametrize("change", ["", "x", ".", "a.b.c.d", "é.b.1.c"])
def test_a_pass_that_was_changed_opens_nothing(change: str) -> None:
    known = Tokens()
    admission = known.find(known.admit(grant(), "roboto"), "roboto")
    assert admission is not None
    issued = known.issue(admission.handle, "GLOBAL.KEY")
    other = issued.replace(b"GLOBAL.KEY".hex(), b"GLOBAL.YEK".hex())
    assert known.passed(other, "roboto") is None
    assert known.passed(change, "roboto") is None
    assert Tokens().passed(issued, "roboto") is None
