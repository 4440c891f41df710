"""The forms of pages: what was posted, for a caller that may post it, and what a form is shown again for."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

import runner.errors
import vault.errors
from console import forms
from console.deps import Allowed
from console.forms import Form

#: What a form is shown again for, with the sentence beside its field. Whoever may not send it at all gets the page that
#: says so instead, and the audit its row (`console.errors`).
REFUSALS = (
    runner.errors.Invalid,
    runner.errors.NotFound,
    runner.errors.Conflict,
    vault.errors.Invalid,
    vault.errors.NotFound,
    vault.errors.Conflict,
)


async def read(request: Request, _call: Allowed) -> Form:
    """The form of a request, read only for a caller that may send it.

    Raises:
        Invalid, HTTPException: as `console.forms.parse`.
    """
    return await forms.parse(request)


Fields = Annotated[Form, Depends(read)]
