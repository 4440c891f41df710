"""History, a job with its log, and runners as pages without scripts, on each pair of stores."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import update

from console.ansi import STYLES
from runner import artefacts, jobs, local_values, progress
from runner.artefacts import Kept
from runner.models import Job, Runner
from runner.output import LogWriter
from runner.states import Reason, State
from tests.api import Api, serving
from tests.markup import Element
from tests.pages import Pages, notice
from tests.support import Stores
from vault import db
from vault.models import Reading

ALERT = "<script>alert(1)</script>"


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as running:
        running.add_bot()
        running.add_runner("host")
        yield running


@pytest.fixture
def pages(api: Api) -> Pages:
    return Pages(api.client)


@contextmanager
def writing(api: Api, job_id: str, attempt: int = 1) -> Iterator[LogWriter]:
    """The log of an attempt, as its runner writes it."""
    log = LogWriter(api.console.store, uuid.UUID(job_id), attempt)
    try:
        yield log
        log.settle()
    finally:
        log.close()


def printed(api: Api, job_id: str, *lines: str, stream: str = "stdout") -> None:
    with writing(api, job_id) as log:
        log.write(stream, lines, at=api.console.now())


def names(page: Element) -> list[str]:
    """The bots of the jobs that a list shows."""
    return [row.every("a", "name")[0].text for row in page.one("tbody").every("tr")] if page.every("tbody") else []


def lines(page: Element) -> list[str]:
    """The texts of the lines of a log that a page shows."""
    return [whole(line.one("bdi")) for line in page.one(id="log-lines").every("div", "line")]


def whole(element: Element) -> str:
    """All text in an element, as it is."""
    return "".join(part if isinstance(part, str) else whole(part) for part in element.content)


def test_history_shows_what_its_address_asks_for(api: Api, pages: Pages) -> None:
    assert "No job yet" in pages.get("/history").text
    api.add_bot("other")
    failed = api.run("other", environment="prod")
    api.run("hello", environment="staging")
    claim = api.claim(failed["id"])
    report = jobs.Report(state=State.FAILED, reason=Reason.EXIT_CODE, detail="Exit status 3", exit_code=3)
    assert jobs.finish(api.direct, claim.job_id, attempt=1, report=report)
    page = pages.get("/history")
    assert names(page) == ["hello", "other"]
    assert [each.text for each in page.one("tbody").every("span", "environment")] == ["staging", "prod"]
    assert page.one("a", "name", id=f"job-{failed['id']}")["href"] == f"/jobs/{failed['id']}"
    for query, expected in (
        ("environment=prod&state=failed&cause=api&runner=host&since=1h&text=STATUS+3", ["other"]),
        ("bot=hello&until=2999-01-01T10:00", ["hello"]),
        (f"text={failed['id']}", ["other"]),
        ("since=2999-01-01", []),
        ("cause=trigger:nightly", []),
    ):
        page = pages.get(f"/history?{query}")
        assert names(page) == expected, query
        assert page.form("/history") == {**dict.fromkeys(FIELDS, ""), **dict(httpx.QueryParams(query))}
        assert "No job fits" in page.text or expected
    page = pages.get("/history?since=yesterday&environment=moon&state=%22%3E", status=422)
    assert len(page.every("span", "wrong")) == 3
    assert names(page) == []


FIELDS = ("text", "bot", "environment", "state", "cause", "runner", "since", "until")


def test_history_goes_on_page_by_page_and_says_only_what_is_new(api: Api, pages: Pages) -> None:
    for _ in range(53):
        newest = api.run("hello")
    page = pages.get("/history?environment=dev")
    assert len(names(page)) == 50
    second = pages.get(page.one("a", rel="next")["href"])
    assert (len(names(second)), second.every("a", rel="next")) == (3, [])
    assert second.one("nav", "pager").one("a")["href"] == "/history?environment=dev"
    again = page.one(id="rows")["hx-get"]
    assert api.client.get(again).status_code == 204
    assert "hx-get" not in second.one(id="rows").attributes
    api.client.post(f"/api/v1/jobs/{newest['id']}/cancellation")
    part = pages.get(again)
    assert part.one("tbody").every("span", "state")[0].text == "cancelled"
    assert api.client.get(part.one(id="rows")["hx-get"]).status_code == 204


def test_a_job_says_everything_about_itself_but_values(api: Api, pages: Pages) -> None:
    api.add_bot("reads", **{"bot.toml": "[parameters.user]\nrequired = true\n[parameters.count]\ndefault = 3\n"})
    asset = api.set_value("SAP.USER", b"a-value-of-prod", "prod")
    job = api.run("reads", environment="prod", parameters={"user": "x{{ASSET.SAP.USER}}\u202e"})
    page = pages.get(f"/jobs/{job['id']}")
    assert "No runner" in page.text or "takes it in a moment" in page.text
    claim = api.claim(job["id"])
    read(api, claim, asset["number"])
    steps = {"claim": 0.0, "preflight": 0.01, "resolve": 0.02, "start": 0.03, "first_output": 0.05, "end": 1.5}
    report = jobs.Report(
        state=State.FAILED,
        reason=Reason.BUSINESS,
        detail=f"No invoice {ALERT}\u202e\x1b[31m",
        exit_code=73,
        warnings=(f"A warning {ALERT}",),
        steps=steps,
        max_rss_kb=4096,
        cpu_seconds=0.25,
    )
    assert jobs.finish(api.direct, claim.job_id, attempt=1, report=report)
    page = pages.get(f"/jobs/{job['id']}")
    facts = page.one(id="job").text
    assert Reason.BUSINESS.sentence in facts
    assert f"No invoice {ALERT}\\u202e\\x1b[31m" in facts
    assert f"A warning {ALERT}" in facts
    assert "x{{ASSET.SAP.USER}}\\u202e" in facts
    assert "exit status 73" in facts
    assert "peak memory 4.2 MB, CPU time 0.2 s" in facts
    shown = [part.text for part in page.one("ol", "step-words").every("li")]
    assert [words for words in shown if "waited" not in words][:2] == [
        "was taken by its runner 10 ms",
        "was checked 10 ms",
    ]
    assert "the bot ran 1.4 s" in shown or "the bot ran 1.5 s" in shown
    readings = [[cell.text for cell in row.every("td")] for row in page.one(id="job-more").one("tbody").every("tr")]
    assert readings == [["SAP.USER", "workspace", "1", "1"]]
    assert [script.attributes["src"] for script in page.every("script") if "src" not in script.attributes] == []
    assert not any("a-value-of-prod" in text for text in pages.seen)


def read(api: Api, claim: jobs.Claim, number: int) -> None:
    """What a runner writes down before it decrypts."""
    with db.writing(api.console.engine) as session:
        session.add(
            Reading(
                job_id=claim.job_id,
                attempt=claim.attempt,
                asset_id=uuid.uuid4(),
                asset="SAP.USER",
                scope="workspace",
                environment=claim.environment,
                number=number,
                runner="host",
                read_at=api.console.now(),
            )
        )


def test_a_long_log_is_read_in_parts(api: Api, pages: Pages) -> None:
    job = api.run()
    claim = api.claim(job["id"])
    printed(api, job["id"], *(f"line {number}{' found' if number % 400 == 7 else ''}" for number in range(1, 1201)))
    page = pages.get(f"/jobs/{job['id']}")
    assert (lines(page)[0], lines(page)[-1], len(lines(page))) == ("line 701", "line 1200", 500)
    assert page.one(id="log")["data-next"]
    assert "data-live" in page.one(id="log").attributes
    before = pages.get(page.one(id="log-before")["href"])
    assert (lines(before)[0], lines(before)[-1]) == ("line 201", "line 700")
    assert "data-live" not in before.one(id="log").attributes
    first = pages.get(before.one(id="log-start")["href"])
    assert (lines(first)[0], len(lines(first)), first.every(id="log-before")) == ("line 1", 500, [])
    assert lines(pages.get(first.one(id="log-next")["href"]))[0] == "line 501"
    assert lines(pages.get(first.one(id="log-end")["href"])) == lines(page)
    found = pages.get(f"/jobs/{job['id']}?search=FOUND")
    assert lines(found) == ["line 7 found", "line 407 found", "line 807 found"]
    assert [each.text for each in found.every("span", "hit")] == ["found"] * 3
    around = pages.get(found.every("a", "line-go")[1]["href"])
    assert lines(around)[0] == "line 387"
    assert around.one("div", "line", id="L407").attributes
    api.finish(claim)
    ended = pages.get(f"/jobs/{job['id']}")
    assert "data-live" not in ended.one(id="log").attributes
    assert "End of the log." in ended.text
    part = pages.get(f"/jobs/{job['id']}/log?from=3")
    assert lines(part)[0] == "line 3"


def test_what_a_bot_prints_is_text_in_a_bounded_page(api: Api, pages: Pages) -> None:
    job = api.run()
    claim = api.claim(job["id"])
    heavy = "".join(f"\x1b[{31 + number % 6}m{number}" for number in range(20_000))
    printed(
        api,
        job["id"],
        ALERT,
        f"\x1b[1;31m{ALERT}\x1b[0m \x1b]0;title\x07\u202etxt.exe",
        "</bdi></div></main>{{ 7*7 }}",
        *(["x" * 60_000] * 200),
        *([heavy] * 50),
    )
    start = pages.get(f"/jobs/{job['id']}?from=1")
    assert lines(start)[:3] == [ALERT, f"{ALERT} \\u202etxt.exe", "</bdi></div></main>{{ 7*7 }}"]
    assert {script["src"].rpartition("/")[2] for script in start.every("script")} == {
        *("theme.js", "htmx.min.js", "app.js", "references.js", "log.js")
    }
    styles = {word for span in start.one(id="log-lines").every("span") for word in span.attributes["class"].split()}
    assert styles <= STYLES | {"line-cut"}
    assert {"bold", "fg-1", "control"} <= styles
    assert lines(pages.get(start.one(id="log-next")["href"]))
    pages.get(f"/jobs/{job['id']}")
    assert max(map(len, pages.seen)) < 3_000_000
    assert not any(mark in text for text in pages.seen for mark in ("\u202e", "\x1b", "<script>alert"))
    api.finish(claim)
    events = api.client.get(f"/jobs/{job['id']}/log/events").text
    assert max(map(len, events.splitlines())) < 20_000
    told = [json.loads(data) for data in events_of(events, "line")]
    assert told[1]["pieces"][:2] == [[ALERT, "bold fg-1"], [" ", ""]]
    assert told[3]["cut"] == 60_000 - 2000
    assert [json.loads(data)["state"] for data in events_of(events, "end")] == ["succeeded"]
    rest = api.client.get(f"/jobs/{job['id']}/log/events", headers={"Last-Event-ID": str(len(ALERT) + 1)}).text
    assert json.loads(events_of(rest, "line")[0])["number"] == 2


def events_of(text: str, name: str) -> list[str]:
    """The data of the events of one name."""
    found = (event.split("\n") for event in text.split("\n\n"))
    return [event[2].removeprefix("data: ") for event in found if event[0] == f"event: {name}"]


def test_what_can_be_done_with_a_job_is_done_by_forms(api: Api, pages: Pages) -> None:
    job = api.run(environment="prod", parameters={})
    path = f"/jobs/{job['id']}"
    page = pages.post(pages.get(path), f"{path}/pause")
    assert notice(page) == "The job is paused."
    assert page.one(id="job").every("span", "state")[1].text == "paused"
    page = pages.post(page, f"{path}/resumption")
    page = pages.post(page, f"{path}/cancellation")
    assert notice(page) == "The job is cancelled."
    assert [form["action"] for form in page.one(id="job").every("form")] == [f"{path}/retry"]
    fresh = pages.post(page, f"{path}/retry")
    assert fresh.every("dd")[0].text != job["id"]
    assert [link.text for link in fresh.every("a", href=path)] == ["retry", job["id"]]
    actions = [row["action"] for row in api.audit() if row["object"].startswith("job")]
    assert actions[:5] == ["job.retried", "job.cancelled", "job.resumed", "job.paused", "job.enqueued"]
    assert api.client.post(f"{path}/pause", headers={"Accept": "text/html"}).status_code == 409
    assert Pages(api.client).get(f"/jobs/{uuid.uuid4()}", status=404).one("h1").text


@pytest.mark.parametrize(("role", "environments"), [("viewer", ()), ("operator", ("dev", "staging"))])
def test_nobody_is_shown_a_button_that_would_be_refused(api: Api, role: str, environments: tuple[str, ...]) -> None:
    job = api.run(environment="prod")
    less = Pages(api.role(role, *environments))
    page = less.get(f"/jobs/{job['id']}")
    assert page.one(id="job").every("form") == []
    for verb in ("cancellation", "pause", "resumption", "retry"):
        answer = less.client.post(f"/jobs/{job['id']}/{verb}", headers={"Accept": "text/html"})
        assert answer.status_code == 403, verb
    assert api.client.get(f"/api/v1/jobs/{job['id']}").json()["state"] == "queued"


def test_the_status_of_a_job_is_told_when_it_changes(api: Api, pages: Pages) -> None:
    job = api.run()
    claim = api.claim(job["id"])
    page = pages.get(f"/jobs/{job['id']}")
    again = page.one(id="job")["hx-get"]
    assert api.client.get(again).status_code == 204
    api.finish(claim)
    part = pages.get(again)
    assert part.one(id="job").every("span", "state")[0].text == "succeeded"
    assert "hx-get" not in part.one(id="job").attributes
    assert part.one(id="job-more")["hx-swap-oob"] == "true"


def test_what_a_bot_left_is_fetched_by_number_whatever_its_name(api: Api, pages: Pages) -> None:
    job = api.run()
    claim = api.claim(job["id"])
    paths = ("<img src=x onerror=alert(1)>.html", "a/b?c#d%2e.txt", "withheld.bin")
    for number, path in enumerate(paths):
        api.console.store.keep(claim.job_id, 1, number, [path.encode()])
    kept = [Kept(number, path, len(path), "0" * 64, False, None) for number, path in enumerate(paths[:2])]
    kept.append(Kept(2, paths[2], 0, "", True, "A value was found in it."))
    with db.writing(api.console.engine) as session:
        artefacts.record(session, claim.job_id, attempt=1, files=kept)
    api.finish(claim)
    page = pages.get(f"/jobs/{job['id']}").one(id="job-more")
    assert [each.text for each in page.one("ul", "lines").every("bdi")] == list(paths)
    links = [each["href"] for each in page.one("ul", "lines").every("a")]
    for link, path in zip(links, paths[:2], strict=True):
        answer = api.client.get(link)
        assert (answer.text, answer.headers["content-type"]) == (path, "application/octet-stream")
        assert answer.headers["content-disposition"].startswith("attachment;")
        assert answer.headers["content-security-policy"] == "sandbox"
    assert api.client.get(f"/jobs/{job['id']}/outputs/1/2").status_code == 409
    for wrong in ("1/3", "2/0", "1/-1", f"1/{2**40}"):
        assert api.client.get(f"/jobs/{job['id']}/outputs/{wrong}").status_code == 404


def test_another_attempt_has_a_log_of_its_own(api: Api, pages: Pages) -> None:
    job = api.run()
    for attempt in (1, 2):
        claim = api.claim(job["id"])
        with writing(api, job["id"], attempt) as log:
            log.write("stderr", [f"of attempt {attempt}"], at=api.console.now())
        if attempt == 1:
            with db.writing(api.console.engine) as session:
                session.execute(update(Job).where(Job.id == claim.job_id).values(state=State.QUEUED))
    page = pages.get(f"/jobs/{job['id']}")
    assert lines(page) == ["of attempt 2"]
    (newest, oldest) = page.every("a", "attempt-log")
    assert lines(pages.get(oldest["href"])) == ["of attempt 1"]
    assert lines(pages.get(newest["href"])) == ["of attempt 2"]


def test_how_far_a_running_bot_is_shows_until_it_ends(api: Api, pages: Pages) -> None:
    job = api.run()
    claim = api.claim(job["id"])
    digest = pages.get(f"/jobs/{job['id']}").one(id="job")["hx-get"]
    with db.writing(api.console.engine) as session:
        progress.tell(session, claim.job_id, attempt=1, fraction=0.5, text="row 1 <b>of</b> 2")
    assert api.client.get(digest).status_code == 200, "there is news"
    panel = pages.get(f"/jobs/{job['id']}").one("section", aria_label="How far the bot is")
    assert panel.one("progress")["value"] == "0.5"
    assert "50 % row 1 <b>of</b> 2" in panel.text
    api.finish(claim)
    assert pages.get(f"/jobs/{job['id']}").every("progress") == []


def test_runners_are_drained_and_removed_by_forms(api: Api, pages: Pages) -> None:
    api.add_runner("a/b <i>", "dev")
    page = pages.get("/runners")
    rows = [row.text for row in page.one("tbody").every("tr")]
    assert "a/b <i>" in rows[0]
    assert "0 of 4" in rows[0]
    assert "it did not say" in rows[0]
    assert api.client.get(page.one(id="rows")["hx-get"]).status_code == 204
    page = pages.post(page, "/runners/host/drain")
    assert "host finishes what it runs" in notice(page)
    assert "draining" in page.one("tbody").every("tr")[1].text
    with db.writing(api.console.engine) as session:
        session.execute(update(Runner).where(Runner.name == "host").values(stopped_at=api.console.now()))
    page = pages.post(pages.get("/runners"), "/runners/host/removal")
    assert len(page.one("tbody").every("tr")) == 1
    viewer = Pages(api.role("viewer")).get("/runners")
    assert viewer.one("tbody").every("form") == []


def test_runners_show_which_values_live_on_their_hosts(api: Api, pages: Pages) -> None:
    path = "/api/v1/assets/SAP/USER/local"
    assert api.client.put(path, params={"bot": "hello", "description": "of the portal <i>"}).status_code == 200
    page = pages.get("/runners")
    assert "No runner has said anything" in page.one("section", aria_labelledby="local-values").text
    with db.writing(api.console.engine) as session:
        (definition,) = local_values.definitions(session)
        told = local_values.said(
            protection="file", locked=True, held={definition.asset_id: ["dev"]}, orphans=0, problem=None
        )
        session.execute(
            update(Runner).where(Runner.name == "host").values(local_values=told, environments=["dev", "prod"])
        )
    assert api.client.get(page.one(id="rows")["hx-get"]).status_code == 200, "there is news"
    (row,) = pages.get("/runners").every("tbody")[1].every("tr")
    cells = [cell.text for cell in row.every("td")]
    assert "of the portal <i>" in cells[0]
    assert "locked" in cells[2]
    assert ("dev" in cells[3].lower(), "prod" in cells[3].lower()) == (True, False)
    assert ("dev" in cells[4].lower(), "prod" in cells[4].lower()) == (False, True)
