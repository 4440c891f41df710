"""`python -m scheduler`: the duties that must happen although nobody asks. Holds no key, decrypts nothing."""

from __future__ import annotations

import sys

for _module in (
    "vault.decrypt",
    "vault.reader",
    "vault.sights",
    "vault.readings",
    "vault.identities",
    "vault.keyhost",
    "vault.rotation",
    "vault.canary",
    "runner.worker",
):
    sys.modules[_module] = None  # type: ignore[assignment]  # a later import fails: this process cannot decrypt

from runner import loading  # noqa: E402 - nothing of ours may be imported before the fence

if __name__ == "__main__":
    loading.begin()

import argparse  # noqa: E402
import signal  # noqa: E402
import threading  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from contextlib import suppress  # noqa: E402
from datetime import UTC, datetime  # noqa: E402

from sqlalchemy import Engine  # noqa: E402

from runner import lanes, schema  # noqa: E402
from runner.errors import RunnerError  # noqa: E402
from runner.logging import configure, logger  # noqa: E402
from scheduler.advancing import Advancer  # noqa: E402
from scheduler.duties import duties  # noqa: E402
from scheduler.hearing import Hearing  # noqa: E402
from scheduler.question import Question  # noqa: E402
from scheduler.sealing import Sealer  # noqa: E402
from scheduler.service import serve  # noqa: E402
from scheduler.settings import SchedulerSettings  # noqa: E402
from vault import db  # noqa: E402
from vault.direct import Direct  # noqa: E402
from vault.errors import Unavailable, VaultError  # noqa: E402
from vault.settings import load  # noqa: E402


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM; every reason not to start is one sentence on stderr."""
    about = "The scheduler: the duties that must happen although nobody asks. Its settings are environment variables."
    argparse.ArgumentParser(prog="python -m scheduler", description=about).parse_args(argv)
    try:
        settings = load(SchedulerSettings)
        configure("scheduler", level=settings.log_level)
        engine = db.engine(settings.database(), pool_size=2)
        _check_schema(engine)
        app = lanes.transport(settings.broker())
        store = settings.log_store()
        lanes.refuse_cluster(app)
    except (RunnerError, VaultError) as error:
        print(error, file=sys.stderr)
        return 5
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    direct = Direct(engine)
    sealer = Sealer(
        engine,
        direct,
        settings.audit_anchors(),
        anchor_every=settings.audit_anchor_every,
        now=lambda: datetime.now(UTC),
    )
    advancer = Advancer(engine, app)
    hearing = Hearing(app, look=advancer.look)
    hearing.start()
    found = duties(engine, app, settings, store=store, advancer=advancer, sealer=sealer)
    loading.end()
    logger().info("scheduler.ready")
    serve(found, stop, ask=Question(direct).ask)
    hearing.close()
    direct.close()
    with suppress(OSError):
        sealer.anchor()
    return 0


def _check_schema(engine: Engine) -> None:
    """Refuse a database of another version; one that is away is waited for by the duties."""
    with suppress(Unavailable), db.reading(engine) as session:
        schema.require(session)


if __name__ == "__main__":
    sys.exit(main())
