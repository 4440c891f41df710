"""What every page stands in: templates, navigation, notices, redirects after a form.

`page` answers a whole page, `fragment` a part of one for htmx, `redirect` what a form did, with a sentence that the
next page shows once. Templates escape everything; nothing here marks text as safe.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup
from starlette.responses import HTMLResponse, RedirectResponse

from console import ansi
from console.deps import NOTICE, Call
from console.forms import Form
from console.page_permissions import PAGES
from console.pages import static, words
from console.pages.forms import REFUSALS, Fields
from console.permissions import REACH, Reach, Role
from runner import limits
from vault.names import ENVIRONMENTS

__all__ = [
    "REFUSALS",
    "Entry",
    "Fields",
    "Form",
    "address",
    "fragment",
    "may",
    "page",
    "redirect",
    "render",
    "touchable",
    "with_query",
]

#: Characters of a notice.
LONGEST_NOTICE = 1000

#: It travels in a cookie, percent-encoded; browsers take 4096 bytes with its name (RFC 6265, section 6.1).
_LONGEST_COOKIE = 3800

#: What a notice can be, from something done to something wrong.
KINDS = ("good", "info", "warning", "bad")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the navigation; `also` are other addresses that belong to it."""

    label: str
    path: str
    icon: str
    also: tuple[str, ...] = ()
    #: Shown in the bar at the bottom of a phone.
    first: bool = False

    def active(self, path: str) -> bool:
        """Whether the page at `path` belongs to this entry."""
        if self.path == "/":
            return path == "/"
        return any(path == root or path.startswith(f"{root}/") for root in (self.path, *self.also))


#: The navigation; an entry is shown where its page exists and the caller's role may see it.
NAVIGATION: tuple[tuple[str, tuple[Entry, ...]], ...] = (
    (
        "",
        (
            Entry("Home", "/", "home", first=True),
            Entry("History", "/history", "history", ("/jobs",), first=True),
            Entry("Bots", "/bots", "bot", first=True),
        ),
    ),
    (
        "Automation",
        (
            Entry("Triggers", "/triggers", "trigger"),
            Entry("Queues", "/queues", "queue"),
            Entry("Workflows", "/workflows", "workflow", ("/runs",)),
            Entry("Work items", "/work-items", "item"),
        ),
    ),
    (
        "Vault",
        (
            Entry("Assets", "/assets", "asset", first=True),
            Entry("Data sources", "/sources", "source"),
            Entry("Keys", "/keys", "key"),
        ),
    ),
    (
        "Operation",
        (
            Entry("Runners", "/runners", "runner"),
            Entry("Audit", "/audit", "audit"),
            Entry("Users", "/users", "user"),
            Entry("Tokens", "/tokens", "token"),
            Entry("Permissions", "/permissions", "permission"),
            Entry("Workspaces", "/workspaces", "workspace"),
            Entry("Settings", "/settings", "settings"),
        ),
    ),
)


def page(call: Call, template: str, *, status: int = 200, **context: object) -> HTMLResponse:
    """A whole page from `template`, with everything that its frame needs."""
    response = HTMLResponse(render(call, template, **context), status_code=status)
    if call.notice:
        response.delete_cookie(NOTICE, path="/", httponly=True, samesite="lax")
    return response


def fragment(call: Call, template: str, *, status: int = 200, **context: object) -> HTMLResponse:
    """A part of a page from `template`; a notice that waits goes on waiting."""
    return HTMLResponse(render(call, template, **context), status_code=status)


