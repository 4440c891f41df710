"""What all attempts of one worker share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from runner.jobs import Claim
from runner.stores import Store
from runner.worker import bytecode, isolation
from runner.worker.censor import Censor
from runner.worker.endpoint import Endpoint
from runner.worker.held import Held
from runner.worker.interpreters import Interpreter
from runner.worker.keyring import Keyring
from runner.worker.launch import HERE
from runner.worker.launching import sdk_folder
from runner.worker.local.values import LocalValues
from runner.worker.outcomes import Journal
from runner.worker.packages import PackageStore
from runner.worker.policies import Policies
from runner.worker.process import Spawner
from runner.worker.scratch import Scratch
from runner.worker.settings import RunnerSettings
from runner.worker.telling import Telling
from vault.direct import Direct
from vault.reader import Snapshots


@dataclass(frozen=True, slots=True)
class Station:
    """What all attempts of one worker share."""

    settings: RunnerSettings
    engine: Engine
    direct: Direct
    snapshots: Snapshots
    keyring: Keyring
    local: LocalValues
    packages: PackageStore
    #: The folder of bots' virtual environments.
    environments: Path
    spawner: Spawner
    endpoint: Endpoint
    scratch: Scratch
    journal: Journal
    held: Held
    interpreter: Interpreter
    facts: isolation.Facts
    grants: tuple[isolation.Grant, ...]
    policies: Policies
    censor: Censor
    store: Store
    telling: Telling
    #: Announces that a claim's job is queued again; told its group.
    announce: Callable[[Claim, str], None]

    def start(self) -> None:
        """Start what runs for as long as the worker; the spawner first, before there are threads."""
        bytecode.prepare([HERE / "bot_main.py", *sdk_folder().glob("*.py")])
        self.spawner.start()
        self.endpoint.start()
        self.held.start()
        self.telling.start()

    def close(self) -> None:
        """End it, when no attempt is left."""
        self.telling.close()
        self.held.close()
        self.endpoint.close()
        self.spawner.close()
        self.scratch.close()
        self.journal.close()
        self.direct.close()
