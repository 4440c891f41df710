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
from importlib.metadata import version
from pathlib import Path
from typing import Any

from celery import Celery
from celery.exceptions import SecurityWarning
from celery.signals import worker_ready
from sqlalchemy import Engine

from runner import labels, lanes, runners, schema
from runner.errors import Invalid, RunnerError
from runner.jobs import Claim
from runner.logging import configure, logger
from runner.worker import adoption, executor, inbox, isolation, presence, returning, tasks
from runner.worker.censor import Censor
from runner.worker.endpoint import Endpoint
from runner.worker.environments import Interpreter, own_interpreter
from runner.worker.held import Held
from runner.worker.keyring import Keyring
from runner.worker.launching import sdk_folder
from runner.worker.listener import Listener
from runner.worker.outcomes import Journal
from runner.worker.packages import PackageStore
from runner.worker.policies import Policies
from runner.worker.process import Ground, ProcessError, Spawner
from runner.worker.scratch import Scratch
from runner.worker.settings import RunnerSettings
from runner.worker.station import Station
from runner.worker.stopping import Stopping
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

#: Folder in the home for the journals of outcomes of this host's runners.
OUTCOMES = "outcomes"

_log = logger()


def main(argv: Sequence[str] | None = None) -> int:
    """Start a runner; every reason not to is one sentence on stderr."""
    try:
        settings = _settings(argv)
        _refuse_root(settings)
        return _serve(settings)
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
            "This runner would run bots as root. Start it as an ordinary user, or set BOTKEEP_RUN_AS_ROOT=true "
            "if the host is nothing but a sandbox."
        )


def _serve(settings: RunnerSettings) -> int:
    censor = Censor()
    configure("runner", level=settings.log_level, censor=censor)
    engine = db.engine(settings.database(), pool_size=settings.concurrency + 2)
    _check_schema(engine)
    keyring = Keyring(
        settings.key_sources(),
        passphrase=file_passphrase(settings.key_passphrase_file) if settings.key_passphrase_file else prompt_passphrase,
    )
    keyring.prove(engine)
    instance = uuid.uuid4()
    facts = isolation.examine()
    _log.info("runner.isolation", **facts.document())
    _register(engine, settings, instance, facts)
    app = lanes.transport(settings.broker())
    inbox.receive_with(app, settings.broker())
    lanes.serve(app, environments=settings.environments, groups=settings.groups)
    stopping = Stopping(grace=settings.drain_grace)
    adoption.adopt(engine, settings.home / OUTCOMES)
    held = _held(engine, settings, keyring, instance=instance, drain=stopping.drain)
    station = _station(engine, settings, keyring, instance=instance, facts=facts, held=held, censor=censor)
    try:
        return _work(app, station, stopping)
    finally:
        _deregister(engine, settings, instance)


def _held(
    engine: Engine, settings: RunnerSettings, keyring: Keyring, *, instance: uuid.UUID, drain: Callable[[], None]
) -> Held:
    def each_beat() -> None:
        keyring.expire()
        adoption.adopt(engine, settings.home / OUTCOMES)

    return Held(
        engine,
        settings.runner_name,
        instance=instance,
        lease=timedelta(seconds=settings.lease),
        heartbeat=timedelta(seconds=settings.heartbeat),
        drain=drain,
        each_beat=each_beat,
    )


def _station(
    engine: Engine,
    settings: RunnerSettings,
    keyring: Keyring,
    *,
    instance: uuid.UUID,
    facts: isolation.Facts,
    held: Held,
    censor: Censor,
) -> Station:
    direct = Direct(engine)
    interpreter = own_interpreter()
    scratch = Scratch(settings.home / "work", instance=instance)
    grants, ground = _ground(settings, facts, own=[*settings.own(), scratch.memory], interpreter=interpreter)
    return Station(
        settings=settings,
        engine=engine,
        direct=direct,
        snapshots=Snapshots(direct),
        keyring=keyring,
        packages=PackageStore(engine, settings.home / "packages"),
        spawner=Spawner(ground),
        endpoint=Endpoint(),
        scratch=scratch,
        journal=Journal(settings.home / OUTCOMES, instance=instance),
        held=held,
        interpreter=interpreter,
        facts=facts,
        grants=grants,
        policies=Policies(engine),
        censor=censor,
        log_group=settings.log_group_id(),
    )


def _ground(
    settings: RunnerSettings, facts: isolation.Facts, *, own: list[Path], interpreter: Interpreter
) -> tuple[tuple[isolation.Grant, ...], Ground | None]:
    """What a sandbox binds of this host, and what every bot's domain grants."""
    readable = [*isolation.system(interpreter.executable, sdk=sdk_folder()), *settings.bot_readable]
    writable = settings.bot_writable
    apart = isolation.granted(facts, readable=readable, writable=writable, own=[*own, isolation.OUR_SETTINGS])
    barred = isolation.OUR_SETTINGS.resolve()
    if any(one.resolve().is_relative_to(barred) for one in (settings.home, *settings.bot_readable, *writable)):
        return apart, isolation.ground(facts, apart)  # a wall would keep bots from what is theirs
    outside = [one for one in own if not one.resolve().is_relative_to(barred)]
    grants = isolation.granted(facts, readable=readable, writable=writable, own=outside)
    return apart, isolation.ground(facts, grants, isolation.wall(facts, barred))


def _check_schema(engine: Engine) -> None:
    with db.reading(engine) as session:
        if not schema.is_current(session):
            raise Invalid("The database has another schema than this version needs; run: botkeep migrate")


def _register(engine: Engine, settings: RunnerSettings, instance: uuid.UUID, facts: isolation.Facts) -> None:
    presence.hold(instance)
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
    )
    with db.writing(engine) as session:
        runners.register(session, announced, gone=presence.gone)


def _deregister(engine: Engine, settings: RunnerSettings, instance: uuid.UUID) -> None:
    try:
        with db.writing(engine) as session:
            runners.deregister(session, settings.runner_name, instance=instance)
    except VaultError as error:
        _log.warning("runner.stopped", error=str(error))


def _work(app: Celery, station: Station, stopping: Stopping) -> int:
    station.spawner.start()
    station.endpoint.start()
    station.held.start()
    listener = Listener(app, station.settings.runner_name, look=station.held.look, look_at_all=station.held.look_at_all)
    listener.start()
    stopping.on_grace_over(station.held.end_all, kill_all=station.held.kill_all)
    watchdog = Watchdog(
        lambda: messages_wait(app, station.settings),
        slots=station.settings.concurrency,
        after=station.settings.stall_after,
        drain=stopping.drain,
        stop=stopping.begun,
    )

    def look(environment: str, group: str, free: Callable[[], object]) -> Claim | None:
        with watchdog.receiving():
            return executor.execute(station, environment=environment, group=group, free=free)

    tasks.register(app, look, stopping=stopping.begun)
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
            pool="threads",
            concurrency=station.settings.concurrency,
            loglevel=station.settings.log_level.upper(),
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            quiet=True,
        )
        worker.start()
    finally:
        listener.close()
        station.held.close()
        station.endpoint.close()
        station.spawner.close()
        station.scratch.close()
        station.journal.close()
        station.direct.close()
    return STALLED if watchdog.stalled else int(worker.exitcode or 0)


if __name__ == "__main__":
    sys.exit(main())
