"""What changed from one package version to another: files by their digests, settings of bot.toml, requirements. Pure.

Files are compared without their text, which is shown to those who may see programs: `package_text`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runner.archive import Listed


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file: what it was and what it is, `None` where it was not or is no more there."""

    name: str
    before: Listed | None
    after: Listed | None

    @property
    def word(self) -> str:
        """`added`, `removed`, `changed`, or `mode` where only the permission to execute changed."""
        if self.before is None:
            return "added"
        if self.after is None:
            return "removed"
        return "changed" if self.before["digest"] != self.after["digest"] else "mode"


@dataclass(frozen=True, slots=True)
class SettingChange:
    """One setting of bot.toml by its dotted name; `None` where it is not written."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Diff:
    """Everything that changed, in order of names; `files` is `None` where one side was added before they were kept."""

    files: tuple[FileChange, ...] | None
    unchanged: int
    settings: tuple[SettingChange, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Side:
    """One version as it is stored: its files, its manifest, its dependencies."""

    files: Mapping[str, Listed] | None
    manifest: Mapping[str, Any]
    dependencies: Mapping[str, Any] | None


def compare(before: Side, after: Side) -> Diff:
    """What changed from `before` to `after`."""
    files, unchanged = None, 0
    if before.files is not None and after.files is not None:
        names = sorted(set(before.files) | set(after.files))
        pairs = [FileChange(name, before.files.get(name), after.files.get(name)) for name in names]
        files = tuple(pair for pair in pairs if pair.before != pair.after)
        unchanged = len(pairs) - len(files)
    old, new = _flat(before.manifest), _flat(after.manifest)
    settings = tuple(
        SettingChange(name, old.get(name), new.get(name))
        for name in sorted(set(old) | set(new))
        if old.get(name) != new.get(name)
    )
    wanted, needed = _requirements(before), _requirements(after)
    return Diff(files, unchanged, settings, tuple(sorted(needed - wanted)), tuple(sorted(wanted - needed)))


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, Mapping):
            found.update(_flat(value, f"{prefix}{name}."))
        else:
            found[f"{prefix}{name}"] = value
    return found


def _requirements(side: Side) -> set[str]:
    text = "" if side.dependencies is None else str(side.dependencies["text"])
    return {line.split(" --hash=")[0] for line in text.splitlines() if line and not line.startswith("-")}
