"""Stores that restart, forget or are away while bots run and jobs wait: each job runs once, by the bots' own count."""

import contextlib
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import redis

from tests.fault.staying import COUNTS, assert_ran_once, counted
from tests.services import PostgresServer, Services
from tests.support import ProcessId, Stores, wait_until
from tests.system import System, running

pytestmark = pytest.mark.timeout(240)

#: What the runner did not hear of waits longer than any test; what nobody announced yet does not.
LEFT_ALONE = {"BOTKEEP_REPUBLISH_AFTER": "600"}


@pytest.fixture(scope="module")
def shared(postgres: PostgresServer, services: Services) -> Iterator[tuple[System, PostgresServer]]:
    """What `own` gives to each test in turn."""
    server = PostgresServer(postgres.directory.with_name(f"own-{os.getpid()}-of-stores"), os.getpid())
    broker = services.new_redis("server", services.root / f"own-redis-{os.getpid()}-of-stores")
    server.create()
    server.start()
    broker.start()
    url = server.create_database("own", template=server.migrated_template())
    with running(Stores("server", url, broker.url), env=LEFT_ALONE, forked=True) as system:
        kept = {process.identity for process in system.processes.values()}
        services.kept.update(kept)
        system.broker, system.services = broker, services
        yield system, server
        services.kept.difference_update(kept)
    broker.stop()
    server.stop()
    shutil.rmtree(server.directory)


@pytest.fixture
def own(shared: tuple[System, PostgresServer], services: Services) -> Iterator[tuple[System, PostgresServer]]:
    """A system on a PostgreSQL and a Redis that the test may restart."""
    system, server = shared
    system.check()
    system.add_bot(source=COUNTS)
    yield system, server
    system.clear()
    assert server.guard is not None
    restarted = ProcessId.of(server.guard.pid)
    assert restarted is not None
    services.kept.add(restarted)  # it is there for the next test


def restart(postgres: PostgresServer, how: signal.Signals) -> None:
    """SIGINT shuts down fast, SIGQUIT at once as in a crash (postgresql.org/docs/current/server-shutdown.html)."""
    assert postgres.guard is not None
    os.kill(int((postgres.data / "postmaster.pid").read_text().splitlines()[0]), how)
    postgres.guard.wait(60)
    postgres.start()


@contextmanager
def patient(system: System) -> Iterator[None]:
    """Wait until the console serves again after its database was away."""
    system.engine.dispose()
    yield
    system.engine.dispose()
    wait_until(lambda: system.client.get("/readyz").status_code == 200, 60, "the console to be ready again")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_a_bot_runs_once_although_postgresql_restarts_under_it(
    own: tuple[System, PostgresServer], how: signal.Signals
) -> None:
    system, postgres = own
    bot, late = counted(system), counted(system)
    job_id = system.enqueue(parameters=bot.parameters)
    parked = system.enqueue(parameters=late.parameters, group="parked")
    bot.begun()
    for _ in range(2):
        with patient(system):
            restart(postgres, how)
    assert (bot.ran, system.job(job_id)["state"]) == (1, "running")
    bot.gate.touch()
    assert_ran_once(system, job_id, bot)
    late.gate.touch()
    system.release(parked)
    assert_ran_once(system, parked, late)
    system.check()


def test_a_bot_that_ends_while_postgresql_restarts_is_reported_once(own: tuple[System, PostgresServer]) -> None:
    system, postgres = own
    bot = counted(system)
    job_id = system.enqueue(parameters=bot.parameters)
    bot.begun()
    with patient(system):
        postgres.stop()
        bot.gate.touch()
        system.runner.wait_for("report.delayed", 60)
        postgres.start()
    assert_ran_once(system, job_id, bot)
    system.check()


def test_an_order_that_met_a_restart_and_is_repeated_makes_one_job(own: tuple[System, PostgresServer]) -> None:
    system, postgres = own
    bot = counted(system)
    bot.gate.touch()
    order = {"bot": "tells", "parameters": bot.parameters, "idempotency_key": "restarted"}
    with patient(system):
        postgres.stop()
        refused = system.client.post("/api/v1/jobs", json=order)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
        postgres.start()
    answers = [system.client.post("/api/v1/jobs", json=order) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 200]
    assert_ran_once(system, answers[0].json()["id"], bot)


