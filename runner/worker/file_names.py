"""Names for files that strangers named: what is left of a name once nothing in it can do harm; pure.

Promises that a name made here is one component of a path, not hidden, not a device of any system, without control,
formatting (right-to-left marks among them) and shell characters, at most `LONGEST` bytes long with its ending kept,
and that making it safe again changes nothing. `distinct` never answers the same name twice, whatever its case.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

#: Bytes of a name; file systems take 255, and a folder's tools add to names.
LONGEST = 150

#: Bytes of a name that count as its ending, with the dot.
_ENDING = 20

#: Characters that mean something in a path, on any system, or in a shell's pattern.
_MEANT = dict.fromkeys(map(ord, "<>:\"|?*$`;&!'{}"), "_")

#: Unicode categories that nobody sees: control, format, surrogate, private, unassigned, line and paragraph separators.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

#: Devices on Windows, whatever ending follows (learn.microsoft.com, "Naming Files, Paths, and Namespaces").
_DEVICES = frozenset(
    {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}
    | {f"{port}{n}" for port in ("COM", "LPT") for n in "0123456789¹²³"}
)


def safe_name(text: str, *, default: str = "attachment") -> str:
    """The name that a file may have; `default` where nothing is left of it."""
    last = text.replace("\\", "/").rsplit("/", 1)[-1]
    seen = "".join(one for one in unicodedata.normalize("NFC", last) if unicodedata.category(one) not in _UNSEEN)
    spaced = "".join(" " if one.isspace() else one for one in seen.translate(_MEANT))
    name = _cut(spaced.strip(" ").lstrip(".-~").strip(" ."))
    if not name.strip("_ ."):
        return default
    return f"_{name}" if name.split(".")[0].strip(" ").upper() in _DEVICES else name


def distinct(names: Iterable[str]) -> list[str]:
    """The names in their order, numbered where one was there before: `a.pdf`, `a (2).pdf`."""
    taken: set[str] = set()
    found = []
    for name in names:
        chosen, number = name, 1
        while _folded(chosen) in taken:
            number += 1
            chosen = _numbered(name, number)
        taken.add(_folded(chosen))
        found.append(chosen)
    return found


def _numbered(name: str, number: int) -> str:
    stem, ending = _parted(name)
    return f"{_bytes(stem, LONGEST - len(ending.encode()) - len(str(number)) - 3)} ({number}){ending}"


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


def _cut(name: str) -> str:
    if len(name.encode()) <= LONGEST:
        return name
    stem, ending = _parted(name)
    return f"{_bytes(stem, LONGEST - 1 - len(ending.encode())).rstrip(' .')}{ending}"


def _parted(name: str) -> tuple[str, str]:
    stem, dot, ending = name.rpartition(".")
    return (stem, dot + ending) if stem and len(ending.encode()) < _ENDING else (name, "")


def _bytes(text: str, most: int) -> str:
    return text.encode()[:most].decode(errors="ignore")
