"""What a caller may do, asked by pages before they offer it; the routes themselves decide."""

from __future__ import annotations

from console.deps import Call
from console.errors import Denied
from console.pages.forms import REFUSALS
from console.permissions import Role

#: What a form is shown again for. A caller who may not do it at all sees the page that says so, and the audit a row.
UNUSABLE = tuple(kind for kind in REFUSALS if kind is not Denied)


def may(call: Call, role: Role, environment: str | None = None) -> bool:
    """Whether the caller has this role, in this environment where one is named."""
    return call.caller.role.covers(role) and (environment is None or call.caller.may(role, environment))
