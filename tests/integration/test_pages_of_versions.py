"""What programs say and what changed in them: lines, sentences for what has none, and who may see it."""

import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from sqlalchemy import update

from runner.models import PackageBlob, PackageVersion
from tests.api import Api, error_of, serving
from tests.markup import Element
from tests.pages import Pages
from tests.support import Stores
from vault import db

HOSTILE = "<script>alert(1)</script> \u202e\x1b[31m{{ASSET.A.B}}"
BEFORE: dict[str, str | bytes] = {
    "main.py": "one\ntwo\nthree\n",
    "bot.toml": 'entry = "main.py"\ntimeout = "10m"\nassets = ["A.*"]\n',
    "logo.bin": b"\0\1",
    "large.txt": "a\n" * 300_000,
    "gone.py": "old\n",
    "latin.py": "é".encode("latin-1"),
    "é ü/tool.sh": "run\n",
}
AFTER: dict[str, str | bytes] = {
    **{name: text for name, text in BEFORE.items() if name != "gone.py"},
    "main.py": f"one\n{HOSTILE}\nthree",
    "bot.toml": 'entry = "main.py"\ntimeout = "20m"\nassets = ["A.*", "B.C"]\n',
    "logo.bin": b"\0\2",
    "large.txt": "b\n" * 300_000,
    "latin.py": "è".encode("latin-1"),
    "empty.py": "",
    "é ü/tool.sh": "walk\n",
}


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as api:
        for files in (BEFORE, AFTER):
            add(api, files)
        yield api


def add(api: Api, files: Mapping[str, str | bytes], name: str = "b") -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for file, content in files.items():
            archive.writestr(file, content)
    assert api.client.post("/api/v1/bots", params={"name": name}, content=buffer.getvalue()).status_code == 201


def part(page: Element, name: str) -> Element:
    """What a comparison says of one file."""
    (found,) = [each for each in page.every("details", "code-file") if each.one("h2").text == name]
    return found


def lines(found: Element) -> list[str]:
    """The lines of a comparison, with the minus of pages as people type it."""
    return [each.text.replace("\N{MINUS SIGN}", "-") for each in found.every("div", "code-line")]


def test_the_lines_that_changed_are_shown_with_signs_and_numbers(api: Api) -> None:
    page = Pages(api.client).get("/bots/b/diff?before=1&after=2")
    main = part(page, "main.py")
    assert lines(main) == [
        "1 1 one",
        "2 - two",
        "3 - three",
        "2 + <script>alert(1)</script> \\u202e\\x1b[31m{{ASSET.A.B}}",
        "3 + three no line end at the end of the file",
    ]
    assert not page.every("div", "code-frame")[0].every("script")
    assert [each.text for each in main.one("summary").every("span")][:2] == ["+2", "\N{MINUS SIGN}2"]
    assert lines(part(page, "gone.py")) == ["1 - old"]
    assert lines(part(page, "é ü/tool.sh")) == ["1 - run", "1 + walk"]
    assert "The file is empty." in part(page, "empty.py").text
    assert "Larger than 512 KiB" in part(page, "large.txt").text
    assert "Not text" in part(page, "logo.bin").text
    assert "Not UTF-8" in part(page, "latin.py").text
    settings = [row.text for row in page.one("section", aria_labelledby="settings").every("tr")][1:]
    assert settings == ["assets A.* A.*, B.C", "timeout 10m 20m"]


def test_a_file_is_compared_alone_and_read_whole(api: Api) -> None:
    pages = Pages(api.client)
    page = pages.get("/bots/b/diff?before=1&after=2&file=main.py")
    assert len(page.every("details", "code-file")) == 1
    links = [each["href"] for each in page.one("details", "code-file").every("a")]
    assert links == [f"/bots/b/versions/{number}/source?file=main.py" for number in (2, 1)]
    whole = pages.get(links[1])
    assert lines(whole) == ["1 one", "2 two", "3 three"]
    assert whole.one("h1").text == "main.py"
    assert "did not change" in pages.get("/bots/b/diff?before=1&after=2&file=none.py").text
    assert "Not text" in pages.get("/bots/b/versions/2/source?file=logo.bin").text
    assert "no file" in pages.get("/bots/b/versions/2/source?file=../main.py", status=404).text
    listed = pages.get("/bots/b/versions/2")
    assert "7 files" in listed.one("section", aria_labelledby="files").text
    pages.get("/bots/b/versions/3", status=404)


