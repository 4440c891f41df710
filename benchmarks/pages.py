"""Every page with 1,000,000 jobs and 10,000 assets on PostgreSQL, through the real console, beside 1,000 and 10.

    python -m benchmarks.pages [--json] [--jobs N] [--assets N] [--requests N]

The pages are those of the permission table, so a new one is measured without being named here; one that needs
something that is not filled in fails. Times are of loopback HTTP over one connection, which is more than the server's
own. The target is a 95th percentile of at most 100 ms for each page.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import httpx
from sqlalchemy import text

from benchmarks.history import console
from console.page_permissions import PAGES
from runner import stores
from runner.output import LogWriter
from tests.api import zipped
from tests.services import Services, new_services
from tests.support import Stores
from vault import db, recipients
from vault.decrypt import Identity
from vault.names import ENVIRONMENTS

#: What pages need besides their path.
QUERIES = {"/bots/{bot}/diff": "?before=1&after=2", "/bots/{bot}/versions/{number}/source": "?file=main.py"}

#: Most milliseconds for the 95th percentile of any page.
MOST_MS = 100

#: Not pages: files, streams, downloads, and what is only there for whoever is not signed in.
NO_PAGES = re.compile(
    r"/static/.*|/favicon.ico|/sign-in.*|.*/events|.*/export|/jobs/\{job_id\}/outputs/.*|.*/archive.*"
)

#: Narrower views of pages, which cost more than the plain ones.
VIEWS = (
    "/history?environment=prod&state=failed",
    "/history?text=is+in+no+job",
    "/history?cause=retry",
    "/history?runner=runner-2&since=2d",
    "/jobs/{job_id}?search=1999",
    "/jobs/{job_id}?from=1",
)

#: Lines of the log of the job that is looked at.
LINES = 2000

ASSETS = text(
    """
    WITH made AS (
        INSERT INTO assets (id, workspace_id, bot_id, group_name, name, description, created_at, created_by)
        SELECT gen_random_uuid(), :workspace, NULL, 'GROUP' || n % 100, 'NAME' || n, 'of the benchmark', now(), 'fill'
        FROM generate_series(1, :assets) AS n
        RETURNING id
    ), stored AS (
        INSERT INTO asset_values (asset_id, environment, number, recipient_id, envelope, empty, created_at, created_by)
        SELECT made.id, r.environment, 1, r.id, '\\x00', false, now(), 'fill' FROM made, recipients r
        WHERE r.environment <> 'staging'
        RETURNING asset_id, environment, number
    )
    INSERT INTO current_values (asset_id, environment, number, set_at, set_by)
    SELECT asset_id, environment, number, now(), 'fill' FROM stored
    """
)

ATTEMPT = text(
    """
    INSERT INTO attempts (job_id, number, runner, claimed_at, started_at, finished_at, state, exit_code, log_bytes,
                          steps)
    SELECT id, 1, runner, started_at, started_at, finished_at, state, exit_code, 9,
           '{"claim": 0, "preflight": 0.01, "resolve": 0.02, "start": 0.03, "first_output": 0.05, "end": 0.9}'
    FROM jobs ORDER BY id DESC LIMIT 1
    RETURNING job_id
    """
)


def main(argv: list[str]) -> int:
    """Print the percentiles; non-zero when a page misses the target, or cannot be measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--assets", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=30)
    options = parser.parse_args(argv)
    services = new_services(on_disk=True)
    try:
        small = measure(services, 1_000, 10, options.requests)
        large = measure(services, options.jobs, options.assets, options.requests)
    finally:
        services.stop()
    missed = [page for page, milliseconds in large.items() if milliseconds is None or milliseconds > MOST_MS]
    if options.json:
        print(json.dumps({"small": small, "large": large}))
    else:
        print(f"{'page':52} {'p95 ms, 1,000':>14} {f'p95 ms, {options.jobs:,}':>18}")
        for page, milliseconds in large.items():
            print(f"{page:52} {shown(small[page]):>14} {shown(milliseconds):>18}")
        print(f"pages over {MOST_MS} ms or not measured: {', '.join(missed) or 'none'}")
    return 1 if missed else 0


def shown(milliseconds: float | None) -> str:
    """A figure, or that there is none."""
    return "-" if milliseconds is None else f"{milliseconds:.1f}"


def measure(services: Services, jobs: int, assets: int, requests: int) -> dict[str, float | None]:
    """The 95th percentile of each page, in milliseconds; none where it does not answer 200."""
    with (
        tempfile.TemporaryDirectory(prefix="bk") as folder,
        console(services, Path(folder), jobs, name=f"pages_{jobs}") as (client, kept),
    ):
        names = fill(client, kept, Path(folder), assets)
        return {page: p95(client, path, requests) for page, path in pages(names)}


