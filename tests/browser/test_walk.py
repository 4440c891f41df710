"""The way of an operator: create an asset, run in prod, watch the log, see the badge, cancel, read the audit.

By mouse, without scripts, and by keyboard alone on a phone. Everything that passes between browser and console is
recorded meanwhile: what the bot prints of its values, and what was typed, is in no answer.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from tests import canaries, recorder
from tests.browser import PATIENCE, Visitor, fits, grave_faults
from tests.canaries import Canary, Searcher
from tests.recorder import Exchange
from tests.system import System

#: Prints its value in every way that it knows, and then goes on until it is stopped.
BOT = """
import base64, json, os, time
value = os.environ["KLANGO_ASSET_SHOP_PASSWORD"]
print("value", value, base64.b64encode(value.encode()).decode(), value.encode().hex(), json.dumps(value), flush=True)
while True:
    print("still here", flush=True)
    time.sleep(0.2)
"""

Way = Literal["mouse", "without scripts", "keyboard on a phone"]


@dataclass(slots=True)
class Walker:
    """A person in front of a page, with a mouse or with nothing but a keyboard."""

    page: Page
    keyboard: bool = False
    planted: list[Canary] = field(default_factory=list)

    def press(self, what: Locator) -> None:
        """A link or a button."""
        if self.keyboard:
            self.reach(what)
            self.page.keyboard.press("Enter")
        else:
            what.click()

    def write(self, label: str, text: str) -> None:
        """Into the field of that label."""
        what = self.page.get_by_label(label, exact=True)
        if self.keyboard:
            self.reach(what)
            self.page.keyboard.insert_text(text)
        else:
            what.fill(text)

    def write_value(self, name: str, environment: str) -> None:
        """A value that must not be seen again."""
        canary = canaries.plain(name)
        self.planted.append(canary)
        what = self.page.locator(f"input[name=value-{environment}]")
        if self.keyboard:
            self.reach(what)
            self.page.keyboard.insert_text(canary.value.decode())
        else:
            what.fill(canary.value.decode())

    def choose_prod(self) -> None:
        """Of the environments of a form."""
        if self.keyboard:
            self.reach(self.page.locator("input[name=environment]:checked"))
            self.page.keyboard.press("ArrowRight")
            self.page.keyboard.press("ArrowRight")
        else:
            self.page.locator("input[name=environment][value=prod]").check()
        expect(self.page.locator("input[name=environment]:checked")).to_have_value("prod")

    def go_to(self, name: str) -> None:
        """By the navigation, wherever it is."""
        self.press(
            self.page.get_by_role("navigation").get_by_role("link", name=name, exact=True).locator("visible=true").first
        )
        expect(self.page.get_by_role("heading", level=1)).to_have_text(name)

    def reach(self, what: Locator) -> None:
        """Press Tab until it has the focus."""
        what.wait_for()
        for _ in range(150):
            if what.evaluate("(each) => each === document.activeElement"):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"The keyboard does not reach {what}.")


@pytest.fixture
def recorded(system: System) -> Iterator[tuple[str, list[Exchange]]]:
    """An address that passes everything on to the console, and all that passed."""
    with recorder.proxy(str(system.client.base_url)) as found:
        yield found


@pytest.mark.timeout(120)
@pytest.mark.parametrize("shared_system", ["server"], indirect=True)
@pytest.mark.parametrize("way", ["mouse", "without scripts", "keyboard on a phone"])
def test_an_operator_goes_from_an_asset_to_the_audit(
    system: System, visitor: Visitor, recorded: tuple[str, list[Exchange]], way: Way
) -> None:
    address, exchanges = recorded
    system.add_bot("shopkeeper", BOT)
    page = visitor.open(address, phone=way == "keyboard on a phone", scripts=way != "without scripts")
    page.on("dialog", lambda dialog: dialog.accept())
    walker = Walker(page, keyboard=way == "keyboard on a phone")
    sign_in(system, walker, name=f"walker-{way.replace(' ', '-')}-{os.getpid()}")
    create_asset(walker)
    if way == "mouse":
        change_and_roll_back(walker)
    job_id = run_in_prod(walker)
    watch(walker, live=way != "without scripts")
    cancel(walker, live=way != "without scripts")
    assert system.wait_for(job_id)["state"] == "cancelled"
    number = 1
    assert [(one["asset"], one["number"]) for one in system.job(job_id)["readings"]] == [("SHOP.PASSWORD", number)]
    look_at_history(walker, job_id)
    read_audit(walker, job_id)
    assert_nothing_leaked(walker, exchanges, printed=system.log(job_id))


def sign_in(system: System, walker: Walker, *, name: str) -> None:
    answer = system.client.post("/api/v1/users", json={"name": name, "role": "admin"})
    assert answer.status_code == 201, answer.text
    link = urlsplit(system.client.post(f"/api/v1/users/{name}/links").json()["url"])
    walker.page.goto(f"{link.path}?{link.query}")
    walker.press(walker.page.get_by_role("button", name=f"Sign in as {name}"))
    walker.page.wait_for_url(lambda url: "/sign-in" not in url)


def create_asset(walker: Walker) -> None:
    walker.page.goto("/")
    walker.go_to("Assets")
    walker.press(walker.page.locator("main").get_by_role("link", name="New asset"))
    walker.page.get_by_role("heading", name="New asset").wait_for()
    walker.page.locator("#f-group").wait_for()
    for name, text in (("group", "SHOP"), ("name", "PASSWORD")):
        where = walker.page.locator(f"#f-{name}")
        walker.reach(where) if walker.keyboard else where.focus()
        walker.page.keyboard.insert_text(text)
    walker.write_value("the first value of prod", "prod")
    walker.press(walker.page.get_by_role("button", name="Create asset"))
    expect(walker.page.locator("#notice")).to_contain_text("SHOP.PASSWORD was created")


def change_and_roll_back(walker: Walker) -> None:
    prod = walker.page.locator("#prod")
    walker.press(prod.get_by_text("Set a new value"))
    walker.write_value("the second value of prod", "prod")
    walker.press(prod.get_by_role("button", name="Save value"))
    expect(walker.page.locator("#notice")).to_contain_text("Value 2 of SHOP.PASSWORD is in force in prod.")
    walker.press(prod.get_by_role("button", name="Roll back"))
    expect(walker.page.locator("#notice")).to_contain_text("Value 1 of SHOP.PASSWORD is in force in prod again.")


def run_in_prod(walker: Walker) -> str:
    walker.go_to("Bots")
    walker.press(walker.page.locator("main").get_by_role("link", name="shopkeeper", exact=True).first)
    walker.press(walker.page.locator("main").get_by_role("link", name="Run…").first)
    walker.page.get_by_role("heading", name="Run shopkeeper").wait_for()
    walker.choose_prod()
    walker.press(walker.page.get_by_role("button", name="Run", exact=True))
    walker.page.wait_for_url("**/jobs/*")
    assert fits(walker.page)
    return walker.page.url.rpartition("/")[2].partition("#")[0]


def watch(walker: Walker, *, live: bool) -> None:
    lines = walker.page.locator("#log-lines > .line", has_text="still here")
    if live:
        expect(walker.page.locator("#log-follow")).to_have_attribute("aria-pressed", "true")
        expect(lines.nth(3)).to_be_visible(timeout=PATIENCE)
        expect(walker.page.locator("#job .state").first).to_have_text("running", timeout=PATIENCE)
        end = "(frame) => frame.scrollHeight - frame.scrollTop - frame.clientHeight < 40"
        assert walker.page.locator("#log-frame").evaluate(end)
    else:
        for _ in range(100):
            if lines.count() > 3:
                break
            walker.page.wait_for_timeout(100)
            walker.press(walker.page.get_by_role("link", name="Look again"))
        else:
            raise AssertionError("the log never showed what the bot prints")
    expect(walker.page.locator("#job .environment")).to_have_text("prod")
    expect(walker.page.locator("#log-lines > .line", has_text="value ***")).to_have_count(1)


def cancel(walker: Walker, *, live: bool) -> None:
    walker.press(walker.page.get_by_role("button", name="Cancel"))
    expect(walker.page.locator("#notice")).to_contain_text("The runner was asked to stop the bot.")
    for _ in range(1 if live else 100):
        state = walker.page.locator("#job .state").first
        if live:
            expect(state).to_have_text("cancelled", timeout=PATIENCE)
            expect(walker.page.locator("#log-last")).to_contain_text("End of the log", timeout=PATIENCE)
        if state.inner_text() == "cancelled":
            break
        walker.page.wait_for_timeout(100)
        walker.page.reload()
    expect(walker.page.get_by_role("button", name="Run again")).to_be_visible()
    assert fits(walker.page)
    if live:
        assert grave_faults(walker.page) == []


def look_at_history(walker: Walker, job_id: str) -> None:
    walker.go_to("History")
    row = walker.page.locator("tr", has=walker.page.locator(f"#job-{job_id}"))
    expect(row.locator(".environment")).to_have_text("prod")
    expect(row.locator(".state")).to_have_text("cancelled")


def read_audit(walker: Walker, job_id: str) -> None:
    walker.page.goto("/audit?about=job")
    rows = walker.page.locator("tbody tr", has_text=job_id)
    expect(rows.filter(has_text="job.enqueued")).to_have_count(1)
    expect(rows.filter(has_text="job.cancelled")).to_have_count(1)
    walker.page.goto("/audit?action=asset")
    expect(walker.page.locator("tbody tr", has_text="SHOP.PASSWORD").first).to_be_visible()


def assert_nothing_leaked(walker: Walker, exchanges: list[Exchange], *, printed: list[str]) -> None:
    searcher = Searcher(walker.planted)
    answers = [(f"the answer to {each.method} {each.path}", each.answer) for each in exchanges]
    assert sorted(map(str, searcher.look(answers))) == []
    assert next(line for line in printed if line.startswith("value ")).count("***") == 4
    # It was recorded indeed: the values went in, and the log came out.
    sent = searcher.look([(each.path, each.request_body) for each in exchanges if each.method == "POST"])
    assert {hit.canary for hit in sent} == {canary.name for canary in walker.planted}
    assert any(b"still here" in answer for _name, answer in answers)
    streamed = [answer for name, answer in answers if "/log/events" in name]
    assert all(json.dumps("still here").encode() in answer for answer in streamed[:1])
