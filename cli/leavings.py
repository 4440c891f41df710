"""The files that a job left: listed, and brought to a folder of this machine.

Distrusts the server: no path leads out of the folder, nothing is written over, and what arrives has the digest that
the list says.
"""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath

from cli.client import Client, Item, path_of
from cli.errors import CliError, Refused
from cli.excerpt import new_file
from cli.render import plain
from cli.screen import Column, Screen, show_list


def show(client: Client, job_id: str, to: Screen, *, attempt: int | None) -> None:
    """List them."""
    columns = (
        Column("PATH", lambda item: plain(str(item.get("path")))),
        Column("BYTES", lambda item: f"{int(item.get('size') or 0):,}"),
        Column("", _remark),
    )
    pages = client.pages(path_of("jobs", job_id, "outputs"), query={"attempt": attempt})
    show_list(to, pages, columns, empty="The bot left no files in BOTKEEP_OUTPUT_DIR.")


def download(client: Client, job_id: str, folder: Path, to: Screen, *, attempt: int | None) -> int:
    """Bring all that is there to a folder; answers how many could not be had, each of which was said."""
    failed = 0
    for page in client.pages(path_of("jobs", job_id, "outputs"), query={"attempt": attempt}):
        for item in page:
            path = str(item.get("path"))
            if item.get("withheld"):
                to.remark(f"{plain(path)}: {plain(str(item['withheld']))}")
                continue
            try:
                _bring(client, job_id, item, _inside(folder, path))
            except CliError as error:
                failed += 1
                to.remark(f"{plain(path)}: {error.sentence}")
            else:
                to.item(item) if to.json else to.line(plain(str(folder / path)))
    to.out.flush()
    return failed


def _bring(client: Client, job_id: str, item: Item, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"{target.parent} cannot be made: {error.strerror}.") from None
    digest = hashlib.sha256()
    source = path_of("jobs", job_id, "outputs", *str(item["path"]).split("/"))
    blocks = client.blocks(source, query={"attempt": item.get("attempt")})
    with new_file(target) as output:
        for block in blocks:
            digest.update(block)
            output.write(block)
    if digest.hexdigest() != item.get("sha256"):
        target.unlink()
        raise Refused("What arrived is not what the job left; it was not kept.", hint="Try again.")


def _inside(folder: Path, path: str) -> Path:
    parts = PurePosixPath(path).parts
    target = folder.joinpath(*parts)
    leads_out = path.startswith("/") or ".." in parts or not parts
    if leads_out or not target.parent.resolve().is_relative_to(folder.resolve()):
        raise Refused("Its path leads out of the folder.")
    return target


def _remark(item: Item) -> str:
    if item.get("withheld"):
        return f"withheld: {plain(str(item['withheld']))}"
    return "masked" if item.get("masked") else ""