def pages(names: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, str | None]]:
    """Each page with an address of it; none where it needs what was not filled in."""
    routes = [path for method, path in PAGES if method == "GET" and not NO_PAGES.fullmatch(path)]
    for route in (*routes, *VIEWS):
        known = names.get(route.split("/")[1].partition("?")[0], {})
        wanted = re.findall(r"\{(\w+)\}", route)
        yield route, route.format(**known) + QUERIES.get(route, "") if set(wanted) <= set(known) else None


def p95(client: httpx.Client, path: str | None, requests: int) -> float | None:
    """The 95th percentile of some requests, the first one not counted."""
    if path is None or client.get(path).status_code not in {200, 204}:
        return None
    times = []
    for _ in range(requests):
        started = time.perf_counter()
        client.get(path)
        times.append((time.perf_counter() - started) * 1000)
    return sorted(times)[max(0, round(0.95 * requests) - 1)]


def fill(client: httpx.Client, kept: Stores, folder: Path, assets: int) -> dict[str, dict[str, str]]:
    """Assets with values, a job with a log, and one of everything else; what stands for names in addresses."""
    engine = db.engine(kept.database_url)
    with db.writing(engine) as session:
        for environment in ENVIRONMENTS:
            now = session.execute(text("SELECT now()")).scalar_one()
            recipients.register(session, Identity.generate(environment).recipient, now=now)
        workspace = session.execute(text("SELECT id FROM workspaces")).scalar_one()
        session.execute(ASSETS, {"workspace": workspace, "assets": assets})
        job_id: uuid.UUID = session.execute(ATTEMPT).scalar_one()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE assets, asset_values, current_values"))
    engine.dispose()
    print_log(folder, job_id)
    made = some_of_each(client)
    bot = {"bot": "bot-7", "group": "OWN", "name": "NAME", "number": "2"}
    return {
        "assets": {"group": "GROUP7", "name": "NAME7"},
        "bots": bot,
        "jobs": {"job_id": str(job_id)},
        "users": {"name": "bench"},
        **made,
    }


def print_log(folder: Path, job_id: uuid.UUID) -> None:
    """A log in colours, as the job's runner wrote it."""
    log = LogWriter(stores.directory(folder / "logs" / "jobs"), job_id, 1)
    lines = (f"\x1b[32m2026-11-26 10:00:{number % 60:02}\x1b[0m INFO row {number} of 2,000" for number in range(LINES))
    for line in lines:
        log.write("stdout", [line], at=datetime.now(UTC))
    log.settle()
    log.close()


def some_of_each(client: httpx.Client) -> dict[str, dict[str, str]]:
    """One of everything that has a page of its own, made over the API."""
    put(client, "POST", "bots?name=bot-7", content=zipped("print('another version')\n"))
    put(client, "PUT", "assets/OWN/NAME/values/dev?bot=bot-7", content=b"x")
    put(client, "PUT", "calendars/holidays", json={"days": ["2031-03-03"]})
    schedule = {"bot": "bot-0", "schedule": {"cron": "0 7 * * *"}}
    put(client, "POST", "triggers", json={"name": "daily", "definition": schedule})
    queue = {"items": [{"bot": f"bot-{number}"} for number in range(5)]}
    put(client, "POST", "queues?name=queue", json=queue)
    steps = {"one": {"bot": "bot-0"}, "two": {"bot": "bot-1", "after": ["one"]}}
    put(client, "POST", "workflows?name=workflow", json={"steps": steps})
    run = put(client, "POST", "queues/queue/runs", json={})
    item = put(client, "POST", "work-items", json={"tray": "tray", "data": {"order": 1}})
    sql = {"connection": "postgresql://{{ASSET.GROUP7.NAME7}}@db/x", "query": "SELECT 1"}
    put(client, "POST", "sources", json={"name": "orders", "kind": "sql", "definition": sql})
    return {
        "triggers": {"name": "daily"},
        "calendars": {"name": "holidays"},
        "queues": {"name": "queue"},
        "workflows": {"name": "workflow"},
        "runs": {"run_id": str(run.get("id"))},
        "work-items": {"item_id": str(item.get("id"))},
        "sources": {"name": "orders"},
    }


def put(client: httpx.Client, method: str, path: str, **request: object) -> dict[str, object]:
    """What an API call answers; a refusal is printed, and the pages of the thing are then not measured."""
    answer = client.request(method, f"/api/v1/{path}", **request)  # type: ignore[arg-type]
    if answer.status_code >= 400:
        print(f"{method} {path}: {answer.text}", file=sys.stderr)
        return {}
    return dict(answer.json())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
