"""Pages of history with 1,000,000 jobs on PostgreSQL, through the real console, beside the same with 1,000.

    python -m benchmarks.history [--json] [--jobs N] [--requests N]

Every request asks for a page of 50: the newest, one deep in the past, and one of each filter. Server time only
differs from what is measured by loopback HTTP. The target is a 95th percentile of at most 50 ms.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from sqlalchemy import text

from runner import bots, workspaces
from runner.archive import canonical, pack
from tests.services import Services, new_services
from tests.support import Stores, free_port, start_process, wait_until
from vault import db
from vault.audit import Actor

#: Most milliseconds for the 95th percentile of any page.
MOST_MS = 50

#: Jobs in every state, environment and bot, with UUIDv7 ids in order of creation (RFC 9562, section 5.7).
FILL = text(
    """
    INSERT INTO jobs (id, workspace_id, bot_id, version_id, environment, group_name, state, reason, exit_code,
                      attempt, parameters, cause_kind, cause_name, created_at, started_at, finished_at, runner,
                      warnings)
    SELECT CAST(lpad(to_hex(CAST(1000 * (extract(epoch FROM now()) - :jobs + n) AS bigint)), 12, '0')
                || '7' || substr(md5(n::text), 1, 3) || '8' || substr(md5(n::text), 4, 15) AS uuid),
           :workspace, b.bot_id, b.id, (ARRAY['dev', 'staging', 'prod'])[1 + n % 3], 'default',
           CASE WHEN n % 50 = 0 THEN 'failed' WHEN n % 5000 = 1 THEN 'cancelled' ELSE 'succeeded' END,
           CASE WHEN n % 50 = 0 THEN 'exit_code' END, CASE WHEN n % 50 = 0 THEN 1 ELSE 0 END,
           1, CAST('{"order": ' || n || '}' AS jsonb),
           CASE WHEN n % 10 = 0 THEN 'trigger' WHEN n % 5000 = 1 THEN 'retry' ELSE 'api' END, 'fill',
           now() - make_interval(secs => :jobs - n), now() - make_interval(secs => :jobs - n),
           now() - make_interval(secs => :jobs - n - 1), 'runner-' || n % 3, '[]'
    FROM generate_series(1, :jobs) AS n
    JOIN (SELECT v.id, v.bot_id, row_number() OVER (ORDER BY v.id) - 1 AS place FROM package_versions v) AS b
      ON b.place = n % (SELECT count(*) FROM package_versions)
    """
)

PAGES: tuple[dict[str, str], ...] = (
    {},
    {"after": "middle"},
    {"bot": "bot-7"},
    {"environment": "prod"},
    {"state": "failed"},
    {"state": "queued"},
    {"bot": "bot-3", "environment": "prod", "state": "failed"},
    {"cause": "retry"},
    {"cause": "trigger:nobody"},
    {"runner": "runner-2", "environment": "prod"},
    {"state": "failed", "environment": "staging", "cause": "retry"},
    {"since": "yesterday", "until": "yesterday", "state": "failed"},
    {"text": "is in no job"},
    {"text": "99999", "environment": "prod"},
)


def main(argv: list[str]) -> int:
    """Print the percentiles; non-zero when the target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.history")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=40)
    options = parser.parse_args(argv)
    services = new_services(on_disk=True)
    try:
        figures = {str(jobs): _measure(services, jobs, options.requests) for jobs in (1_000, options.jobs)}
    finally:
        services.stop()
    worst = max(figures[str(options.jobs)].values())
    if options.json:
        print(json.dumps(figures))
    else:
        small, large = figures.values()
        print(f"{'page':58} {'p95 ms, 1,000':>14} {f'p95 ms, {options.jobs:,}':>18} {'ratio':>6}")
        for page, milliseconds in large.items():
            print(f"{page:58} {small[page]:14.1f} {milliseconds:18.1f} {milliseconds / small[page]:6.2f}")
        print(f"worst p95 (≤ {MOST_MS} ms): {worst:.1f}")
    return 0 if worst <= MOST_MS else 1


def _measure(services: Services, jobs: int, requests: int) -> dict[str, float]:
    with (
        tempfile.TemporaryDirectory(prefix="bk") as folder,
        console(services, Path(folder), jobs, name=f"history_{jobs}") as (client, _stores),
    ):
        return {json.dumps(page): _p95(client, page, requests) for page in PAGES}


@contextmanager
def console(services: Services, folder: Path, jobs: int, *, name: str) -> Iterator[tuple[httpx.Client, Stores]]:
    """A console with so many jobs in a database of this name, its home in `folder`; its client is an admin's."""
    url = services.postgres().create_database(name)
    broker = services.redis("server")
    port = free_port()
    environment = {
        "BOTKEEP_HOME": str(folder),
        "BOTKEEP_DATABASE_URL": url,
        "BOTKEEP_REDIS_URL": broker.url,
    }
    client_file = folder / "client.toml"
    token = ["console", "token", "--name", "bench", "--role", "admin", "--client-file", str(client_file)]
    for words in (["runner.migrate"], token):
        start_process([sys.executable, "-m", *words], env=environment, log_path=folder / "setup.log").wait(60)
    _fill(url, folder, jobs)
    process = start_process(
        [sys.executable, "-m", "console", "--port", str(port)], env=environment, log_path=folder / "console.log"
    )
    try:
        secret_line = next(line for line in client_file.read_text().splitlines() if line.startswith("token"))
        headers = {"Authorization": f"Bearer {json.loads(secret_line.partition('=')[2])}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as client:
            wait_until(lambda: _answers(client), timeout=60, what="the console")
            yield client, Stores(name, url, broker.url)
    finally:
        process.stop()


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


def _fill(url: str, folder: Path, jobs: int) -> None:
    source = folder / "bot.py"
    source.write_text("print('hi')\n")
    engine = db.engine(url)
    with db.writing(engine) as session:
        workspace = workspaces.default_workspace(session)
        package = canonical(pack(source))
        for number in range(20):
            name, now = f"bot-{number}", datetime.now(UTC)
            bots.add(session, name, workspace_id=workspace, package=package, actor=Actor("bench"), now=now)
        session.execute(FILL, {"workspace": workspace, "jobs": jobs})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE jobs"))
    engine.dispose()


def _p95(client: httpx.Client, page: dict[str, str], requests: int) -> float:
    asked = dict(page)
    if asked.get("after") == "middle":
        asked["after"] = str(uuid.UUID(int=_id_of_the_past(client)))
    if asked.get("since") == "yesterday":
        today = datetime.now(UTC).replace(hour=0, minute=0)
        asked |= {"since": (today - timedelta(days=1)).isoformat(), "until": today.isoformat()}
    times = []
    for _ in range(requests):
        started = time.perf_counter()
        client.get("/api/v1/jobs", params={"limit": 50, **asked}).raise_for_status()
        times.append((time.perf_counter() - started) * 1000)
    return sorted(times)[max(0, round(0.95 * requests) - 1)]


def _id_of_the_past(client: httpx.Client) -> int:
    """Between the newest job and the oldest."""
    items = client.get("/api/v1/jobs", params={"limit": 1}).raise_for_status().json()["items"]
    return uuid.UUID(items[0]["id"]).int - (400_000_000 << 80)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
