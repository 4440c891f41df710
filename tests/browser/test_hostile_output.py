"""A bot that prints, leaves and reports what could trouble a page: nothing of it is executed, and nothing breaks."""

import pytest
from playwright.sync_api import Dialog, Page

from tests.browser import Visitor, fits, grave_faults
from tests.support import ROOT
from tests.system import System

BOT = (ROOT / "tests/bots/hostile.py").read_text()
TOML = "[parameters.wait]\nrequired = false\n"

#: What only a bot's own markup could have put into the page.
FOREIGN = """() => {
  const words = ["style", "img", "base", "iframe", "object", "[onerror]", "[onload]"].map((word) => `main ${word}`);
  const found = [...document.querySelectorAll([...words, "script:not([src^='/static/'])"].join())];
  const links = [...document.links].map((link) => link.href).filter((href) => new URL(href).origin !== location.origin);
  return [...found.map((each) => each.outerHTML), ...links];
}"""

#: Characters that reorder text or steer a terminal, anywhere in what the page says.
STEERING = r"""() => /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\u200e\u200f]/
  .test(document.body.innerText)"""

#: Lines whose text is wider than they are.
TOO_WIDE = "[...document.querySelectorAll('.line')].filter((line) => line.scrollWidth > line.clientWidth + 1).length"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("shared_system", ["server"], indirect=True)
def test_nothing_that_a_bot_prints_leaves_or_reports_is_executed(system: System, visitor: Visitor) -> None:
    system.add_bot("hostile", BOT, toml=TOML)
    dialogs: list[str] = []
    live = system.enqueue("hostile", "prod", parameters={"wait": "yes"})
    failed = system.run("hostile", "prod")
    assert (failed["state"], failed["reason"]) == ("failed", "business")
    for phone in (False, True):
        page = visitor.open(str(system.client.base_url), token=system.token, phone=phone)
        page.on("dialog", lambda dialog: heard(dialog, dialogs))
        page.goto(f"/jobs/{live}")
        page.locator("#log-lines", has_text="still here").wait_for()
        shown = page.locator("#log-lines > .line").count()
        page.wait_for_function("(shown) => document.querySelectorAll('#log-lines > .line').length > shown", arg=shown)
        is_harmless(page)
        page.goto(f"/jobs/{live}?from=1")
        first = page.locator("#log-lines > .line-stdout .line-text").first
        assert first.inner_text() == "<script>alert(document.domain)</script>"
        assert page.locator(".line-stdout", has_text="after a title").inner_text().endswith("after a title")
        is_harmless(page)
        for path in (f"/jobs/{failed['id']}", f"/jobs/{failed['id']}?search=script", "/history?text=hostile", "/"):
            page.goto(path)
            is_harmless(page)
        page.goto(f"/jobs/{live if phone else failed['id']}")
        assert grave_faults(page) == []
    assert dialogs == []
    page.goto(f"/jobs/{failed['id']}")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download <img src=x onerror=alert(5)>.html").click()
    assert download.value.path().read_text() == "<script>alert(document.domain)</script>"
    assert page.url.endswith(failed["id"])


def heard(dialog: Dialog, dialogs: list[str]) -> None:
    dialogs.append(dialog.message)
    dialog.dismiss()


def is_harmless(page: Page) -> None:
    assert page.evaluate(FOREIGN) == []
    assert not page.evaluate(STEERING)
    assert page.title().endswith("· Botkeep")
    assert fits(page)
    assert page.evaluate(TOO_WIDE) == 0
