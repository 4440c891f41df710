"""Workflows, triggers and sources in a browser: drawn by hand and by keys, watched live, answered, also on a phone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from runner import source_checks
from runner.states import State
from tests.api import Api, serving
from tests.browser import PATIENCE, Visitor, fits, grave_faults
from tests.flow_api import FlowApi
from tests.support import Stores
from vault import db

# What the databases differ in is tested by the pages' other tests.
pytestmark = pytest.mark.parametrize("stores", ["embedded"], indirect=True)

BOOK = '[steps.book]\nbot = "hello"\n'
STEPS = f'[steps.fetch]\nbot = "hello"\n\n{BOOK}\n[steps.tell]\nbot = "hello"\n'


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    """Lets expectations wait as long as everything else does."""
    expect.set_options(timeout=PATIENCE)
    yield
    expect.set_options(timeout=None)


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as api:
        api.add_bot()
        yield api


def token_of(api: Api) -> str:
    return str(api.client.headers["Authorization"]).removeprefix("Bearer ")


def step(page: Page, name: str) -> Locator:
    return page.locator(f"[data-step={name}]")


def line(page: Page, source: str, target: str) -> Locator:
    return page.locator(f"[data-source={source}][data-target={target}]")


def drag(page: Page, name: str, to: str) -> None:
    """Take a step by the pointer and let it go on another one."""
    places = [step(page, each).locator("rect").bounding_box() for each in (name, to)]
    (x, y), (to_x, to_y) = ((box["x"] + box["width"] / 2, box["y"] + box["height"] / 2) for box in places if box)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move((x + to_x) / 2, (y + to_y) / 2, steps=4)
    page.mouse.move(to_x, to_y, steps=4)
    page.mouse.up()


def test_a_workflow_is_drawn_by_dragging_and_by_keys_and_saved(api: Api, visitor: Visitor) -> None:
    page = visitor.open(api.url, token=token_of(api))
    page.goto("/workflows/~new")
    page.get_by_role("textbox", name="Name required").fill("books")
    page.get_by_label("Definition").fill(STEPS)
    page.get_by_role("button", name="Draw what the text says").click()
    expect(step(page, "book")).to_be_visible()
    drag(page, "book", "fetch")
    expect(line(page, "fetch", "book")).to_be_attached()
    expect(page.get_by_label("Definition")).to_have_value(STEPS.replace(BOOK, f'{BOOK}after = "fetch"\n'))
    expect(page.locator("#said")).to_have_text("book now comes after fetch.")
    expect(page.get_by_role("textbox", name="Name required")).to_have_value("books")

    # By keys: take tell, go to book, let it come after; then change when that holds, and take a line away.
    step(page, "tell").focus()
    page.keyboard.press("Enter")
    expect(step(page, "tell")).to_have_attribute("aria-pressed", "true")
    step(page, "book").focus()
    page.keyboard.press("Enter")
    expect(line(page, "book", "tell")).to_be_attached()
    expect(step(page, "tell")).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(step(page, "book")).to_be_focused()
    page.keyboard.press("Shift+ArrowUp")
    expect(line(page, "fetch", "book")).to_be_focused()
    page.keyboard.press("Enter")
    expect(line(page, "fetch", "book")).to_have_attribute("data-on", "failure")
    assert grave_faults(page) == []
    page.keyboard.press("Delete")
    expect(line(page, "fetch", "book")).to_have_count(0)
    page.locator("summary", has_text="Change the drawing").click()
    page.get_by_label("Add a step with the bot").fill("hello")
    page.get_by_label("called").fill("last")
    page.get_by_role("button", name="Add step").click()
    expect(step(page, "last")).to_be_visible()
    page.get_by_role("button", name="Save").click()
    page.wait_for_url("**/workflows/books")
    steps = api.client.get("/api/v1/workflows/books").json()["definition"]["steps"]
    after = {name: [edge["step"] for edge in each.get("after", [])] for name, each in steps.items()}
    assert after == {"fetch": [], "book": [], "tell": ["book"], "last": []}
    assert grave_faults(page) == []


def place_of(page: Page, name: str) -> tuple[float, float]:
    """Where a step stands in its drawing."""
    one = step(page, name)
    return float(one.get_attribute("data-x") or -1), float(one.get_attribute("data-y") or -1)


def test_steps_are_moved_and_lines_drawn_by_pointer_by_keys_and_by_finger(api: Api, visitor: Visitor) -> None:
    FlowApi(api).save("workflow", "books", {"steps": {name: {"bot": "hello"} for name in ("fetch", "book", "tell")}})
    page = visitor.open(api.url, token=token_of(api))
    page.goto("/workflows/books/edit")
    (x, y), other = place_of(page, "tell"), place_of(page, "book")
    box = step(page, "tell").locator("rect").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 50, box["y"] + 200, steps=4)
    page.mouse.up()
    expect(step(page, "tell")).to_have_attribute("data-y", str(int(y + 180)))
    assert (place_of(page, "tell"), place_of(page, "book")) == ((x + 30, y + 180), other)
    expect(step(page, "tell")).to_be_focused()
    page.keyboard.press("Control+ArrowDown")
    expect(step(page, "tell")).to_have_attribute("data-y", str(int(y + 234)))
    # From the dot at the foot of one step to another one.
    dot, target = (step(page, "fetch").locator(".port-dot"), step(page, "tell").locator("rect"))
    dot.drag_to(target)
    expect(line(page, "fetch", "tell")).to_be_attached()
    assert place_of(page, "tell") == (x + 30, y + 234)
    assert grave_faults(page) == []
    page.get_by_role("button", name="Save").click()
    page.wait_for_url("**/workflows/books")

    phone = visitor.open(api.url, token=token_of(api), phone=True, scheme="dark")
    phone.goto("/workflows/books/edit")
    assert place_of(phone, "tell") == (x + 30, y + 234)
    assert fits(phone)
    touched = step(phone, "fetch")
    touched.scroll_into_view_if_needed()
    spot = touched.locator("rect").bounding_box()
    assert spot is not None
    finger = phone.context.new_cdp_session(phone)
    start = {"x": spot["x"] + 30, "y": spot["y"] + 20}
    finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [start]})
    for part in (20, 40, 60):
        point = {"x": start["x"] + part, "y": start["y"] + part}
        finger.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    expect(phone.locator("#said")).to_have_text("Moved fetch.")
    phone.get_by_role("button", name="Tidy").click()
    expect(phone.locator("#said")).to_have_text("Laid out anew.")
    expect(phone.locator("input[name=places]")).to_have_value("")


def test_a_run_is_watched_live_and_its_question_answered(api: Api, visitor: Visitor) -> None:
    world = FlowApi(api)
    approval = {"after": "fetch", "approval": {"question": "Book them?", "environments": ["dev"]}}
    graph = {"steps": {"fetch": {"bot": "hello"}, "release": approval, "book": {"bot": "hello", "after": "release"}}}
    world.save("workflow", "books", graph)
    run_id = world.start("workflow", "books")
    page = visitor.open(api.url, token=api.token("operator"), phone=True, scheme="dark")
    page.goto(f"/runs/{run_id}")
    assert "step-queued" in str(step(page, "fetch").get_attribute("class"))
    assert fits(page)
    world.do()
    expect(page.locator("[data-step=fetch].step-succeeded")).to_be_visible()
    comment = page.get_by_label("Comment")
    comment.fill("checked by hand")
    # What is typed stays while the page goes on looking.
    with page.expect_response("**/progress?asked=release&*"):
        pass
    expect(comment).to_have_value("checked by hand")
    assert grave_faults(page) == []
    page.get_by_role("button", name="Allow").click()
    expect(page.locator("#notice")).to_contain_text("Allowed release.")
    world.tick()
    world.do(State.FAILED)
    expect(page.locator("[data-step=book].step-failed")).to_be_visible()
    page.get_by_role("button", name="Restart what failed").click()
    expect(page.locator("#notice")).to_contain_text("Restarted")
    assert api.client.get("/api/v1/runs").json()["items"][0]["restart_of"] == run_id


def test_references_are_offered_while_they_are_typed(api: Api, visitor: Visitor) -> None:
    for asset in ("DB.PASSWORD", "DB.USER", "MAIL.TOKEN"):
        api.set_value(asset, b"x")
    page = visitor.open(api.url, token=token_of(api))
    page.goto("/sources/~new")
    connection = page.get_by_role("textbox", name="Connection required")
    connection.press_sequentially("postgresql://app:{{ASSET.d")
    options = page.get_by_role("listbox", name="References to assets").get_by_role("option")
    expect(options).to_have_text(["{{ASSET.DB.PASSWORD}}", "{{ASSET.DB.USER}}"])
    assert grave_faults(page) == []
    connection.press("ArrowDown")
    connection.press("Enter")
    connection.press_sequentially("@db")
    expect(connection).to_have_value("postgresql://app:{{ASSET.DB.USER}}@db")
    expect(options).to_have_count(0)


def test_a_check_and_a_schedule_are_seen_on_a_desk_and_on_a_phone(api: Api, visitor: Visitor) -> None:
    api.set_value("DB.PASSWORD", b"x")
    api.add_runner("host", "dev")
    definition = {"connection": "postgresql://app:{{ASSET.DB.PASSWORD}}@db/orders", "query": "select 1"}
    order = {"name": "orders", "kind": "sql", "definition": definition, "environments": ["dev"]}
    assert api.client.post("/api/v1/sources", json=order).status_code == 201
    schedule = {"bot": "hello", "schedule": {"cron": "30 2 * * *", "zone": "Europe/Berlin"}}
    assert api.client.post("/api/v1/triggers", json={"name": "nightly", "definition": schedule}).status_code == 201
    item = {"tray": "t", "data": {"a": [1]}, "reference": "R"}
    assert api.client.post("/api/v1/work-items", json=item).status_code == 201
    page = visitor.open(api.url, token=token_of(api))
    page.goto("/sources/orders")
    page.get_by_role("button", name="Check").click()
    expect(page.locator("#state")).to_contain_text("Waits for a runner")
    with db.writing(api.console.engine) as session:
        check = source_checks.waiting(session, ["dev"])
        assert check is not None
        assert source_checks.claim(session, check, runner="host") is not None
        source_checks.answer(session, check, runner="host", ok=True, document={"sentence": "orders in dev: query ok."})
    expect(page.locator("#state")).to_contain_text("orders in dev: query ok.")
    assert grave_faults(page) == []
    phone = visitor.open(api.url, token=token_of(api), phone=True, scheme="dark")
    for each, places in ((page, PLACES), (phone, NARROW)):
        for place in places:
            each.goto(place)
            assert fits(each), place
            assert grave_faults(each) == []


#: Pages that are looked at for faults on a desk in the light, and those that look another way on a phone, in the dark.
PLACES = ("/triggers/nightly", "/triggers/~new", "/queues/~new", "/work-items", "/work-items/~new")
NARROW = ("/sources/orders", "/triggers/nightly", "/work-items")
