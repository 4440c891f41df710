"""`python -m tests.screenshots FOLDER`: a picture of every page at a desk and on a phone, of a system with examples.

Starts the real processes on stores of their own, fills them with what the examples hold, and looks at the pages with
the browser of the tests. Refuses to leave a page out: every page of the navigation is looked at.
"""

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

from console.pages.shell import NAVIGATION
from tests.api import zipped
from tests.browser import CHROMIUM, DESKTOP, PHONE
from tests.services import Services, new_services
from tests.support import ROOT, adopt_orphans, wait_until
from tests.system import System, new_stores, running

INVOICES = """
name = "monthly-report"
assets = ["SAP.*", "MAIL.PASSWORD"]
timeout = "20m"
concurrency = 1
[retries]
limit = 2
[limits]
memory = "512MB"
[parameters.month]
required = true
[parameters.login]
default = "{{ASSET.SAP.USER}}"
"""

REPORT = """
import os, time
print("Signing in to SAP as", os.environ["KLANGO_ASSET_SAP_USER"])
print("\\x1b[32m412 postings\\x1b[0m, 3 corrections")
print("\\x1b[33mwarning:\\x1b[0m the password is", os.environ["KLANGO_ASSET_SAP_PASSWORD"])
print("Report written")
"""

#: What it was before its newest version.
FIRST_REPORT = REPORT.replace("412 postings\\x1b[0m, 3 corrections", "400 postings\\x1b[0m").replace(", time", "")

LASTS = 'import time\nfor page in range(900):\n    print("page", page, flush=True)\n    time.sleep(1)\n'


def fill(system: System) -> dict[str, str]:
    """What the pages show; answers the addresses of a job, a run and a bot besides those of the navigation."""
    values = {"SAP.USER": "dsp", "SAP.PASSWORD": "dsp", "MAIL.PASSWORD": "dp", "PORTAL.TOKEN": "d", "SHOP.KEY": "sp"}
    letters = {"d": "dev", "s": "staging", "p": "prod"}
    for asset, where in values.items():
        for letter in where:
            system.set_value(asset, f"{asset}-{letter}-of-the-robot", letters[letter])
    system.set_value("SAP.PASSWORD", "a-newer-one-of-the-robot", "prod")
    system.set_value("MAIL.PASSWORD", "", "staging")
    system.add_bot("monthly-report", FIRST_REPORT, toml=INVOICES.replace("20m", "10m"), **{"old.py": "TIMES = 3\n"})
    system.add_bot("monthly-report", REPORT, toml=INVOICES, **{"requirements.txt": ""})
    for environment in letters.values():
        system.set_value("SAP.PASSWORD", f"only-for-this-bot-{environment}", environment, bot="monthly-report")
    system.add_bot("crawler", LASTS, toml='assets = ["PORTAL.*"]\n')
    system.add_bot("mail-sorter", toml='assets = ["MAIL.*"]\n', source='import sys\nsys.exit("The mailbox is full.")\n')
    for bot in ("collect", "check", "book", "tell"):
        path = ROOT / "examples" / "invoices" / f"{bot}.py"
        answer = system.client.post("/api/v1/bots", params={"name": bot}, content=zipped(path.read_text()))
        assert answer.status_code == 201, answer.text
    for kind, name in (("queue", "invoices"), ("workflow", "booking")):
        definition = tomllib.loads((ROOT / "examples" / "invoices" / f"{kind}.toml").read_text())
        post(system.client, f"/api/v1/{kind}s?name={name}", definition)
    post(system.client, "/api/v1/queues/invoices/runs", {})
    run = post(system.client, "/api/v1/workflows/booking/runs", {"environment": "prod"})["id"]
    for name, cron in (("nightly", "30 2 * * *"), ("hourly", "5 * * * *")):
        definition = {
            "bot": "mail-sorter",
            "environment": "prod",
            "schedule": {"cron": cron, "zone": "Europe/Berlin"},
        }
        post(system.client, "/api/v1/triggers", {"name": name, "definition": definition})
    orders = "postgresql://{{ASSET.SAP.USER}}:{{ASSET.SAP.PASSWORD}}@db.example/orders"
    source = {"connection": orders, "query": "SELECT id, total FROM orders"}
    post(system.client, "/api/v1/sources", {"name": "orders", "kind": "sql", "definition": source})
    parameters = {"month": "2026-11"}
    job = system.run("monthly-report", "prod", parameters=parameters)["id"]
    for environment in ("dev", "staging"):
        system.run("monthly-report", environment, parameters=parameters)
        system.run("mail-sorter", environment)
    system.wait_for(system.enqueue("crawler", "staging"), "running")
    wait_until(lambda: waiting(system, run), 60, "the workflow to wait for an answer")
    return {"job": f"/jobs/{job}", "run": f"/runs/{run}"}


