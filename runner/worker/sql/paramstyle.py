"""How drivers name parameters in a query (PEP 249)."""

from __future__ import annotations

from typing import Literal

Paramstyle = Literal["qmark", "named", "pyformat"]