def test_programs_are_read_by_those_who_may_change_them(api: Api) -> None:
    operator = Pages(api.role("operator"))
    page = operator.get("/bots/b/diff?before=1&after=2")
    assert "main.py changed" in page.text
    assert not page.every("details", "code-file")
    assert not [each for each in operator.get("/bots/b/versions/1").every("a") if "/source?" in each["href"]]
    operator.get("/bots/b/versions/1/source?file=main.py", status=403)
    viewer = api.role("viewer")
    assert viewer.get("/api/v1/bots/b/versions/1").json()["files"][-1]["name"] == "é ü/tool.sh"
    for path in ("versions/1/source?file=main.py", "diff?before=1&after=2"):
        assert viewer.get(f"/api/v1/bots/b/{path}").status_code == 403
    assert api.audit()[0]["action"] == "bot.source_shown"
    assert lines(Pages(api.role("dev", "dev")).get("/bots/b/versions/1/source?file=gone.py")) == ["1 old"]


def test_stored_bytes_that_were_changed_are_not_shown(api: Api) -> None:
    digest = api.client.get("/api/v1/bots/b/versions/1").json()["digest"]
    for content in (b"x" * 700_000, b""):
        with db.writing(api.console.engine) as session:
            session.execute(update(PackageBlob).where(PackageBlob.digest == digest).values(content=content))
        page = Pages(api.client).get("/bots/b/versions/1/source?file=main.py")
        assert "not those that were registered" in page.text
    assert (
        "not those that were registered" in part(Pages(api.client).get("/bots/b/diff?before=1&after=2"), "main.py").text
    )


def test_a_version_of_before_files_were_listed_says_so(api: Api) -> None:
    with db.writing(api.console.engine) as session:
        session.execute(update(PackageVersion).where(PackageVersion.number == 1).values(files=None))
    pages = Pages(api.client)
    assert "before its files were listed" in pages.get("/bots/b/versions/1").text
    assert "before its files were listed" in pages.get("/bots/b/versions/1/source?file=main.py", status=404).text
    assert not pages.get("/bots/b/diff?before=1&after=2").every("details", "code-file")
    assert api.client.get("/api/v1/bots/b/diff?before=1&after=2").json()["files"] is None


def test_the_interface_answers_the_same_lines(api: Api) -> None:
    answer = api.client.get("/api/v1/bots/b/diff?before=1&after=2").json()
    files = {each["name"]: each for each in answer["files"]}
    assert [line["sign"] + line["text"] for line in files["main.py"]["hunks"][0]["lines"]] == [
        *(" one", "-two", "-three"),
        *(f"+{HOSTILE}", "+three"),
    ]
    assert (files["main.py"]["added"], files["main.py"]["removed"], files["gone.py"]["after"]) == (2, 2, None)
    assert files["logo.bin"]["note"] == "Not text: not shown."
    source = api.client.get("/api/v1/bots/b/versions/2/source", params={"file": "main.py"}).json()
    assert (source["text"], source["note"]) == (AFTER["main.py"], "")
    missing = api.client.get("/api/v1/bots/b/versions/2/source", params={"file": "no\u202ene"})
    assert (missing.status_code, "no file" in error_of(missing)) == (404, True)
    assert api.client.get("/api/v1/bots/b/diff?before=1&after=9").status_code == 404


def test_a_page_of_many_changes_says_what_it_leaves_out(api: Api) -> None:
    many = {f"f{number:02}.py": "x\n" * 400 for number in range(12)} | {"main.py": "1\n"}
    add(api, many, "many")
    add(api, {name: text.replace("x", "y") for name, text in many.items()} | {"main.py": "2\n"}, "many")
    page = Pages(api.client).get("/bots/many/diff?before=1&after=2")
    assert len(lines(page)) == 1000
    assert "600 more lines not shown" in part(page, "f00.py").text
    assert "this page has enough lines" in part(page, "f11.py").text
    alone = Pages(api.client).get("/bots/many/diff?before=1&after=2&file=f11.py")
    assert len(lines(alone)) == 800
