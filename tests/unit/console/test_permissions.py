"""The table of permissions and the routes are the same list."""

import itertools

import pytest
from fastapi import APIRouter

from console import app
from console.api import routes
from console.permissions import INSTALLATION, PERMISSIONS, REACH, Role


def test_roles_are_a_ladder() -> None:
    assert [role.value for role in Role] == ["viewer", "operator", "dev", "admin"]
    for low, high in itertools.combinations(Role, 2):
        assert high.covers(low)
        assert high.covers(high)
        assert not low.covers(high)


#: Writes that ask for no token, since what they are sent is signed, or signs somebody in.
SIGNED = {("POST", "/hooks/{hook_id}"), ("POST", "/sign-in"), ("POST", "/sign-in/link")}

#: Writes to one's own account and sessions.
OWN = ("/account/", "/sign-out")


def test_every_write_needs_more_than_a_viewer() -> None:
    for (method, path), permission in PERMISSIONS.items():
        if method != "GET" and (method, path) not in SIGNED:
            assert permission is not None, path
            assert permission.role != Role.VIEWER or path.startswith(OWN), path


def test_what_is_said_of_actions_is_said_of_actions_that_there_are() -> None:
    actions = {permission.action for permission in PERMISSIONS.values() if permission is not None}
    assert actions >= {*REACH, *INSTALLATION}


def test_a_route_without_an_entry_keeps_the_console_from_being_made() -> None:
    router = APIRouter(prefix="/api/v1/forgotten")
    router.add_api_route("/{name}", lambda name: name, methods=["PUT"])
    with pytest.raises(LookupError, match="/api/v1/forgotten/"):
        app.check_permissions((*routes.ROUTERS, router), ())


def test_an_entry_without_a_route_keeps_the_console_from_being_made() -> None:
    with pytest.raises(LookupError, match="/api/v1/bots"):
        app.check_permissions(tuple(router for router in routes.ROUTERS if "bots" not in router.prefix), ())
