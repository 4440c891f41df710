"""Starting a bot once for each row, or each batch of rows, of a data source, and seeing it come about."""

from __future__ import annotations

import time

from cli.client import Client, Item, path_of
from cli.errors import CliError
from cli.render import plain
from cli.screen import Screen

#: Seconds between two looks.
PAUSE = 0.3

#: Seconds after which a person is told that nobody reads the source yet.
SLOW = 10.0


def fan_out(client: Client, to: Screen, source: str, order: Item) -> None:
    """Ask for the jobs, wait until they are queued, and say how many there are.

    Raises:
        CliError: where the source could not be read; the message says why, and that no job was started.
    """
    found = client.ask("POST", path_of("sources", source, "fan-outs"), body=order)
    since, told = time.monotonic(), False
    while found.get("state") not in ("done", "failed", "cancelled"):
        if not told and found.get("state") == "waiting" and time.monotonic() - since > SLOW:
            to.remark(f"No runner of {order.get('environment')} has taken it yet; it waits, also when you leave.")
            to.remark(f"Cancel it with: botkeep source cancel {plain(source)} {found.get('id')}")
            told = True
        time.sleep(PAUSE)
        found = client.ask("GET", path_of("sources", source, "fan-outs", str(found.get("id"))))
    if to.json:
        to.item(found)
    if found.get("state") == "failed":
        raise CliError(f"{plain(str(found.get('detail')))} No job was started.")
    if found.get("state") == "cancelled":
        raise CliError(plain(str(found.get("detail"))))
    if not to.json:
        to.line(f"{found.get('jobs')} jobs of {plain(str(found.get('bot')))} are queued: botkeep job list")
        to.line(f"Cancel those that have not ended: botkeep source cancel {plain(source)} {found.get('id')}")
