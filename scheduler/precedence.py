"""Which environment something runs in, when several places could say so; pure.

| order | who says it | how |
|---|---|---|
| 1 | whoever dispatches | `--env`, `environment` of the request |
| 2 | the trigger that fired | its own `environment` |
| 3 | the queue or the workflow | `environment` of its definition |
| 4 | nobody | `dev` |
"""

from __future__ import annotations

from vault.names import ENVIRONMENTS, check_environment


def environment_of(*, explicit: str | None = None, trigger: str | None = None, flow: str | None = None) -> str:
    """The first of these that says something, else `dev`.

    Raises:
        InvalidName: when that is no environment.
    """
    return check_environment(explicit or trigger or flow or ENVIRONMENTS[0])
