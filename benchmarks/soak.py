"""Random faults in two runners, two schedulers, the console, Redis and the database, while thousands of jobs run.

    python -m benchmarks.soak [--seconds 600] [--jobs N] [--stores server|embedded] [--seed N]

Jobs are queued through the HTTP API, tried again with their idempotency key until they are accepted. What the bots
did is taken from their own book (`soak_book`), what the system believes from the database. Prints each fault, then:
accepted, finished, and these, which must be 0:

- lost: accepted, and not in a final state although everything works again
- doubled: two attempts of one job alive at the same time, or two that came to their last line and exited; a bot that
  was killed between the two may have done its work, and history must say so (root alone is told which it was)
- orphaned: processes of a bot that lived on after the end of their attempt, or after everything was stopped
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from sqlalchemy import Engine, func, select

from benchmarks.soak_book import BOT, KINDS, Book, Life, describe
from benchmarks.soak_faults import Faults
from benchmarks.soak_yard import Yard, lease, yard
from runner.models import Attempt, Job
from runner.states import FINAL, State
from tests.api import zipped
from tests.services import new_services
from tests.support import adopt_orphans, kill_descendants
from vault import db
from vault.errors import Unavailable

#: Jobs in the ten minutes that a soak takes unless told otherwise; a shorter one has as many a second.
JOBS, SECONDS = 2400, 600.0

#: Seconds that a process of a bot may be seen after its attempt has ended in the database: the time of a look or two.
LINGER = 3.0

#: Threads that queue jobs.
PEOPLE = 3

#: What a bot declares: it may fail, and lose its runner, a few times.
TOML = 'timeout = "60s"\ngrace = "2s"\nretries = { limit = 8, delay = "0.5s", factor = 1.0 }\n'


@dataclass(slots=True)
class Soak:
    """What happened so far."""

    yard: Yard
    book: Book
    engine: Engine
    accepted: dict[str, str] = field(default_factory=dict)
    orphans: dict[Life, str] = field(default_factory=dict)


def soak(argv: list[str]) -> int:
    """Run it, and print the verdict; 1 unless nothing was lost, doubled or orphaned."""
    options = _options(argv)
    seed = options.seed if options.seed is not None else random.randrange(2**32)
    count = options.jobs or max(60, int(JOBS * options.seconds / SECONDS))
    print(f"seed {seed}, {options.seconds:g} s, {count} jobs, stores {options.stores}, lease {lease():g} s", flush=True)
    adopt_orphans()
    services = new_services(on_disk=True)
    folder = Path(tempfile.mkdtemp(prefix="soak-", dir="/tmp"))
    try:
        with yard(services, folder / "home", options.stores) as made:
            verdict = _run(made, seed=seed, seconds=options.seconds, count=count, every=options.every)
    finally:
        services.stop()
        if options.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return verdict


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--stores", choices=["server", "embedded"], default="server")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--every", type=float, default=4.0, help="mean seconds between two faults")
    parser.add_argument("--keep", action="store_true", help="leave home, logs and book where they are")
    return parser.parse_args(argv)


def _run(made: Yard, *, seed: int, seconds: float, count: int, every: float) -> int:
    book = Book(made.home / "book" / "pages")
    state = Soak(made, book, db.engine(made.stores.database_url))
    made.keep()
    _register_bots(made)
    book.start()
    watch = threading.Thread(target=_watch, args=(state, stop := threading.Event()), daemon=True)
    watch.start()
    until = time.monotonic() + seconds
    people = [
        threading.Thread(target=_queue, args=(state, range(number, count, PEOPLE), seed, seconds / count), daemon=True)
        for number in range(PEOPLE)
    ]
    for person in people:
        person.start()
    faults = Faults(made, seed=seed, every=every)
    faults.run(until)
    for person in people:
        person.join()
    _wait_for_the_last(state, within=60 + 3 * lease())
    stop.set()
    watch.join()
    made.stop(patience=40)
    book.close()
    left = kill_descendants(without=made.servers())
    return _verdict(state, faults, left)


def _register_bots(made: Yard) -> None:
    with _client(made) as client:
        for kind in KINDS:
            package = zipped(BOT, {"bot.toml": TOML})
            while not _accepted(client, "/api/v1/bots", params={"name": kind}, content=package):
                time.sleep(0.2)


def _client(made: Yard) -> httpx.Client:
    headers = {"Authorization": f"Bearer {made.token()}"}
    return httpx.Client(base_url=made.url, headers=headers, timeout=8, verify=False)


def _accepted(client: httpx.Client, path: str, **words: object) -> httpx.Response | None:
    """The answer where it is a yes; anything else is tried again by whoever asks."""
    try:
        answer = client.post(path, **words)  # type: ignore[arg-type]
    except httpx.HTTPError:
        return None
    if answer.status_code in {200, 201}:
        return answer
    if answer.status_code < 500:
        raise RuntimeError(f"{path} was refused: {answer.text}")
    return None


def _queue(state: Soak, numbers: range, seed: int, pause: float) -> None:
    begun = time.monotonic()
    drawn = random.Random(f"{seed} {numbers.start}")
    with _client(state.yard) as client:
        for number in numbers:
            time.sleep(max(0.0, begun + number * pause - time.monotonic()))
            kind = drawn.choice(KINDS)
            parameters = {"book": str(state.book.path), "seconds": round(drawn.uniform(1, 3), 2)}
            order = {"bot": kind, "parameters": parameters, "idempotency_key": f"soak-{seed}-{number}"}
            while (answer := _accepted(client, "/api/v1/jobs", json=order)) is None:
                time.sleep(0.3)
            state.accepted[str(answer.json()["id"])] = kind


def _watch(state: Soak, stop: threading.Event) -> None:
    """Note each process that lives on for `LINGER` seconds after its attempt has ended in the database."""
    ended_at: dict[Life, float] = {}
    while not stop.wait(0.5):
        living = state.book.living()
        try:
            ended = _ended_attempts(state.engine, {job_id for job_id, _life in living})
        except Unavailable:
            continue
        now = time.monotonic()
        for job_id, life in living:
            if (job_id, life.attempt) in ended:
                since = ended_at.setdefault(life, now)
                if now - since > LINGER and life not in state.orphans:
                    state.orphans[life] = f"job {job_id} ({state.accepted.get(job_id)}) {describe(life)}"
                    print(f"           ORPHAN: {state.orphans[life]}", flush=True)


def _ended_attempts(engine: Engine, job_ids: set[str]) -> set[tuple[str, int]]:
    if not job_ids:
        return set()
    wanted = [uuid.UUID(job_id) for job_id in job_ids]
    with db.reading(engine) as session:
        rows = session.execute(
            select(Attempt.job_id, Attempt.number).where(Attempt.job_id.in_(wanted), Attempt.finished_at.is_not(None))
        ).all()
    return {(str(row[0]), row[1]) for row in rows}


def _wait_for_the_last(state: Soak, *, within: float) -> None:
    """Return when every job is final, or none has become so for `within` seconds: a slow machine has a backlog."""
    deadline, left = time.monotonic() + within, None
    while time.monotonic() < deadline:
        try:
            with db.reading(state.engine) as session:
                opened = session.scalar(select(func.count()).select_from(Job).where(Job.state.not_in(FINAL)))
        except Unavailable:
            opened = None
        if opened == 0:
            time.sleep(LINGER + 1)  # for what is still to be seen as an orphan
            return
        if opened is not None and (left is None or opened < left):
            deadline, left = time.monotonic() + within, opened
        time.sleep(0.5)


def _verdict(state: Soak, faults: Faults, left: list[str]) -> int:
    with db.reading(state.engine) as session:
        rows = session.execute(select(Job.id, Job.state, Job.reason, Job.attempt)).all()
        causes = session.execute(select(Attempt.reason, func.count()).group_by(Attempt.reason)).all()
        adopted = session.scalar(select(func.count()).where(Attempt.adopted_at.is_not(None))) or 0
        survivors = session.scalar(select(func.sum(Attempt.survivors))) or 0
    jobs = {str(row.id): row for row in rows}
    final = {job_id for job_id, row in jobs.items() if row.state in FINAL}
    lost = sorted(set(state.accepted) - final)
    doubled = {job_id: words for job_id in jobs if (words := _doubled(state.book, job_id))}
    doubled |= _wrongly_ended(state)
    orphaned = [*state.orphans.values(), *left]
    print("\nfaults    ", dict(sorted(faults.counts.items())))
    print("starts    ", {name: part.starts for name, part in state.yard.parts.items()})
    print("jobs      ", _counted(f"{row.state} {row.reason or ''}".strip() for row in rows))
    print("attempts  ", {str(row[0]): row[1] for row in causes}, f"adopted {adopted}, survivors {survivors}")
    cut_off = {(job_id, attempt) for job_id in jobs for attempt in state.book.cut_off(job_id)}
    print("cut off   ", f"{len(cut_off)} attempts were killed between their last line and their exit")
    print("begun     ", _counted(f"{len(_attempts(state.book, job_id))} times" for job_id in jobs))
    for title, lines in (
        ("lost", [f"{job_id} {_words(jobs.get(job_id))}" for job_id in lost]),
        ("doubled", [f"{job_id} ({state.accepted.get(job_id)}) {words}" for job_id, words in doubled.items()]),
        ("orphaned", orphaned),
    ):
        for line in lines[:20]:
            print(f"{title.upper()}: {line}")
    print(f"\naccepted {len(state.accepted)}, finished {len(final)}", end=", ")
    print(f"lost {len(lost)}, doubled {len(doubled)}, orphaned {len(orphaned)}")
    return 1 if lost or doubled or orphaned or not faults.counts else 0


def _doubled(book: Book, job_id: str) -> str:
    """What is wrong with the attempts of a job, if anything is."""
    found = [f"{describe(one)} beside {describe(other)}" for one, other in book.overlaps(job_id)]
    if book.ends(job_id) > 1:
        found.append(f"{book.ends(job_id)} attempts came to their end")
    return "; ".join(found[:3])


def _wrongly_ended(state: Soak) -> dict[str, str]:
    """The jobs whose history says of a bot that was killed that it succeeded."""
    with db.reading(state.engine) as session:
        rows = session.execute(select(Attempt.job_id, Attempt.number).where(Attempt.state == State.SUCCEEDED)).all()
    return {
        str(row.job_id): f"attempt {row.number} was killed and succeeded"
        for row in rows
        if row.number in state.book.cut_off(str(row.job_id))
    }


def _attempts(book: Book, job_id: str) -> set[int]:
    return {life.attempt for life in book.lives.get(job_id, ())}


def _counted(words: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(words).items()))


def _words(row: object) -> str:
    return "is not in the database" if row is None else str(tuple(row))  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(soak(sys.argv[1:]))