def waiting(system: System, run: str) -> bool:
    """Whether the run has come to the question that a person answers."""
    return any(step["state"] == "approval" for step in system.client.get(f"/api/v1/runs/{run}").json()["steps"])


def post(client: httpx.Client, path: str, body: dict[str, object]) -> dict[str, str]:
    """The answer to an order that is taken."""
    answer = client.post(path, json=body)
    assert answer.status_code in {200, 201}, (path, answer.text)
    return dict(answer.json())


def pages(found: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Name and address of every picture."""
    yield "sign-in", "/sign-in"
    for _, entries in NAVIGATION:
        for entry in entries:
            yield ("home" if entry.path == "/" else entry.path.strip("/")), entry.path
    yield from found.items()
    yield "account", "/account"
    yield "asset", "/assets/SAP/PASSWORD"
    yield "asset-new", "/assets/new"
    yield "bot", "/bots/monthly-report"
    yield "bot-assets", "/bots/monthly-report/assets"
    yield "bot-diff", "/bots/monthly-report/diff?before=1&after=2"
    yield "bot-version", "/bots/monthly-report/versions/2"
    yield "bot-source", "/bots/monthly-report/versions/2/source?file=main.py"
    yield "bot-run", "/bots/monthly-report/run"
    yield "trigger", "/triggers/nightly"
    yield "queue", "/queues/invoices"
    yield "source", "/sources/orders"
    yield "workflow", "/workflows/booking"
    yield "workflow-edit", "/workflows/booking/edit"


def take(browser: Browser, system: System, folder: Path, found: dict[str, str]) -> int:
    """Write the pictures; answers how many there are."""
    count = 0
    for suffix, (width, height) in (("", DESKTOP), ("-phone", PHONE)):
        context = browser.new_context(
            base_url=str(system.client.base_url),
            viewport={"width": width, "height": height},
            has_touch=bool(suffix),
            reduced_motion="reduce",
            locale="en-GB",
            timezone_id="UTC",
        )
        page = context.new_page()
        for name, path in pages(found):
            if name == "home":
                sign_in(page, system)
            answer = page.goto(path)
            assert answer is not None, path
            assert answer.status == 200, (path, answer.status)
            page.screenshot(path=folder / f"{name}{suffix}.png")
            count += 1
        context.close()
    return count


def sign_in(page: Page, system: System) -> None:
    """As a person would who was sent a link."""
    link = urlsplit(post(system.client, "/api/v1/users/ada/links", {})["url"])
    page.goto(f"{link.path}?{link.query}")
    page.get_by_role("button", name="Sign in as ada").click()
    page.wait_for_url(lambda url: "/sign-in" not in url)


def main(folder: Path) -> None:
    """Take every picture of a system that is started for it."""
    adopt_orphans()
    folder.mkdir(parents=True, exist_ok=True)
    services: Services = new_services()
    try:
        with new_stores(services, services.postgres, "embedded") as (stores, _), running(stores) as system:
            found = fill(system)
            post(system.client, "/api/v1/users", {"name": "ada", "role": "admin"})
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
                count = take(browser, system, folder, found)
                browser.close()
    finally:
        services.stop()
    size = sum(path.stat().st_size for path in folder.glob("*.png"))
    print(f"{count} pictures in {folder}, {size / 1e6:.1f} MB")  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
