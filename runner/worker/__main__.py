"""`python -m runner.worker`: one runner. The only process that holds private keys and decrypts values."""

from __future__ import annotations

from runner.worker import memory
from vault.hardening import harden

if __name__ == "__main__":
    harden()  # before anything that will hold a key is loaded
    memory.save()

import argparse
import os
import signal
import sys
import uuid
import warnings
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from typing import Any

from celery import Celery
from celery.exceptions import SecurityWarning
from celery.signals import worker_ready
from sqlalchemy import Engine

from runner import announcements, labels, lanes, runners, schema, signals
from runner.errors import Invalid, RunnerError
from runner.jobs import Claim
from runner.journals import OUTCOMES
from runner.logging import configure, logger
from runner.stores import Store
from runner.worker import (
    adoption,
    bot_users,
    duties,
    executor,
    inbox,
    isolation,
    presence,
    returning,
    tasks,
)
from runner.worker import premises as host
from runner.worker.censor import Censor, catch_stderr
from runner.worker.endpoint import Endpoint
from runner.worker.held import Held
from runner.worker.hints import Hints
from runner.worker.interpreters import own_interpreter
from runner.worker.key_notes import KeyNotes
from runner.worker.keyring import Keyring
from runner.worker.launch import ProcessError
from runner.worker.leases import BotUser
from runner.worker.local import residence
from runner.worker.local.correspondence import Correspondence
from runner.worker.local.values import LocalValues
from runner.worker.outcomes import Journal
from runner.worker.packages import PackageStore
from runner.worker.policies import Policies
from runner.worker.pool import Pool
from runner.worker.process import Spawner
from runner.worker.scratch import Scratch
from runner.worker.settings import RunnerSettings
from runner.worker.station import Station
from runner.worker.stopping import Stopping
from runner.worker.telling import Telling
from runner.worker.turn import Turn
from runner.worker.watchdog import STALLED, Watchdog, messages_wait
from vault import db
from vault.direct import Direct
from vault.errors import Unavailable, VaultError
from vault.identities import file_passphrase, prompt_passphrase
from vault.reader import Snapshots
from vault.settings import load

#: Exit statuses, the same as the client's: conflict or invalid, and out of reach.
INVALID, UNREACHABLE = 5, 6

#: Exit status when another living runner has the name: worth a later try (EX_TEMPFAIL, sysexits.h(3head)).
NAME_TAKEN = 75

_log = logger()


def main(argv: Sequence[str] | None = None) -> int:
    """Start a runner; every reason not to is one sentence on stderr."""
    try:
        settings = _settings(argv)
        _refuse_root(settings)
        return _serve(settings, bot_users.of(settings))
    except runners.NameTaken as error:
        print(error, file=sys.stderr)
        return NAME_TAKEN
    except Unavailable as error:
        print(error, file=sys.stderr)
        return UNREACHABLE
    except (RunnerError, VaultError, ProcessError, PermissionError) as error:
        print(error, file=sys.stderr)
        return INVALID


def _settings(argv: Sequence[str] | None) -> RunnerSettings:
    parser = argparse.ArgumentParser(prog="python -m runner.worker", description=__doc__)
    parser.add_argument("--environment", action="append", dest="environments", metavar="ENV")
    parser.add_argument("--group", action="append", dest="groups", metavar="NAME")
    parser.add_argument("--concurrency", type=int, metavar="N")
    parser.add_argument("--name", dest="runner_name", metavar="NAME")
    parser.add_argument("--label", action="append", dest="labels", metavar="NAME=VALUE")
    given: dict[str, Any] = {name: value for name, value in vars(parser.parse_args(argv)).items() if value is not None}
    if "labels" in given:
        given["labels"] = labels.parse(given["labels"])
    return load(RunnerSettings, given)


