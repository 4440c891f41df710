"""Every page of the navigation and of what it leads to, as a signed-in person sees it in a system with examples."""

from collections.abc import Iterator

import pytest

from tests import screenshots
from tests.browser import Visitor, fits, grave_faults
from tests.services import Services
from tests.system import System, new_stores, running

#: Seconds for some thirty pages, each looked through by axe-core, on a machine with other work to do.
LONG = 300


@pytest.fixture(scope="module")
def filled(request: pytest.FixtureRequest, services: Services) -> Iterator[tuple[System, dict[str, str]]]:
    """A system with what the pictures of the README show, and addresses of things in it."""
    with (
        new_stores(services, lambda: request.getfixturevalue("postgres"), "embedded") as (stores, _),
        running(stores) as system,
    ):
        kept = {process.identity for process in system.processes.values()}
        services.kept.update(kept)
        found = screenshots.fill(system)
        screenshots.post(system.client, "/api/v1/users", {"name": "ada", "role": "admin"})
        yield system, found
        services.kept.difference_update(kept)


@pytest.mark.timeout(LONG)
@pytest.mark.parametrize("phone", [False, True], ids=["desk", "phone"])
def test_no_page_keeps_anybody_out(
    filled: tuple[System, dict[str, str]],
    visitor: Visitor,
    phone: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    system, found = filled
    page = visitor.open(str(system.client.base_url), phone=phone, scheme="dark" if phone else "light")
    screenshots.sign_in(page, system)
    wrong = []
    for name, path in screenshots.pages(found):
        answer = page.goto(path)
        assert answer is not None, path
        assert answer.status == 200, (path, answer.status)
        wrong += grave_faults(page)
        wrong += [] if fits(page) else [f"{name}: wider than the window"]
    assert not wrong, "\n".join(wrong)