def redirect(call: Call, path: str, *, notice: str = "", kind: str = "good") -> RedirectResponse:
    """See `path` (303) after a form was done; the page there shows the notice once.

    `kind` is `good`, `warning`, `bad` or `info`. The notice must not hold what the next page may not show.
    """
    del call  # the same for every caller; named so that each answer of a page begins alike
    response = RedirectResponse(path, status_code=303)
    if notice:
        text = quote(f"{kind}:{notice[:LONGEST_NOTICE]}")
        while len(text) > _LONGEST_COOKIE:
            notice = notice[: len(notice) * 3 // 4]
            text = quote(f"{kind}:{notice}…")
        response.set_cookie(NOTICE, text, max_age=60, path="/", httponly=True, samesite="lax")
    return response


def address(*parts: object) -> str:
    """A path of these parts, each quoted: `address("bots", name)`."""
    return "/" + "/".join(quote(str(part), safe="") for part in parts)


def with_query(path: str, **query: object) -> str:
    """`path` with those of `query` that are neither empty nor `None`."""
    given = {name: str(value) for name, value in query.items() if value not in {None, ""}}
    return f"{path}?{urlencode(given)}" if given else path


def render(call: Call | None, template: str, **context: object) -> str:
    """The text of `template`; without a call only what needs none, as a page that says why there is no more.

    What a form was filled with and what is wrong with it, `form` and `errors`, answer empty text for other fields.
    """
    lenient = {name: _Lenient(given) for name in ("form", "errors") if isinstance(given := context.get(name), dict)}
    return TEMPLATES.get_template(template).render({**_frame(call), **context, **lenient})


class _Lenient(dict[str, Any]):
    """Fields by name; one that is not there is empty."""

    def __missing__(self, name: str) -> str:
        return ""


def _frame(call: Call | None) -> dict[str, Any]:
    if call is None:
        return {"call": None, "caller": None, "csrf": "", "notice": None, "navigation": [], "now": None, "here": ""}
    here = call.target.partition(" ")[2]
    return {
        "call": call,
        "caller": call.caller,
        "csrf": call.csrf,
        "notice": _notice(call.notice),
        "navigation": _navigation(call.caller.role, here),
        "now": call.now,
        "here": here,
    }


def _notice(cookie: str) -> tuple[str, str] | None:
    """Kind and text of what a cookie holds, which a client may have written."""
    kind, _, text = unquote(cookie).partition(":")
    return (kind, text[:LONGEST_NOTICE]) if text and kind in KINDS else None


def _navigation(role: Role, here: str) -> list[tuple[str, list[tuple[Entry, bool]]]]:
    shown = (
        (label, [(entry, entry.active(here)) for entry in group if _open(entry, role)]) for label, group in NAVIGATION
    )
    return [(label, entries) for label, entries in shown if entries]


def _open(entry: Entry, role: Role) -> bool:
    permission = PAGES.get(("GET", entry.path))
    return permission is not None and role.covers(Role(permission[0]))


def touchable(call: Call, method: str, route: str) -> tuple[str, ...]:
    """The environments in which the caller may use a route: those that its form offers."""
    permission = PAGES[method, route]
    return tuple(name for name in ENVIRONMENTS if permission and call.caller.may(Role(permission[0]), name))


def may(call: Call | None, method: str, route: str) -> bool:
    """Whether the caller may use a route in some environment, and in all where it touches all: as the table says.

    Buttons that would be refused are not shown.
    """
    permission = PAGES.get((method, route))
    if call is None or permission is None or not call.caller.role.covers(Role(permission[0])):
        return False
    reach, where = REACH.get(permission[1], Reach.NONE), touchable(call, method, route)
    return reach is Reach.NONE or len(where) >= (len(ENVIRONMENTS) if reach is Reach.EVERY else 1)


@pass_context
def _can(context: Context, method: str, route: str) -> bool:
    return may(context["call"], method, route)


@pass_context
def _where(context: Context, method: str, route: str) -> tuple[str, ...]:
    return touchable(context["call"], method, route)


@pass_context
def _relative(context: Context, at: datetime) -> str:
    return words.relative(at, context["now"])


def _attributes(given: dict[str, object]) -> Markup:
    """Attributes of an element, `data_x` as `data-x`, true ones by name alone; false and `None` are left out."""
    pairs = (
        (name.replace("_", "-"), value) for name, value in given.items() if value is not None and value is not False
    )
    return Markup("").join(
        Markup(" {}").format(name) if value is True else Markup(' {}="{}"').format(name, value) for name, value in pairs
    )


def _templates() -> Environment:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent.parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals.update(
        static=static.address,
        address=address,
        with_query=with_query,
        can=_can,
        where=_where,
        ENVIRONMENTS=ENVIRONMENTS,
        counted=words.count,
    )
    made.filters.update(
        relative=_relative,
        absolute=words.absolute,
        machine=words.machine,
        lasting=words.lasting,
        bytes=words.size,
        limit=limits.written,
        count=words.count,
        attributes=_attributes,
        shown=ansi.shown,
    )
    return made


#: The templates of all pages; each is compiled when it is first shown.
TEMPLATES = _templates()