def _refuse_root(settings: RunnerSettings) -> None:
    if os.geteuid() == 0 and not settings.run_as_root:
        raise Invalid(
            "This runner would run as root, what builds its bots' environments, too, and its bots, unless "
            "BOTKEEP_BOT_USERS gives them users. Start it as an ordinary user, or set BOTKEEP_RUN_AS_ROOT=true if the "
            "host is nothing but a sandbox."
        )


def _serve(settings: RunnerSettings, users: Sequence[BotUser]) -> int:
    censor = Censor()
    configure("runner", level=settings.log_level, censor=censor)
    catch_stderr()
    engine = db.engine(settings.database(), pool_size=settings.concurrency + 2)
    _check_schema(engine)
    keyring = Keyring(
        settings.key_sources(),
        passphrase=file_passphrase(settings.key_passphrase_file) if settings.key_passphrase_file else prompt_passphrase,
    )
    keyring.prove(engine)
    instance = uuid.uuid4()
    presence.hold(instance)
    premises = host.found(instance, settings, users)
    _log.info("runner.isolation", **premises.facts.document())
    store = settings.log_store(group=settings.log_group_id())
    _register(engine, settings, instance, premises.facts, keyring, log_store=store.shown)
    app = lanes.transport(settings.broker())
    lanes.refuse_cluster(app)
    inbox.receive_with(app, settings.broker())
    places = lanes.serve(app, environments=settings.environments, groups=settings.groups)
    stopping = Stopping(grace=settings.drain_grace)
    _adopt(engine, settings, instance)
    local = residence.of(settings, in_memory=premises.memory)
    letters = local.letters(engine, runner=settings.runner_name, instance=instance, environments=settings.environments)
    held = _held(engine, settings, keyring, instance=instance, drain=stopping.drain, letters=letters)
    station = _station(
        engine,
        settings,
        keyring,
        app=app,
        instance=instance,
        premises=premises,
        held=held,
        censor=censor,
        store=store,
        local=local.values(),
    )
    try:
        return _work(app, station, stopping, places=places)
    finally:
        _deregister(engine, settings, instance)


def _held(
    engine: Engine,
    settings: RunnerSettings,
    keyring: Keyring,
    *,
    instance: uuid.UUID,
    drain: Callable[[], None],
    letters: Correspondence,
) -> Held:
    notes = KeyNotes(engine, keyring, runner=settings.runner_name, instance=instance)

    def each_beat() -> None:
        keyring.expire()
        notes.beat()
        letters.beat()
        _adopt(engine, settings, instance)

    return Held(
        engine,
        settings.runner_name,
        instance=instance,
        lease=timedelta(seconds=settings.lease),
        heartbeat=timedelta(seconds=settings.heartbeat),
        drain=drain,
        each_beat=each_beat,
    )


def _adopt(engine: Engine, settings: RunnerSettings, instance: uuid.UUID) -> None:
    # Half of a lease: two beats were missed at least, and as many are left to everybody else on this host.
    adoption.adopt(engine, settings.home / OUTCOMES, instance=instance, silence=timedelta(seconds=settings.lease / 2))


def _station(
    engine: Engine,
    settings: RunnerSettings,
    keyring: Keyring,
    *,
    app: Celery,
    instance: uuid.UUID,
    premises: host.Premises,
    held: Held,
    censor: Censor,
    store: Store,
    local: LocalValues,
) -> Station:
    direct = Direct(engine)
    interpreter = own_interpreter()
    users = premises.users
    scratch = Scratch(
        settings.home / "work",
        instance=instance,
        memory=premises.memory,
        take_back=None if users is None else users.take_back,
    )
    grants, ground = host.ground(
        settings, premises.facts, own=[*settings.own(), scratch.memory], interpreter=interpreter
    )
    return Station(
        settings=settings,
        engine=engine,
        direct=direct,
        snapshots=Snapshots(direct),
        keyring=keyring,
        local=local,
        packages=PackageStore(engine, settings.home / "packages"),
        environments=settings.home / "environments",
        spawner=Spawner(ground, group=premises.group, users=users),
        endpoint=Endpoint(),
        scratch=scratch,
        journal=Journal(settings.home / OUTCOMES, instance=instance),
        held=held,
        interpreter=interpreter,
        facts=premises.facts,
        grants=grants,
        policies=Policies(engine),
        censor=censor,
        store=store,
        telling=Telling(app),
        announce=partial(_announce, engine, app),
    )


