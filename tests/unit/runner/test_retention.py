"""Ages, sizes and instants of rules; what the database is asked is tested with it."""

from datetime import UTC, datetime, timedelta

import pytest
from uuid_utils.compat import uuid7

from runner import jobs, retention
from runner.errors import Invalid
from runner.retention import DEFAULT, Keep


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30d", 30 * 86_400), ("12h", 43_200), ("forever", 0), ("default", None), ("99999d", 8639913600)],
)
def test_an_age_is_read(text: str, seconds: int | None) -> None:
    assert retention.age_of(text) == seconds


@pytest.mark.parametrize("text", ["", "0d", "30", "1.5d", "-3d", "30D", "30 d", "٣d", "100000d"])
def test_what_is_no_age_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="An age is"):
        retention.age_of(text)


@pytest.mark.parametrize("text", ["", "0", "0MB", "MB", "-1GB", "1XB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="A size is"):
        retention.size_of(text)


@pytest.mark.parametrize("keep", [DEFAULT, Keep(timedelta(hours=36), 5 << 20), Keep(None, None)])
def test_words_are_read_back(keep: Keep) -> None:
    age, size = retention.in_words(keep)
    seconds = retention.age_of(age)
    assert seconds is not None
    assert (retention.lasting(seconds), retention.size_of(size) or None) == (keep.age, keep.size)


def test_an_id_tells_when_its_job_was_queued() -> None:
    now = datetime.now(UTC)
    second = timedelta(seconds=1)
    assert jobs.first_id(now - second) < uuid7() < jobs.first_id(now + 10 * second)