def test_jobs_after_a_restart_of_postgresql_are_not_left_to_the_rescuer(own: tuple[System, PostgresServer]) -> None:
    system, postgres = own
    for _ in range(2):
        bots = [counted(system) for _ in range(4)]  # one for each thread, which then has a connection
        ids = [system.enqueue(parameters=bot.parameters) for bot in bots]
        for bot in bots:
            bot.begun()
        for bot in bots:
            bot.gate.touch()
        for job_id, bot in zip(ids, bots, strict=True):
            assert_ran_once(system, job_id, bot)
        with patient(system):
            restart(postgres, signal.SIGINT)
    system.check()


def forget(system: System, *, away: Callable[[], None] = lambda: None) -> None:
    """Redis restarts without anything it knew; `away` happens meanwhile."""
    assert system.broker is not None
    with system.without_redis():
        shutil.rmtree(system.broker.directory / "appendonlydir", ignore_errors=True)
        away()
    assert system.broker.answers()


@pytest.mark.parametrize("how", ["flushed", "restarted"])
def test_a_redis_that_forgets_everything_costs_no_job_and_doubles_none(system: System, how: str) -> None:
    system.add_bot(source=COUNTS)
    now, waits = counted(system), [counted(system) for _ in range(6)]
    running_job = system.enqueue(parameters=now.parameters)
    now.begun()
    queued = [system.enqueue(parameters=bot.parameters) for bot in waits]
    if how == "flushed":
        system.flush_redis()
    else:
        forget(system)
    more = counted(system)
    last = system.enqueue(parameters=more.parameters)
    for bot in (now, *waits, more):
        bot.gate.touch()
    for job_id, bot in zip((running_job, *queued, last), (now, *waits, more), strict=True):
        job = system.wait_for(job_id, timeout=90)
        assert (job["state"], job["attempt"], bot.ran) == ("succeeded", 1, 1), job
    assert_ran_once(system, last, more)


def test_jobs_accepted_while_redis_is_away_run_once_each_when_it_is_back(system: System) -> None:
    system.add_bot(source=COUNTS)
    bots = [counted(system) for _ in range(3)]
    made: list[str] = []

    def order() -> None:
        for bot in bots:
            bot.gate.touch()
            made.append(system.enqueue(parameters=bot.parameters, idempotency_key=bot.gate.name))
            answer = system.client.post(
                "/api/v1/jobs", json={"bot": "tells", "parameters": bot.parameters, "idempotency_key": bot.gate.name}
            )
            assert (answer.status_code, answer.json()["id"]) == (200, made[-1])
        waiting = system.job(made[0])["waiting_for"]
        assert (waiting["code"], "when Redis is back" in waiting["sentence"]) == ("broker", True)

    forget(system, away=order)
    for job_id, bot in zip(made, bots, strict=True):
        job = system.wait_for(job_id, timeout=90)
        assert (job["state"], job["attempt"], bot.ran) == ("succeeded", 1, 1)
    assert_ran_once(system, made[0], bots[0])


def test_a_redis_that_takes_no_more_writes_ends_neither_bot_nor_runner(system: System) -> None:
    system.add_bot(source=COUNTS)
    now, later = counted(system), counted(system)
    job_id = system.enqueue(parameters=now.parameters)
    now.begun()
    with contextlib.closing(redis.Redis.from_url(system.stores.redis_url)) as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")  # type: ignore[no-untyped-call]  # as after a failover
        try:
            waits = system.enqueue(parameters=later.parameters)
            wait_until(lambda: "Connection to broker lost" in system.runner.log, 60, "the runner to hear of it")
            now.gate.touch()
            job = system.wait_for(job_id)
            assert (job["state"], job["attempt"], now.ran) == ("succeeded", 1, 1), job
            assert system.runner.popen.poll() is None
        finally:
            client.execute_command("REPLICAOF", "NO", "ONE")  # type: ignore[no-untyped-call]
    later.gate.touch()
    assert_ran_once(system, waits, later)
    system.check()
