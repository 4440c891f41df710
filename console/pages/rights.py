"""What a caller may do, asked by pages before they offer it; the routes themselves decide."""

from __future__ import annotations

from collections.abc import Mapping

from console.deps import Call
from console.forms import Form
from console.pages.forms import REFUSALS
from console.permissions import Role
from vault.names import ENVIRONMENTS

#: What a form is shown again for.
UNUSABLE = REFUSALS


def may(call: Call, role: Role, environment: str | None = None) -> bool:
    """Whether the caller has this role, in this environment where one is named."""
    return call.caller.role.covers(role) and (environment is None or call.caller.may(role, environment))


def governs(call: Call, roles: Mapping[str, Role]) -> bool:
    """Whether the caller may change who has these roles by environment; `console.api.users.may_give` decides."""
    return all(role is Role.VIEWER or call.may_touch(environment) for environment, role in roles.items())


def narrowed(form: Form) -> dict[str, str]:
    """The lower roles by environment that a form chose, in its fields `role_dev` and so on."""
    chosen = {environment: form.words(f"role_{environment}") for environment in ENVIRONMENTS}
    return {environment: role for environment, role in chosen.items() if role}
