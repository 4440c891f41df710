"""Pages of assets, bots, settings and keys in a browser: at a desk, on a phone, by keyboard, without scripts."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.api import Api, serving
from tests.browser import PATIENCE, Visitor, fits, grave_faults
from tests.support import Stores

TOML = 'assets = ["SAP.*"]\n[parameters.month]\nrequired = true\n[parameters.login]\ndefault = "robot"\n'

#: Drops a file on the field of the page, as a person does who drags it from a folder.
DROP = """(zone) => {
  const data = new DataTransfer();
  data.items.add(new File(["print('dropped')\\n"], "dropped.py"));
  for (const kind of ["dragenter", "dragover", "drop"])
    zone.dispatchEvent(new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true}));
}"""

#: Sums what moves by itself while nobody touches the page (https://web.dev/articles/cls).
SHIFTS = """() => {
  window.moved = 0;
  new PerformanceObserver((list) => {
    for (const each of list.getEntries()) if (!each.hadRecentInput) window.moved += each.value;
  }).observe({type: "layout-shift", buffered: true});
}"""


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as api:
        api.add_bot("invoices", **{"bot.toml": TOML})
        api.add_bot("invoices", "print(2)\n", **{"bot.toml": TOML})
        api.set_value("SAP.PASSWORD", b"some-value", "prod")
        api.set_value("SAP.PASSWORD", b"some-value", "dev", bot="invoices")
        api.add_runner("host")
        api.run("invoices", parameters={"month": "2026-11"})
        yield api


def token(api: Api) -> str:
    return api.client.headers["Authorization"].removeprefix("Bearer ")


#: Seconds for some twenty pages, each looked through by axe-core, on a machine with other work to do.
LONG = 200

EMBEDDED = pytest.mark.parametrize("stores", ["embedded"], indirect=True)


@EMBEDDED
@pytest.mark.timeout(LONG)
@pytest.mark.parametrize("phone", [False, True], ids=["desk", "phone"])
def test_every_page_fits_and_keeps_nobody_out(api: Api, visitor: Visitor, phone: bool) -> None:  # noqa: FBT001
    page = visitor.open(api.url, token=token(api), phone=phone, scheme="dark" if phone else "light")
    found = []
    for path in (
        "/",
        "/assets",
        "/assets/new",
        "/assets/SAP/PASSWORD",
        "/bots",
        "/bots/~new",
        "/bots/invoices",
        "/bots/invoices/versions",
        "/bots/invoices/diff?before=1&after=2",
        "/bots/invoices/versions/2",
        "/bots/invoices/versions/2/source?file=main.py",
        "/bots/invoices/run",
        "/bots/invoices/assets",
        "/keys",
        "/settings",
        "/nothing",
    ):
        page.goto(path)
        found += grave_faults(page)
        assert fits(page), path
    assert found == []


@EMBEDDED
def test_a_bot_is_dropped_and_run_from_the_dialog(api: Api, visitor: Visitor) -> None:
    page = visitor.open(api.url, token=token(api))
    page.goto("/bots")
    page.get_by_role("link", name="Upload a bot").click()
    page.locator("[data-drop]").evaluate(DROP)
    expect(page.locator("[data-chosen]")).to_have_text("dropped.py")
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("dropped")
    expect(page.locator("#notice")).to_contain_text("Version 1 of dropped was added.")

    page.goto("/bots")
    page.get_by_role("link", name="Run invoices").click()
    dialog = page.get_by_role("dialog", name="Run invoices")
    expect(dialog).to_be_visible()
    dialog.get_by_role("radio", name="staging").check()
    dialog.get_by_label("month").fill("2026-11")
    assert grave_faults(page) == []
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.get_by_role("link", name="Run invoices").click()
    # A reference is completed by keys, in the dialog; Escape closes what is offered, and not the dialog.
    month = dialog.get_by_role("combobox", name="month").or_(dialog.get_by_role("textbox", name="month"))
    month.fill("user ")
    month.press_sequentially("{{ASSET.S")
    offered = dialog.get_by_role("listbox", name="References to assets").get_by_role("option")
    expect(offered.first).to_have_text("{{ASSET.SAP.PASSWORD}}")
    month.press("Escape")
    expect(offered).to_have_count(0)
    expect(dialog).to_be_visible()
    month.press_sequentially("A")
    month.press("Enter")
    expect(month).to_have_value("user {{ASSET.SAP.PASSWORD}}")
    month.fill("2026-12")
    dialog.get_by_role("radio", name="prod").check()
    dialog.get_by_role("button", name="Run").click()
    expect(page.locator("#notice")).to_contain_text("invoices is queued in prod.")


@EMBEDDED
def test_menus_and_the_theme_are_used_by_keyboard(api: Api, visitor: Visitor) -> None:
    page = visitor.open(api.url, token=token(api))
    page.goto("/bots")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    gear = page.locator("summary[aria-label='More about invoices']")
    gear.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Versions")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="Versions")).to_be_hidden()
    expect(gear).to_be_focused()

    switch = page.locator("[data-theme-switch]")
    dark = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(dark)
    switch.press("Enter")
    switch.press("Enter")
    expect(switch).to_contain_text("dark")
    page.reload()
    expect(switch).to_contain_text("dark")
    assert page.evaluate(dark) != light


@EMBEDDED
def test_the_drawer_of_a_phone_opens_and_closes(api: Api, visitor: Visitor) -> None:
    page = visitor.open(api.url, token=token(api), phone=True)
    page.goto("/assets")
    settings = page.locator("#navigation").get_by_role("link", name="Settings")
    expect(settings).to_be_hidden()
    page.get_by_role("button", name="More", exact=True).click()
    expect(settings).to_be_visible()
    page.keyboard.press("Escape")
    expect(settings).to_be_hidden()
    page.get_by_role("button", name="Menu").click()
    settings.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Settings")


@EMBEDDED
def test_nothing_moves_when_home_looks_again(api: Api, visitor: Visitor) -> None:
    page = visitor.open(api.url, token=token(api))
    page.goto("/")
    page.evaluate(SHIFTS)
    with page.expect_response("**/home/now"):
        pass
    expect(page.locator("#now")).to_contain_text("Nothing runs now")
    assert page.evaluate("window.moved") < 0.01
    api.run("invoices", parameters={"month": "2027-01"})
    expect(page.locator("a.figure", has_text="Queued")).to_contain_text("2", timeout=PATIENCE)


@EMBEDDED
def test_everything_is_done_without_scripts(api: Api, visitor: Visitor, tmp_path: Path) -> None:
    page = visitor.open(api.url, token=token(api), scripts=False)
    file = tmp_path / "plain.py"
    file.write_text("print('plain')\n")
    page.goto("/bots/~new")
    page.get_by_label("Drop the bot's files here").set_input_files(file)
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("plain")
    page.get_by_role("link", name="Run…").click()
    page.get_by_role("radio", name="prod").check()
    page.get_by_role("button", name="Run").click()
    expect(page.locator("#notice")).to_contain_text("plain is queued in prod.")
    value(page, "/assets/SAP/PASSWORD")
    expect(page.locator("#staging")).to_contain_text("#1")
    page.locator("summary[aria-label='More about this asset']").click()
    page.get_by_role("button", name="Remove the asset").click()
    expect(page.locator("#notice")).to_contain_text("SAP.PASSWORD was removed")


def value(page: Page, path: str) -> None:
    """Set one in staging."""
    page.goto(path)
    staging = page.locator("#staging")
    staging.locator("summary", has_text="Set a value").click()
    staging.locator("input[type=password]").fill("typed-value")
    staging.get_by_role("button", name="Save value").click()
