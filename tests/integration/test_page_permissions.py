"""The table of permissions, walked over the pages: what a form may not do is refused, said and not offered."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from console.page_permissions import PAGES
from console.permissions import REACH, Permission, Reach, Role
from tests import markup
from tests.api import Api, serving, zipped
from tests.markup import Element
from tests.permitted import address, form, narrowed, things_in, writes
from tests.support import Stores
from vault.names import ENVIRONMENTS

#: Pages of a thing or of many, on which something could be offered; the words of their paths are filled in.
SEEN = [path for (method, path), permission in PAGES.items() if method == "GET" and permission is not None]

#: What only a browser's own session does, and what a program has none of.
OWN = ("/account", "/sign-out")


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as running:
        yield running


def posted(
    asker: httpx.Client, path: str, permission: Permission, *, things: dict[str, str], new: str = ""
) -> httpx.Response:
    url, given = address(path, things), form(permission.action, environment=things["environment"], new=new)
    if permission.action == "bot.added":
        return asker.post(url, data={"name": "hello"}, files={"files": ("main.zip", zipped("print('new')\n"))})
    return asker.post(url, data=given, headers={"Accept": "text/html"})


@pytest.mark.timeout(180)  # hundreds of requests
def test_in_an_environment_where_a_role_is_narrowed_no_form_touches_it(api: Api) -> None:
    api.add_bot()
    things = {environment: things_in(api, environment) for environment in ENVIRONMENTS}
    things_of_bot(api)
    narrow, others = narrowed(api)
    routes = [route for route in writes(pages=True) if not route[1].startswith(OWN)]
    wrong, refused = [], 0
    for environment in ENVIRONMENTS:
        for _method, path, permission in routes:
            reach = REACH.get(permission.action, Reach.NONE)
            asker = narrow[permission.role, environment]
            answer = posted(asker, path, permission, things=things[environment])
            refused += answer.status_code == 403
            said = markup.read(answer.text).text if answer.status_code != 303 else ""
            right = answer.status_code == 403 and "is limited to" in said and "Ask an admin" in said
            if right != (reach is not Reach.NONE) or broken(answer):
                wrong.append((path, environment, "narrowed there", answer.status_code, said[-300:]))
    assert not wrong, "\n".join(map(str, wrong))
    assert len([row for row in api.audit() if row["outcome"] == "refused"]) == refused
    for environment in ("prod",):
        for _method, path, permission in routes:
            reach = REACH.get(permission.action, Reach.NONE)
            asker = others[permission.role, environment]
            answer = posted(asker, path, permission, things=things[environment], new=f"other-{environment}")
            # What was done to a run before can keep it from being paused: its page says so.
            late = path.startswith("/runs/") and answer.status_code == 422
            if (answer.status_code == 403) != (reach is Reach.EVERY) or (broken(answer) and not late):
                wrong.append((path, environment, "narrowed elsewhere", answer.status_code, answer.text[-300:]))
    assert not wrong, "\n".join(map(str, wrong))


def things_of_bot(api: Api) -> None:
    """Values of an asset that one bot owns, in every environment."""
    for environment in ENVIRONMENTS:
        api.set_value("G.N", b"a value of the bot's own", environment, bot="hello")


def broken(answer: httpx.Response) -> bool:
    return answer.status_code in {401, 422} or answer.status_code >= 500


@pytest.mark.timeout(180)  # hundreds of requests
def test_what_a_caller_may_not_do_in_an_environment_is_not_offered_on_a_page(api: Api) -> None:
    api.add_bot()
    things = {environment: things_in(api, environment) for environment in ENVIRONMENTS}
    things_of_bot(api)
    narrow, _others = narrowed(api)
    wrong = []
    # Pages treat environments alike, so each role is looked through for one.
    for role, environment in ((Role.OPERATOR, "prod"), (Role.DEV, "staging"), (Role.ADMIN, "dev")):
        asker = narrow[role, environment]
        for path in SEEN:
            if path.endswith(("/log/events", "/outputs/{attempt}/{number}", "/export")):
                continue  # no pages
            url = address(path, things[environment])
            shown = asker.get(url, headers={"Accept": "text/html"})
            assert shown.status_code < 500, (url, shown.status_code)
            if shown.status_code != 200:
                continue
            wrong += [
                (str(role), environment, path, offered)
                for offered in offers(markup.read(shown.text), things, environment=environment, role=role)
            ]
    assert not wrong, "\n".join(map(str, sorted(set(wrong))))


def offers(page: Element, things: dict[str, dict[str, str]], *, environment: str, role: Role) -> list[str]:
    """The forms and links of a page that would touch the environment by what `role` is needed for."""
    found = []
    for each in page.walk():
        if each.tag == "form" and each.attributes.get("method") == "post" and each.every("button"):
            method, target = "POST", each["action"]
        elif each.tag == "a" and each.attributes.get("href", "").endswith("/edit"):
            method, target = "GET", each["href"]
        else:
            continue
        permission, words = route_of(method, target)
        if permission is None or permission.role is not role:
            continue
        reach = REACH.get(permission.action, Reach.NONE)
        if reach is Reach.EVERY or (reach is Reach.ONE and touches(each, words, things, environment=environment)):
            found.append(f"{method} {target}")
    return found


def route_of(method: str, target: str) -> tuple[Permission | None, dict[str, str]]:
    """The entry of the route that an address leads to, and the words of its path."""
    path = target.partition("?")[0].partition("#")[0]
    fits = []
    for (verb, route), given in PAGES.items():
        if verb != method or given is None:
            continue
        found = re.fullmatch(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", route), path)
        if found:
            fits.append((route.count("{"), Permission(Role(given[0]), given[1]), found.groupdict()))
    if not fits:
        assert not path.startswith("/") or path == "/sign-in", f"{method} {path} is no route"
        return None, {}
    _, permission, words = min(fits, key=lambda fit: fit[0])
    return permission, words


def touches(element: Element, words: dict[str, str], things: dict[str, dict[str, str]], *, environment: str) -> bool:
    """Whether a form can be sent so that it is about the environment: by its path, its thing, or what can be chosen."""
    chosen = [
        each["value"]
        for each in element.walk()
        if each.attributes.get("name") in {"environment", "environments"} and "value" in each.attributes
    ]
    options = [
        option["value"]
        for each in element.walk()
        if each.tag == "select" and each.attributes.get("name") == "environment" and "disabled" not in each.attributes
        for option in each.every("option")
    ]
    enabled = [
        each["value"]
        for each in element.walk()
        if each.attributes.get("name") in {"environment", "environments"}
        and "value" in each.attributes
        and "disabled" not in each.attributes
    ]
    if chosen or options:
        return environment in {*enabled, *options}
    ours = {value for word, value in things[environment].items() if word in words}
    ours |= {f"token-{environment}", environment}
    return bool(
        ours & {words[word] for word in words if word in {"environment", "name", "job_id", "run_id", "item_id"}}
    )