def _announce(engine: Engine, app: Celery, claim: Claim, group: str) -> None:
    """Say that a job is queued again. Where that fails, the rescuer does it in its next round.

    It is marked first: who claims passes over a row that is being changed, and nobody would look again.
    """
    try:
        with db.writing(engine) as session:
            announcements.mark_published(session, [claim.job_id])
        if not lanes.publish(app, claim.job_id, environment=claim.environment, group=group, bot_id=claim.bot_id):
            with db.writing(engine) as session:
                announcements.unmark(session, [claim.job_id])
    except VaultError as error:
        _log.warning("announcement.delayed", error=str(error))


def _check_schema(engine: Engine) -> None:
    with db.reading(engine) as session:
        schema.require(session)


def _register(
    engine: Engine,
    settings: RunnerSettings,
    instance: uuid.UUID,
    facts: isolation.Facts,
    keyring: Keyring,
    *,
    log_store: str,
) -> None:
    announced = runners.Presence(
        name=settings.runner_name,
        instance=instance,
        host=os.uname().nodename,
        version=version("botkeep"),
        environments=settings.environments,
        groups=settings.groups,
        concurrency=settings.concurrency,
        labels=settings.labels,
        isolation=facts.document(),
        log_store=log_store,
        keys=keyring.held(),
    )
    with db.writing(engine) as session:
        runners.register(session, announced, gone=presence.gone)


def _deregister(engine: Engine, settings: RunnerSettings, instance: uuid.UUID) -> None:
    try:
        with db.writing(engine) as session:
            runners.deregister(session, settings.runner_name, instance=instance)
    except VaultError as error:
        _log.warning("runner.stopped", error=str(error))


def _work(app: Celery, station: Station, stopping: Stopping, *, places: Sequence[str]) -> int:
    station.start()
    beside = duties.begin(app, station, stopping=stopping.begun.is_set)
    stopping.on_grace_over(station.held.end_all, kill_all=station.held.kill_all)
    watchdog = Watchdog(
        lambda: messages_wait(app, station.settings),
        slots=station.settings.concurrency,
        after=station.settings.stall_after,
        drain=stopping.drain,
        stop=stopping.begun,
    )

    def look(turn: Turn) -> Claim | None:
        with watchdog.receiving():
            claim = executor.execute(station, turn)
        if claim is not None and claim.run_id is not None:
            signals.look_at_run(app, claim.run_id)
        return claim

    def limited() -> list[tuple[str, str]]:
        with db.reading(station.engine) as session:
            return announcements.limited_lanes(session)

    tasks.register(app, look, limited=limited, hints=Hints(app, places), stopping=stopping.begun)
    returning.install(app)

    def ready(**_: object) -> None:
        memory.settle()
        watchdog.start()
        # Celery installs its own handlers while it starts; ours replace them once it is ready.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stopping.signalled)
        _log.info("runner.ready", name=station.settings.runner_name, environments=station.settings.environments)

    worker_ready.connect(ready, weak=False)
    # Our own setting decides about root, with a sentence; Celery's warning would repeat it in other words.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    try:
        worker = app.Worker(
            hostname=f"{station.settings.runner_name}@{os.uname().nodename}",
            pool=Pool,
            concurrency=station.settings.concurrency,
            loglevel=station.settings.log_level.upper(),
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            quiet=True,
        )
        worker.start()
    finally:
        for duty in beside:
            duty.close()
        station.close()
    return STALLED if watchdog.stalled else int(worker.exitcode or 0)


if __name__ == "__main__":
    sys.exit(main())
