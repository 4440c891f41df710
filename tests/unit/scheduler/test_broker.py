"""What the scheduler says of a broker that may lose messages."""

from typing import Any

import pytest

from scheduler.broker import judge


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({}, []),
        ({"aof_enabled": 1, "maxmemory_policy": "noeviction"}, []),
        ({"aof_enabled": 0}, ["appendonly yes"]),
        ({"aof_enabled": 0, "maxmemory_policy": "allkeys-lru"}, ["appendonly yes", "noeviction"]),
    ],
)
def test_what_loses_messages_is_named_with_its_mend(info: dict[str, Any], words: list[str]) -> None:
    found = list(judge(info))
    assert len(found) == len(words)
    assert all(word in sentence for word, sentence in zip(words, found, strict=True))
