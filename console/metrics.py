"""The console's numbers in Prometheus' text format, written by hand: four families need no library.

https://prometheus.io/docs/instrumenting/exposition_formats/ says the format. Jobs that have ended are not
counted here: counting a million rows at each scrape costs more than it tells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from console.deps import Console
from runner import runners
from runner.models import Job
from runner.states import FINAL, State

#: A sample: its labels and its value.
Sample = tuple[dict[str, str], float]


def render(session: Session, console: Console) -> str:
    """All families, each with its help and type."""
    return "".join(
        (
            _family("botkeep_jobs", "gauge", "Jobs that have not ended, by state.", _jobs(session)),
            _family("botkeep_runners", "gauge", "Known runners, by state.", _runners(session)),
            _family(
                "botkeep_http_requests_total",
                "counter",
                "Answers of this process, by route.",
                _requests(console.requests),
            ),
            _family("botkeep_info", "gauge", "Which version runs.", [({"version": console.version}, 1)]),
        )
    )


def _jobs(session: Session) -> list[Sample]:
    open_states = [state for state in State if state not in FINAL]
    rows = session.execute(select(Job.state, func.count()).where(Job.state.in_(open_states)).group_by(Job.state)).all()
    counts = {row[0]: row[1] for row in rows}
    return [({"state": state}, counts.get(state, 0)) for state in open_states]


def _runners(session: Session) -> list[Sample]:
    counts = Counter(seen.status for seen in runners.listing(session))
    return [({"state": state}, counts[state]) for state in ("online", "draining", "stopped", "lost")]


def _requests(counted: Counter[tuple[str, str, int]]) -> list[Sample]:
    return [
        ({"method": method, "route": route, "status": str(status)}, count)
        for (method, route, status), count in sorted(counted.items())
    ]


def _family(name: str, kind: str, about: str, samples: Iterable[Sample]) -> str:
    lines = [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
    lines += [f"{name}{{{_labels(labels)}}} {value:g}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _labels(labels: dict[str, str]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
