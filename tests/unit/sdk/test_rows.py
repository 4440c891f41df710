"""Rows arrive at a bot with their types, and an answer that breaks off is an error."""

import io
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from http.client import HTTPResponse, IncompleteRead
from typing import Any, cast
from uuid import UUID

import pytest
from botkeep import rows
from botkeep.errors import SourceError
from hypothesis import given
from hypothesis import strategies as st

from runner.worker.sql import wire

VALUES: tuple[Any, ...] = (
    1,
    -(2**70),
    0.1,
    True,
    "ü\n",
    None,
    Decimal("1.50"),
    date(2024, 2, 29),
    datetime(2024, 2, 29, 1, 2, 3, 4, tzinfo=UTC),
    time(1, 2, 3, 4),
    timedelta(days=-1, microseconds=5),
    b"\x00\xff",
    UUID(int=7),
    {"a": [1, None]},
)


def answer(*frames: bytes) -> HTTPResponse:
    return cast("HTTPResponse", io.BytesIO(b"".join(frames)))


def sent(batches: Sequence[Sequence[Sequence[Any]]]) -> list[tuple[Any, ...]]:
    """What a bot reads of these batches."""
    width = len(batches[0][0])
    frames = [wire.frame(wire.COLUMNS, [f"c{number}" for number in range(width)])]
    frames += [wire.batch(each, [""] * width) for each in batches]
    frames.append(wire.frame(wire.END, sum(map(len, batches))))
    return [row for batch in rows.read("x", answer(*frames))[1] for row in batch]


def test_every_type_comes_back_as_itself_in_a_column_of_its_own_and_among_others() -> None:
    assert sent([[VALUES], [VALUES, (None,) * len(VALUES)]]) == [VALUES, VALUES, (None,) * len(VALUES)]
    mixed = [(value,) for value in VALUES]
    assert sent([mixed]) == mixed
    assert [type(row[0]) for row in sent([mixed])] == [type(value) for value in VALUES]


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(max_size=20)
    | st.decimals(allow_nan=False)
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.uuids()
    | st.datetimes(timezones=st.none() | st.just(UTC))
)


@given(st.lists(st.tuples(scalars, scalars, scalars), min_size=1, max_size=20))
def test_whatever_a_driver_gives_comes_back(given_rows: list[tuple[Any, Any, Any]]) -> None:
    assert sent([given_rows]) == given_rows


def test_what_python_has_no_value_for_stays_its_text() -> None:
    frames = (
        wire.frame(wire.COLUMNS, ["a"]),
        wire.batch([("infinity",), ("2024-02-29",)], ["D"]),
        wire.frame(wire.END, 2),
    )
    (batch,) = rows.read("x", answer(*frames))[1]
    assert batch == [("infinity",), (date(2024, 2, 29),)]


class Breaks(io.BytesIO):
    """A connection that is lost after what there is."""

    def read(self, size: int | None = -1) -> bytes:
        found = super().read(size)
        if not found:
            raise IncompleteRead(b"")
        return found


@pytest.mark.parametrize(
    "frames",
    [
        (),
        (wire.frame(wire.COLUMNS, ["a"]),),
        (wire.frame(wire.COLUMNS, ["a"]), wire.batch([(1,)], [""])),
        (wire.frame(wire.COLUMNS, ["a"]), wire.batch([(1,)], [""])[:-3]),
        (wire.frame(wire.COLUMNS, ["a"]), wire.batch([(1,)], [""]), wire.frame(wire.END, 2)),
    ],
)
@pytest.mark.parametrize("kind", [io.BytesIO, Breaks])
def test_rows_that_break_off_are_an_error_and_no_shorter_list(
    frames: tuple[bytes, ...], kind: type[io.BytesIO]
) -> None:
    with pytest.raises(SourceError, match="ended early"):
        list(rows.read("x", cast("HTTPResponse", kind(b"".join(frames))))[1])


def test_a_failure_of_the_source_is_said_in_its_own_words() -> None:
    frames = (
        wire.frame(wire.COLUMNS, ["a"]),
        wire.batch([(1,)], [""]),
        wire.frame(wire.FAILED, "orders in dev: not it."),
    )
    with pytest.raises(SourceError, match=r"^orders in dev: not it\.$"):
        list(rows.read("x", answer(*frames))[1])
