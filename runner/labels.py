"""Labels: what a runner's operator says about it, `os=linux`; shown in lists, never looked at by a claim. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from runner.errors import Invalid

#: Labels of one runner at most; they are for people to read.
MOST = 32

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?", re.ASCII)
_LONGEST_VALUE = 128


def check(labels: Mapping[str, str]) -> dict[str, str]:
    """Give the labels back by name.

    Raises:
        Invalid: naming the label that makes no sense.
    """
    if len(labels) > MOST:
        raise Invalid(f"A runner has at most {MOST} labels; {len(labels)} were given.")
    for name, value in labels.items():
        if not _NAME.fullmatch(name):
            raise Invalid(
                f"The label {name[:80]!r} has no name: write 1 to 63 ASCII letters, digits, dots, hyphens, slashes or "
                "underscores, beginning and ending with a letter or digit."
            )
        if len(value) > _LONGEST_VALUE or not value.isprintable():
            raise Invalid(
                f"The value of the label {name!r} is no line of at most {_LONGEST_VALUE} printable characters."
            )
    return dict(sorted(labels.items()))


def parse(pairs: Iterable[str]) -> dict[str, str]:
    """The labels in `NAME=VALUE` texts.

    Raises:
        Invalid: for a text without a name or without `=`, and for a name that comes twice.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise Invalid(f"--label {pair[:80]!r} is not NAME=VALUE; write for example --label os=linux")
        if name in found:
            raise Invalid(f"--label {name!r} is given twice; a label has one value.")
        found[name] = value
    return check(found)
