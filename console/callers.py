"""Who sent a request, and what this one may do in which environment."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from console.permissions import Role
from runner.errors import Invalid
from vault.audit import Actor
from vault.names import ENVIRONMENTS, check_environment, shown


@dataclass(frozen=True, slots=True)
class Caller:
    """A token or a person who is signed in; `role` is the one in the workspace, `roles` those by environment."""

    name: str
    kind: Literal["token", "user"]
    #: The name of whoever answers for it: a token's maker, where that is a person, counts as its holder.
    person: str
    role: Role
    roles: Mapping[str, Role]
    workspace_id: uuid.UUID
    address: str
    user_id: uuid.UUID | None = None

    @property
    def actor(self) -> Actor:
        """The caller as audit rows name it."""
        return Actor(self.name, self.address)

    @property
    def narrowed(self) -> bool:
        """Whether it may do less somewhere than its role says."""
        return any(role is not self.role for role in self.roles.values())

    def may(self, needed: Role, environment: str) -> bool:
        """Whether the role that the caller has in an environment covers the needed one."""
        return self.roles[environment].covers(needed)


def roles_by_environment(role: Role, narrowed: Mapping[str, str], *, only: Sequence[str] = ()) -> Mapping[str, Role]:
    """The role in each environment: the narrower one, and `viewer` outside of `only`, where that is not empty.

    A role that is stored and that there is not counts as `viewer`, so that nothing is opened by mistake.
    """
    found = {}
    for environment in ENVIRONMENTS:
        chosen = _stored(narrowed.get(environment, role))
        if only and environment not in only:
            chosen = Role.VIEWER
        found[environment] = chosen if role.covers(chosen) else role
    return found


def read_role(text: str) -> Role:
    """The role of that name.

    Raises:
        Invalid: when there is none.
    """
    try:
        return Role(text)
    except ValueError:
        raise Invalid(f"There is no role {shown(text)}; use one of {', '.join(Role)}.") from None


def read_narrowed(role: Role, narrowed: Mapping[str, str]) -> dict[str, str]:
    """Roles by environment as they are stored: in order, and only those that are lower than `role`.

    Raises:
        Invalid, InvalidName: for an environment or a role that there is not, or a role that is higher.
    """
    given = {check_environment(environment): read_role(text) for environment, text in narrowed.items()}
    for environment, chosen in given.items():
        if not role.covers(chosen):
            raise Invalid(f"An environment can only narrow the role {role}; {chosen} in {environment} is more.")
    return {name: str(given[name]) for name in ENVIRONMENTS if name in given and given[name] is not role}


def _stored(text: str) -> Role:
    try:
        return Role(text)
    except ValueError:
        return Role.VIEWER
