"""The pages of bots: uploaded, compared, run with parameters, removed; what a form says and what it keeps."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api import Api, serving
from tests.pages import Pages, notice
from tests.support import Stores

TOML = """
name = "invoices"
assets = ["SAP.*", "MAIL.PASSWORD"]
[parameters.month]
required = true
[parameters.days]
default = 30
[parameters.login]
default = "{{ASSET.SAP.USER}}"
"""


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as api:
        yield api


def zipped(**files: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "."), text)
    return buffer.getvalue()


def test_a_bot_is_uploaded_and_its_versions_are_compared(api: Api) -> None:
    pages = Pages(api.client)
    assert "No bots yet" in pages.get("/bots").text
    form = pages.get("/bots/~new")
    first = zipped(main__py="print(1)\n", bot__toml=TOML, old__py="")
    page = pages.post(form, "/bots", files={"files": ("bot.zip", first)})
    assert "Version 1 of invoices was added." in notice(page)
    page = pages.post(form, "/bots", files={"files": ("bot.zip", first)})
    assert "holds the same files already" in notice(page)
    second = zipped(
        main__py="print(2)\n", bot__toml=TOML + 'x = "y"\n[retries]\nlimit = 3\n', requirements__txt="six\n"
    )
    refused = pages.post(form, "/bots", status=422, files={"files": ("bot.zip", second)})
    assert "bot.toml" in refused.one("div", "notice-bad").text
    second = zipped(main__py="print(2)\n", bot__toml=TOML + "[retries]\nlimit = 3\n", requirements__txt="six\n")
    pages.post(form, "/bots", files={"files": ("bot.zip", second)})

    listed = pages.get("/bots/invoices/versions")
    (link,) = [each["href"] for each in listed.every("a") if "diff" in each["href"]]
    diff = pages.get(link)
    changes = {row.every("td")[0].text: row.every("td")[1].text for row in diff.every("tr") if row.every("td")}
    assert changes["old.py"] == "removed"
    assert changes["requirements.txt"] == "added"
    assert changes["main.py"] == changes["bot.toml"] == "changed"
    assert [row.text for row in diff.every("tr") if "retries.limit" in row.text] == ["retries.limit 0 3"]
    assert diff.one("section", aria_labelledby="needs").text.endswith("added six")
    assert "There is no" not in pages.get(f"{link.split('?')[0]}?before=2&after=2").text
    pages.get(f"{link.split('?')[0]}?before=2&after=9", status=404)
    with zipfile.ZipFile(io.BytesIO(second)) as archive:
        assert not [text for text in pages.seen if archive.read("main.py").decode() in text]


def test_single_files_become_a_bot_of_their_name(api: Api) -> None:
    pages = Pages(api.client)
    form = pages.get("/bots/~new")
    page = pages.post(form, "/bots", files={"files": ("hello.py", b"print('hello')\n")})
    assert page.one("h1").text == "hello"
    nothing = pages.post(form, "/bots", status=422, name="kept", files={"files": ("", b"")})
    assert "Choose the bot's files" in nothing.one("div", "notice-bad").text
    assert nothing.form("/bots")["name"] == "kept"


def test_a_bot_is_run_from_its_form_with_typed_parameters_and_references(api: Api) -> None:
    api.set_value("SAP.USER", b"robot", "dev")
    api.set_value("OTHER.KEY", b"other", "dev")
    api.add_bot("invoices", **{"bot.toml": TOML})
    pages = Pages(api.client)
    form = pages.get("/bots/invoices/run")
    offered = [each["value"] for each in form.one("datalist", id="references").every("option")]
    assert offered == ["{{ASSET.SAP.USER}}"]
    action = "/bots/invoices/jobs"
    fields = form.form(action)
    assert fields["parameter-days"] == "30"
    assert fields["environment"] == "dev"
    again = pages.post(form, action, status=422, parameter_days="many", parameter_month="2026-11")
    assert "written as JSON" in again.one(id="h-parameter-days").text
    assert again.form(action)["parameter-month"] == "2026-11"
    again = pages.post(form, action, status=422)
    assert "needs the parameter" in again.one(id="h-parameter-month").text
    again = pages.post(form, action, status=422, parameter_month="{{ASSET.NO.SUCH}}", environment="prod")
    assert "does not exist" in again.one("div", "notice-bad").text
    assert again.form(action)["environment"] == "prod"
    answer = api.client.post(action, data={**fields, "parameter-month": "2026-11", "priority": "high"})
    assert answer.status_code == 303
    job = api.client.get(f"/api/v1{answer.headers['location']}").json()
    assert job["parameters"] == {"month": "2026-11", "days": 30, "login": "{{ASSET.SAP.USER}}"}
    assert (job["priority"], job["environment"], job["cause"]["name"]) == ("high", "dev", "root")
    limited = Pages(api.role("operator", "dev"))
    form = limited.get("/bots/invoices/run")
    assert "disabled" in form.one("input", type="radio", value="prod").attributes
    refused = limited.post(form, action, status=403, environment="prod", parameter_month="x")
    assert "may not touch prod" in refused.text


def test_a_bot_without_declared_parameters_takes_an_object(api: Api) -> None:
    api.add_bot("hello")
    pages = Pages(api.client)
    form = pages.get("/bots/hello/run")
    for wrong in ("[1]", "{", '{"a": "\\u0000"}', '{"a": NaN}', "[" * 100_000):
        assert pages.post(form, "/bots/hello/jobs", status=422, parameters=wrong).every("form")
    answer = api.client.post("/bots/hello/jobs", data={"environment": "staging", "parameters": '{"a": [1, "ä"]}'})
    job = api.client.get(f"/api/v1{answer.headers['location']}").json()
    assert (job["parameters"], job["environment"]) == ({"a": [1, "ä"]}, "staging")


def test_a_bots_page_says_what_it_declares_and_what_is_missing(api: Api) -> None:
    api.add_bot("invoices", **{"bot.toml": TOML})
    api.add_bot("free")
    pages = Pages(api.client)
    page = pages.get("/bots/invoices")
    assert "MAIL.PASSWORD" in page.one("div", "notice-warning").text
    assert page.one("div", "notice-warning").one("a")["href"] == "/assets/new?group=MAIL&name=PASSWORD"
    assert "declares no assets" in pages.get("/bots/free").text
    api.run("free")
    viewer = Pages(api.role("viewer"))
    listed = viewer.get("/bots")
    assert [each.text for each in listed.every("a", "name")] == ["free", "invoices"]
    assert listed.one("span", "state-queued").text == "queued"
    assert not viewer.get("/bots/free").every("form")
    assert [each.text for each in viewer.get("/bots?q=VOI").every("a", "name")] == ["invoices"]
    removed = pages.post(pages.get("/bots/invoices"), "/bots/invoices/removal")
    assert "invoices was removed" in notice(removed)
    busy = api.client.post("/bots/free/removal")
    assert busy.status_code == 409
    assert "cancel them" in busy.text
