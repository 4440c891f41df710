"""How a process of ours loads: without what libraries take where they find it, and while the garbage collector rests.

What a process loads stays for ever. The collector would look at all of it again and again meanwhile, and find a
thousand objects (a fifth of what a start takes: 0.2 s of a console's; 2026-11-26, Python 3.11), and while the process
works it would stop everything for as long.
Standard library only: `begin` runs before everything else is loaded.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Collection

#: Nobody reads on a terminal with colours what our processes log: structlog would load this for it.
UNUSED = ("rich",)


def begin(unused: Collection[str] = UNUSED) -> None:
    """Load nothing of `unused` from here on, and collect no garbage; called before there are threads."""
    gc.disable()
    sys.modules.update(dict.fromkeys(unused))  # type: ignore[arg-type]  # None: an import of it fails


def end(unused: Collection[str] = UNUSED) -> None:
    """All is there that the process needs at first: collect garbage, but look no more at what stays for ever.

    What was kept from loading may be loaded from here on, by whoever has a use for it. Does no harm without `begin`.
    """
    for name in unused:
        if sys.modules.get(name, sys) is None:
            del sys.modules[name]
    gc.freeze()
    gc.enable()
