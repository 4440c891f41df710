"""Reading a data source for a fan-out: its rows as the parameters of jobs that the scheduler makes.

Promises all batches or none, and a sentence where there are none. Refuses rows that could be taken for a reference to
an asset, since whoever fills the table chooses that text, and more than jobs' parameters, or the database, can hold.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

from runner.errors import Invalid, RunnerError
from runner.fan_outs import LEASE, MOST_JOBS, Claim
from runner.requests import MAX_PARAMETERS
from runner.worker import sources
from runner.worker.failures import SourceFailed
from runner.worker.masker import Masker
from runner.worker.questions import Question
from runner.worker.unasked import Unasked
from vault import tokens
from vault.errors import InvalidToken

#: Bytes of JSON that one fan-out may have, since all of it lies in memory and in the database for a moment.
MOST_BYTES = 64 << 20

#: Parts of the lease after which a runner says that it still reads.
_KEEP_AFTER = 1 / 4


class Lost(Exception):
    """The fan-out is not this runner's any more."""


def batches(unasked: Unasked, claim: Claim, *, masker: Masker, keep: Callable[[], bool]) -> tuple[list[Any], str]:
    """What each job is given, or why there is nothing: a sentence without a value.

    Raises:
        Lost: where `keep` says so.
        Unavailable: when the database cannot be reached.
    """
    where = f"{claim.name} in {claim.environment}"
    if claim.source is None:
        return [], f"{where}: the data source was removed."
    try:
        values, context = unasked.prepare(
            claim.source,
            claim.environment,
            action="source.fanned_out",
            requested_by=claim.requested_by,
            masker=masker,
        )
        opened = sources.of_kind(claim.source.kind).open(claim.source.definition, values, context)
        try:
            reply = opened.answer(Question("GET", "", {"format": "jsonl"}))
            return list(_cut(_rows(reply.chunks, keep), claim.rows_per_job)), ""
        finally:
            opened.close(succeeded=True)
    except SourceFailed as failure:
        return [], masker.mask_text(failure.sentence(claim.name, claim.environment))
    except RunnerError as error:
        return [], masker.mask_text(f"{where}: {error}")


def _rows(chunks: Generator[bytes], keep: Callable[[], bool]) -> Iterator[dict[str, Any]]:
    kept_at, size, number = time.monotonic(), 0, 0
    try:
        for chunk in chunks:
            size += len(chunk)
            if size > MOST_BYTES:
                raise Invalid(f"its rows have more than {MOST_BYTES >> 20} MB; a fan-out is for the keys of the work.")
            if time.monotonic() - kept_at > LEASE.total_seconds() * _KEEP_AFTER:
                kept_at = time.monotonic()
                if not keep():
                    raise Lost
            for line in chunk.split(b"\n"):
                if line:
                    number += 1
                    yield _checked(json.loads(line), number)
    finally:
        chunks.close()


def _checked(row: dict[str, Any], number: int) -> dict[str, Any]:
    try:
        refers = bool(tokens.find(row))
    except InvalidToken:
        refers = True
    if refers:
        raise Invalid(f"row {number:,} holds text that looks like a reference to an asset, which data may not name.")
    if "\\u0000" in json.dumps(row):
        raise Invalid(f"row {number:,} holds a NUL character, which the database cannot store.")
    return row


def _cut(rows: Iterator[dict[str, Any]], rows_per_job: int) -> Iterator[Any]:
    """One row each, or lists of so many."""
    each = rows if not rows_per_job else _lists(rows, rows_per_job)
    for count, content in enumerate(each, 1):
        if count > MOST_JOBS:
            raise Invalid(f"it gives more than {MOST_JOBS:,} jobs; take more rows for each with --batch.")
        if len(json.dumps(content)) > MAX_PARAMETERS:
            raise Invalid(f"a job's rows have more than {MAX_PARAMETERS:,} bytes as JSON; take fewer for each.")
        yield content


def _lists(rows: Iterator[dict[str, Any]], most: int) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == most:
            yield batch
            batch = []
    if batch:
        yield batch
