"""A browser for tests: Debian's Chromium, headless, one for each process of tests and a fresh profile for each visit.

Promises that a script that fails, or that the pages' security policy refuses, fails the test that saw it, and that the
browser and its driver end with the run. Tests that need no browser read pages with `tests.markup`.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from tests.services import Services
from tests.support import descendants

CHROMIUM = Path("/usr/bin/chromium")

#: Width and height of what people have in front of them; the narrow one is the smallest phone that is supported.
DESKTOP, PHONE = (1280, 860), (375, 812)

#: Milliseconds that the browser waits for what a test names, on a machine with other work to do.
PATIENCE = 20_000

#: What axe-core calls a fault that keeps somebody out.
GRAVE = {"serious", "critical"}


@dataclass
class Visitor:  # without slots: the driver keeps a wrapper beside the method that listens
    """Opens pages; `open` gives a page whose failures are collected, and `close` says them."""

    browser: Browser
    contexts: list[BrowserContext] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def open(
        self,
        url: str,
        *,
        token: str = "",
        phone: bool = False,
        scheme: Literal["light", "dark"] = "light",
        scripts: bool = True,
    ) -> Page:
        """A page of a new profile whose relative addresses begin at `url`; shows `token` with every request."""
        width, height = PHONE if phone else DESKTOP
        context = self.browser.new_context(
            base_url=url,
            viewport={"width": width, "height": height},
            has_touch=phone,
            color_scheme=scheme,
            java_script_enabled=scripts,
            reduced_motion="reduce",
            locale="en-GB",
            timezone_id="UTC",
            extra_http_headers={"Authorization": f"Bearer {token}"} if token else {},
        )
        context.set_default_timeout(PATIENCE)
        self.contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: self.failures.append(f"script: {error}"))
        page.on("console", self._heard)
        return page

    def close(self) -> None:
        """End every visit; says what failed in any."""
        for context in self.contexts:
            context.close()
        assert self.failures == []

    def _heard(self, message: ConsoleMessage) -> None:
        # An answer that is an error is the test's to judge; the browser says each, too.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.failures.append(f"console: {message.text}")


@pytest.fixture(scope="session")
def chromium(services: Services) -> Iterator[Browser]:
    """The browser of this process's tests; take `visitor` instead."""
    if not CHROMIUM.exists():
        if os.environ.get("BOTKEEP_TEST_SERVICES") == "required":
            pytest.fail(f"There is no {CHROMIUM}; install Debian's package chromium.")
        pytest.skip(f"there is no {CHROMIUM}")
    before = set(descendants(os.getpid()))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM),
            args=["--no-sandbox", "--disable-crash-reporter", "--disable-breakpad", "--disable-dev-shm-usage"],
        )
        kept = set(descendants(os.getpid())) - before
        services.kept.update(kept)
        yield browser
        browser.close()
        services.kept.difference_update(kept)


@pytest.fixture
def visitor(chromium: Browser) -> Iterator[Visitor]:
    """Visits of one test, each with a profile of its own."""
    made = Visitor(chromium)
    yield made
    made.close()


def grave_faults(page: Page) -> list[str]:
    """What axe-core finds on a page that keeps somebody from using it: rule, element, and why."""
    found = Axe().run(page).response["violations"]
    return [
        f"{page.url} {each['id']}: {node['html'][:160]} ({node.get('failureSummary', '')[:300]})"
        for each in found
        if each["impact"] in GRAVE
        for node in each["nodes"]
    ]


def fits(page: Page) -> bool:
    """Whether nothing of a page is wider than the window: it never scrolls sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"))
