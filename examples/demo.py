"""`make demo`: Botkeep's main job on real processes, in a temporary home and on free ports.

Registers the three bots of the examples, gives two assets a value for each environment, runs the bots, and shows
their masked logs and the history. Promises exit status 0 only if every step did what it shows, which step 7
checks by itself, and that nothing it started outlives it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import sqlite3
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator

from examples.stage import ENVIRONMENTS, Failed, Stage, asked, botkeep, gone, installation, portal, stage

BOTS = ("report", "totals", "rates")


def main() -> int:
    """Plays the demo; 0 only if everything was as it was shown."""
    try:
        with stage() as here:
            play(here)
    except Failed as failure:
        print(f"\nThe demo failed: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def play(here: Stage) -> None:
    """The steps, in order."""
    step(here, 1, "A web service to work with, and Botkeep with everything it needs")
    with portal(here) as address:
        here.say(f"  The portal is at {address}: three sites, each with a password and an API key of its own.")
        with installation(here):
            step(here, 2, "Three bots")
            for name in BOTS:
                botkeep(here, "bot", "add", name, f"examples/{name}")
            step(here, 3, "A password and a key, with a value for each environment, by stdin")
            for (asset, environment), value in here.values.items():
                botkeep(here, "asset", "set", asset, "--env", environment, value=value)
            botkeep(here, "asset", "coverage")
            step(here, 4, "One bot in Dev, Staging and Prod; it prints its request headers, and the log is masked")
            jobs = {name: run(here, "report", name, f"portal={address}") for name in ENVIRONMENTS}
            step(here, 5, "The other two: a CSV file into a database, and a JSON API with a key")
            run(here, "totals", "dev", f"database={here.database}")
            run(here, "rates", "prod", f"api={address}")
            step(here, 6, "The history")
            botkeep(here, "history")
            step(here, 7, "Was it all true?")
            check_history(here, jobs)
            check_reports(here, jobs, address)
            check_totals(here)
            check_masks(here)
            step(here, 8, "Stop everything")
    check_what_is_left(here)
    here.say()
    here.say("Everything did what it showed.", bold=True)


def step(here: Stage, number: int, title: str) -> None:
    """A heading."""
    here.say()
    here.say(f"{number}  {title}", bold=True)


def run(here: Stage, bot: str, environment: str, parameter: str) -> str:
    """Runs a bot to its end; returns the job's id, which is what the command prints first."""
    return botkeep(here, "run", bot, "--env", environment, "--param", parameter, "--follow").split()[0]


def fact(here: Stage, text: str, *, holds: bool) -> None:
    """Something that was checked just now."""
    if not holds:
        raise Failed(f"it is not so that {text}.")
    here.say(f"  ✓ {text}")


def check_history(here: Stage, jobs: dict[str, str]) -> None:
    """Each job succeeded in the environment it was started in, with that environment's value."""
    history = {job["id"]: job for job in asked(here, "history")}
    states = [job["state"] for job in history.values()]
    fact(here, "history has five jobs, and all succeeded", holds=states == ["succeeded"] * 5)
    environments = [history[job]["environment"] for job in jobs.values()]
    fact(here, "each job carries the environment it was started in", holds=environments == [*jobs])
    readings = [
        [reading["asset"] for reading in asked(here, "job", "show", job)[0]["readings"]] for job in jobs.values()
    ]
    fact(here, "each read PORTAL.PASSWORD and nothing else", holds=readings == [["PORTAL.PASSWORD"]] * 3)


def check_reports(here: Stage, jobs: dict[str, str], address: str) -> None:
    """Each site has one report, from the job of its environment, and takes no other environment's password."""
    for environment, job in jobs.items():
        found = [json.loads(path.read_text(encoding="utf-8")) for path in (here.reports / environment).glob("*")]
        filed = [(report["job"], report["environment"]) for report in found] == [(job, environment)]
        fact(here, f"the {environment} site has one report, filed by the {environment} job", holds=filed)
    let_in = [
        (site, other)
        for site in ENVIRONMENTS
        for other in ENVIRONMENTS
        if lets_in(f"{address}/{site}/account", here.values["PORTAL.PASSWORD", other])
    ]
    own = [(site, site) for site in ENVIRONMENTS]
    fact(here, "a site lets in the password of its own environment, and no other", holds=let_in == own)


def lets_in(url: str, password: str) -> bool:
    """Whether the portal accepts a password."""
    credentials = base64.b64encode(f"robot:{password}".encode()).decode()
    request = urllib.request.Request(url, headers={"Authorization": f"Basic {credentials}"})
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=10):
            return True
    except urllib.error.HTTPError as error:
        if error.code != 401:
            raise
        return False


def check_totals(here: Stage) -> None:
    """The database holds what the CSV file says."""
    with contextlib.closing(sqlite3.connect(here.database)) as database:
        totals = dict(database.execute("SELECT customer, amount FROM totals"))
    fact(here, "the totals are exact to the cent: 0.10 + 0.20 = 0.30", holds=totals["Zoë's Flowers"] == "0.30")


def check_masks(here: Stage) -> None:
    """The headers were shown without the password, and nothing else showed a value either."""
    headers = [line for line in here.shown if "Authorization: Basic" in line]
    masked = len(headers) == 6 and all(line.endswith("***") for line in headers)
    fact(here, "six requests were printed, with *** where the password stands", holds=masked)
    shown = "\n".join(here.shown).encode()
    fact(here, "no value is anywhere in what you read above", holds=not contains(shown, here))


def check_what_is_left(here: Stage) -> None:
    """No process, and no value in any file."""
    files = [path for path in here.folder.rglob("*") if path.is_file()]
    clean = bool(files) and not any(contains(path.read_bytes(), here) for path in files)
    fact(here, f"no value is in any of the {len(files)} files that are left: database, broker, logs", holds=clean)
    fact(here, "no process is left", holds=gone(within=10.0))


def contains(content: bytes, here: Stage) -> bool:
    """Whether a value is in there: as it is, in Base64 at any offset, in hexadecimal, or in UTF-16."""
    lower = content.lower()
    return any(
        form in content or form.hex().encode() in lower
        for value in here.values.values()
        for form in (value.encode(), value.encode("utf-16-le"), *base64_forms(value.encode()))
    )


def base64_forms(value: bytes) -> Iterator[bytes]:
    """What stays the same of a value's Base64, whatever stands before and after it."""
    for before in range(3):
        yield base64.b64encode(b"\0" * before + value)[(0, 2, 3)[before] : -4]


if __name__ == "__main__":
    sys.exit(main())
