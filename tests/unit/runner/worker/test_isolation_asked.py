"""What environments and bots may ask of a runner's host, and which sentence refuses it."""

from dataclasses import replace

import pytest

from runner.states import Isolation
from runner.worker.isolation import Facts, require
from runner.worker.refusal import Refusal

BARE = Facts(landlock=0, signal_scope=False, bubblewrap=None, root=False)
FULL = Facts(landlock=7, signal_scope=True, bubblewrap="/usr/bin/bwrap", root=False, users=4)


@pytest.mark.parametrize("asked", list(Isolation))
def test_a_host_with_everything_gives_what_is_asked_for(asked: Isolation) -> None:
    assert require(FULL, Isolation.ANY, asked) is asked
    assert require(FULL, asked, Isolation.SANDBOX) is Isolation.SANDBOX


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (Isolation.LANDLOCK, "its kernel has no Landlock"),
        (Isolation.USER, r"its bots have no users of their own \(BOTKEEP_BOT_USERS\)"),
        (Isolation.SANDBOX, "bubblewrap is not installed"),
    ],
)
def test_what_a_host_lacks_is_named(asked: Isolation, sentence: str) -> None:
    with pytest.raises(Refusal, match=sentence):
        require(BARE, Isolation.ANY, asked)


def test_an_environment_that_asks_for_users_is_not_content_with_a_bots_sandbox() -> None:
    with pytest.raises(Refusal, match="'user' is asked for"):
        require(replace(FULL, users=0), Isolation.USER, Isolation.SANDBOX)
