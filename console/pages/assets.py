"""Pages of assets: the coverage grid, one asset with its numbers, and a new one. Values go in and never come out."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import HTMLResponse, Response

from console.deps import Allowed, Call
from console.pages import shell
from console.pages.owner import Owned, Owner, Slot, Slotted
from console.pages.shell import REFUSALS, Fields, Form
from runner import asset_users, readings_noted
from vault import assets, coverage
from vault.coverage import Narrow
from vault.errors import InvalidName, InvalidValue
from vault.names import ENVIRONMENTS, AssetName, variables

#: Assets on a page of the list.
SHOWN = 50

#: What was not read for so long may not be needed any more.
UNREAD = timedelta(days=30)

router = APIRouter()

Text = Annotated[str, Query(max_length=300)]


@router.get("/assets")
@router.get("/bots/{bot}/assets")
def listed(
    call: Allowed, owner: Owned, *, q: Text = "", missing: Text = "", unread: Text = "", after: Text = ""
) -> HTMLResponse:
    """The grid: which asset has a value where, how old it is, and by its number which one."""
    narrow = Narrow(
        text=q.strip(),
        missing=missing if missing in ENVIRONMENTS else None,
        unread_since=call.now - UNREAD if unread else None,
    )
    with call.reading() as session:
        scope = owner.scope(session, call)
        rows = coverage.page(
            session,
            narrow,
            workspace_id=call.workspace_id,
            bot_id=scope.bot_id,
            limit=SHOWN + 1,
            after=_parsed(after),
        )
        read = readings_noted.of_assets(session, [row.id for row in rows])
        totals = coverage.totals(session, workspace_id=call.workspace_id) if owner.bot is None else None
    shown = rows[:SHOWN]
    following = str(shown[-1].name) if len(rows) > SHOWN else ""
    filters = {"q": q, "missing": missing, "unread": unread}
    return shell.page(
        call,
        "assets/list.html",
        owner=owner,
        rows=shown,
        totals=totals,
        filters=filters,
        narrowed=bool(narrow.text or narrow.missing or narrow.unread_since),
        read=read,
        next=shell.with_query(owner.base, **filters, after=following) if following else "",
        first=shell.with_query(owner.base, **filters) if after else "",
    )


@router.get("/assets/new")
@router.get("/bots/{bot}/assets/new")
def new(call: Allowed, owner: Owned, group: Text = "", name: Text = "") -> HTMLResponse:
    """The form of a new asset; a link may name it, never a value."""
    with call.reading() as session:
        owner.scope(session, call)
    return _form(call, owner, {"group": group, "name": name}, {})


@router.post("/assets")
@router.post("/bots/{bot}/assets")
def add(call: Allowed, owner: Owned, fields: Fields) -> Response:
    """Create an asset, with a value in each environment where one was given."""
    try:
        name = AssetName(fields.words("group"), fields.words("name"))
        given = {each: value for each in ENVIRONMENTS if (value := chosen_value(fields, each)) is not None}
        if fields.words("local"):
            return _declare(call, owner, name, description=fields.words("description"), given=given)
        for environment in given:
            call.require_environment(environment)
        advice = _create(call, owner, name, description=fields.words("description"), given=given)
    except REFUSALS as error:
        return _form(call, owner, fields.kept(), {_field_of(error, fields): str(error)})
    where = ", ".join(given) or "no environment yet"
    return saved(call, owner.of(name), f"{name} was created, with a value in {where}.", advice)


@router.get("/assets/{group}/{name}")
@router.get("/bots/{bot}/assets/{group}/{name}")
def show(call: Allowed, slot: Slotted) -> HTMLResponse:
    """One asset: what is in force where, every number it had, and who uses it."""
    return one(call, slot)


def one(call: Call, slot: Slot, *, errors: dict[str, str] | None = None, status: int = 200) -> HTMLResponse:
    """The page of one asset, with what was wrong with a form of it."""
    owner, name = slot.owner, slot.name
    with call.reading() as session:
        scope = owner.scope(session, call)
        asset = assets.require(session, name, scope=scope)
        context: dict[str, Any] = {
            "found": coverage.describe(session, asset),
            "history": coverage.history(session, asset.id),
            "read": readings_noted.of_assets(session, [asset.id]).get(asset.id, []),
            "users": asset_users.users(session, name, workspace_id=call.workspace_id, bot=owner.bot),
        }
    route = f"{owner.route}/{{group}}/{{name}}/values/{{environment}}"
    return shell.page(
        call,
        "assets/one.html",
        status=status,
        owner=owner,
        name=name,
        base=slot.path,
        variables=variables(name),
        touchable=shell.touchable(call, "POST", route),
        errors=errors or {},
        **context,
    )


def chosen_value(fields: Form, environment: str) -> bytes | None:
    """The value that a form gives for an environment: a line, several lines, or a file; `None` for none of them.

    Raises:
        InvalidName: when more than one of them is filled, since nobody could know which is meant.
    """
    line = fields.get(f"value-{environment}", "")
    lines = fields.get(f"value-{environment}-lines", "")
    files = fields.files(f"value-{environment}-file")
    if sum(map(bool, (line, lines, files))) > 1:
        raise InvalidName(f"Give the value of {environment} in one way only: as a line, as several lines or as a file.")
    if files:
        return files[0][1]
    return (line or lines).encode() or None


def saved(call: Call, path: str, sentence: str, advice: list[str]) -> Response:
    """Where to go after a value was set, with the advice about what it holds."""
    notice = " ".join([sentence, *(["Advice:", *advice] if advice else [])])
    return shell.redirect(call, path, notice=notice, kind="warning" if advice else "good")


def _create(call: Call, owner: Owner, name: AssetName, *, description: str, given: dict[str, bytes]) -> list[str]:
    """A new asset with its first values; answers the advice about them."""
    advice: list[str] = []
    with call.writing() as session:
        scope = owner.scope(session, call)
        assets.add(session, name, scope=scope, description=description, actor=call.actor, now=call.now)
        for environment, value in given.items():
            written = assets.set_value(
                session,
                name,
                scope=scope,
                environment=environment,
                plaintext=value,
                actor=call.actor,
                now=call.now,
            )
            advice += [f"{environment}: {sentence}" for sentence in written.warnings]
    return advice


def _declare(call: Call, owner: Owner, name: AssetName, *, description: str, given: dict[str, bytes]) -> Response:
    """A new asset whose values live on hosts.

    Raises:
        InvalidValue: when a value is given here all the same.
    """
    call.require_every_environment("declaring a local asset")
    if given:
        raise InvalidValue("A value that lives on hosts is set there, never here: leave the fields of values blank.")
    with call.writing() as session:
        scope = owner.scope(session, call)
        assets.declare_local(session, name, scope=scope, actor=call.actor, now=call.now, description=description)
    sentence = f"{name} is declared. Set it on each runner's host: botkeep local set {owner.bot} {name}"
    return shell.redirect(call, owner.of(name), notice=sentence)


def _form(call: Call, owner: Owner, form: dict[str, str], errors: dict[str, str]) -> HTMLResponse:
    return shell.page(
        call,
        "assets/new.html",
        status=422 if errors else 200,
        owner=owner,
        form=form,
        errors=errors,
        touchable=shell.touchable(call, "POST", owner.route),
    )


def _field_of(error: Exception, fields: Form) -> str:
    """Beside which field a sentence belongs; none for what is wrong with the form as a whole."""
    if isinstance(error, InvalidName):
        return next((part for part in ("group", "name") if f" the {part} of " in str(error) and part in fields), "")
    return ""


def _parsed(after: str) -> AssetName | None:
    return AssetName.parse(after) if after else None
