"""Home: what runs now, what failed since yesterday, what comes next, and which runners are there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from console.deps import Allowed, Call
from console.pages import shell
from console.pages.charts import NARROW, WIDE, Chart, chart
from runner import overview, runners
from runner.series import STATES, jobs_over_time
from scheduler import triggers

#: Lines of each list.
SHOWN = 8

#: A chart may be so old: a week of many jobs takes a moment to count.
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Span:
    """How a chart divides its time: bars of a width, their number, and which of them say their time, and how."""

    width: timedelta
    count: int
    every: int
    label: str


SPANS = {
    "day": Span(timedelta(hours=1), 24, 4, "%H:%M"),
    "week": Span(timedelta(hours=4), 42, 6, "%a %d"),
}

router = APIRouter()


@router.get("/")
def home(call: Allowed, span: str = "day") -> HTMLResponse:
    """The whole page; `span` is the time that its chart covers."""
    chosen = span if span in SPANS else "day"
    return shell.page(call, "home/page.html", span=chosen, charts=_charts(call, chosen), states=STATES, **_now(call))


@router.get("/home/now")
def now(call: Allowed) -> HTMLResponse:
    """The part of it that changes by itself."""
    return shell.fragment(call, "home/now.html", **_now(call))


def _charts(call: Call, span: str) -> tuple[Chart, Chart]:
    """The chart for a desk and for a phone, where half as many bars say their time."""
    chosen = SPANS[span]

    def count() -> tuple[Chart, Chart]:
        with call.reading() as session:
            buckets = jobs_over_time(
                session, workspace_id=call.workspace_id, now=call.now, width=chosen.width, count=chosen.count
            )
        return (
            chart(buckets, label=chosen.label, every=chosen.every, width=WIDE),
            chart(buckets, label=chosen.label, every=chosen.every * 2, width=NARROW),
        )

    return call.console.remembered.get(("chart", call.workspace_id, span), count, now=call.now, lasting=MINUTE)


def _now(call: Call) -> dict[str, Any]:
    with call.reading() as session:
        found = overview.overview(session, workspace_id=call.workspace_id, now=call.now, shown=SHOWN)
        coming = triggers.coming(session, workspace_id=call.workspace_id, limit=SHOWN)
        seen = runners.listing(session)
    return {"found": found, "coming": coming, "runners": seen}
