"""Which dialects a package speaks: the worlds whose own clients its bot brings along. Pure."""

from __future__ import annotations

from packaging.requirements import Requirement

from runner.dependencies import Dependencies
from runner.manifest import Manifest

#: The dialects that need a token and variables of their own; KlangoRPA's and Heptora's need neither.
ROBOTO, ROBOCORP = "roboto", "robocorp"

#: Packages by which a dialect is known, and beginnings of their names.
_PACKAGES = {"roboto": ROBOTO, "rpaframework": ROBOCORP, "robocorp": ROBOCORP, "rpaframework-core": ROBOCORP}


def spoken(manifest: Manifest, dependencies: Dependencies | None) -> frozenset[str]:
    """The dialects that bot.toml names, or else those of the required packages."""
    if manifest.dialects is not None:
        return frozenset(manifest.dialects)
    names = [Requirement(text).name for text in dependencies.requirements] if dependencies else []
    known = (ROBOCORP if name.startswith("robocorp-") else _PACKAGES.get(name) for name in names)
    return frozenset(filter(None, known))
