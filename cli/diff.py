"""What changed between two versions of a bot, as a unified diff with colours where there are any; pure."""

from __future__ import annotations

from collections.abc import Iterator

from cli.client import Item
from cli.render import plain

#: SGR colours by the sign of a line.
COLOURS = {"+": "32", "-": "31", "@": "36"}


def written(diff: Item, *, colour: bool) -> Iterator[str]:
    """The lines of a diff: what changed in `bot.toml` and in the packages it needs, then each file."""
    changed = False
    for setting in diff.get("settings") or []:
        changed = True
        name = plain(str(setting.get("name")))
        yield f"setting {name}: {_value(setting.get('before'))} -> {_value(setting.get('after'))}"
    for sign, key in (("-", "requirements_removed"), ("+", "requirements_added")):
        for line in diff.get(key) or []:
            changed = True
            yield _coloured(f"{sign}needs {plain(str(line))}", sign, colour=colour)
    files = diff.get("files")
    if files is None:
        yield "One of the versions was added before its files were listed; only settings can be compared."
        return
    for file in files:
        changed = True
        yield from _file(file, int(diff.get("before") or 0), int(diff.get("after") or 0), colour=colour)
    if not changed:
        yield "Both versions hold the same files."


def _file(file: Item, before: int, after: int, *, colour: bool) -> Iterator[str]:
    name = plain(str(file.get("name")))
    yield f"--- version {before}/{name}" if file.get("before") else "--- /dev/null"
    yield f"+++ version {after}/{name}" if file.get("after") else "+++ /dev/null"
    if file.get("note"):
        yield plain(str(file["note"]))
    for hunk in file.get("hunks") or []:
        yield _coloured(plain(str(hunk.get("head"))), "@", colour=colour)
        for line in hunk.get("lines") or []:
            sign = str(line.get("sign"))
            more = f" … {line['more']} more characters" if line.get("more") else ""
            yield _coloured(f"{sign}{plain(str(line.get('text')))}{more}", sign, colour=colour)
            if not line.get("ended", True):
                yield "\\ No newline at end of file"
    if file.get("left_out"):
        yield f"… {file['left_out']} more lines"


def _coloured(text: str, sign: str, *, colour: bool) -> str:
    return f"\x1b[{COLOURS[sign]}m{text}\x1b[0m" if colour and sign in COLOURS else text


def _value(value: object) -> str:
    return "-" if value is None else plain(str(value))
