"""Whatever colours a bot chooses, its log can be read: each one on each ground, light and dark (WCAG 2.2, 1.4.3)."""

import re

import pytest

from console.ansi import PALETTE, STYLES
from tests.support import ROOT

SHEET = (ROOT / "console/static/jobs.css").read_text()


def colours(pattern: str, scheme: int) -> dict[str, str]:
    """Names to colours of a scheme: 0 light, 1 dark."""
    found = re.findall(pattern + r" light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", SHEET)
    return {name: pair[scheme] for name, *pair in found}


def brightness(colour: str) -> float:
    """Relative luminance, by WCAG's definition."""
    channels = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((brightness(one), brightness(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1])
def test_every_colour_can_be_read_on_every_ground(scheme: int) -> None:
    inks = colours(r"\.(fg-\d+) \{ color:", scheme)
    grounds = colours(r"\.(bg-\d+) \{ background:", scheme)
    assert len(inks) == len(grounds) == len(PALETTE)
    names = colours(r"(--log-\w+):", scheme)
    grounds["ground"] = names["--log-ground"]
    inks |= {"ink": names["--log-ink"], "quiet": names["--log-quiet"]}
    weak = {
        (ink, ground): round(contrast(colour, behind), 2)
        for ink, colour in inks.items()
        for ground, behind in grounds.items()
        if contrast(colour, behind) < 4.5
    }
    assert weak == {}


def test_every_style_has_a_look() -> None:
    assert [word for word in sorted(STYLES) if not re.search(rf"\.{word}\b", SHEET)] == []
