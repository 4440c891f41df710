"""From what a person or a trigger asks for to a `jobs.Request`, or to a sentence that says what is wrong.

Everything that can be known before a job is queued is refused here: an unknown bot, environment or parameter, a
group that is none, a missing required parameter, a reference to an asset that does not exist or that the bot does not
declare. What changes between queueing and start is checked again by the runner.
"""

from __future__ import annotations

import difflib
import json
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from runner import bots, preflight, statements
from runner.errors import Invalid
from runner.jobs import Cause, Priority, Request
from runner.lanes import DEFAULT_GROUP, check_group
from runner.manifest import Manifest, Parameter
from vault import tokens
from vault.coverage import known_names
from vault.direct import Run, within
from vault.names import ENVIRONMENTS, check_environment

#: The largest set of parameters, as JSON text in bytes; data belongs into files and data sources.
MAX_PARAMETERS = 256 * 1024

#: How a missing parameter is given: to a command, and in a definition.
BY_HAND, IN_FILE = "give it with `--param {name}=VALUE`", "write {name} below `parameters`"

#: The longest idempotency key.
MAX_KEY = 200

#: Versions whose manifests a process remembers: some 3 kB each.
REMEMBERED = 1024

K = TypeVar("K")
V = TypeVar("V")

_manifests: OrderedDict[uuid.UUID, Manifest] = OrderedDict()
_newest: OrderedDict[tuple[uuid.UUID, str], Version] = OrderedDict()


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody asks for, unchecked: a job of a bot's newest version."""

    workspace_id: uuid.UUID
    cause: Cause
    environment: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    group: str | None = None
    priority: Priority = Priority.NORMAL
    idempotency_key: str | None = None
    retry_of: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """The newest version of a bot."""

    bot_id: uuid.UUID
    id: uuid.UUID
    number: int
    manifest: Manifest
    #: The environments that refuse unset values, where the reader may know them.
    strict: frozenset[str] = frozenset()


def newest(session: Session, bot: str, *, workspace_id: uuid.UUID, lock: bool = True) -> Version:
    """The newest version of a bot in use; with `lock` a removal waits for this transaction.

    Raises:
        NotFound: when there is no such bot.
    """
    run = within(session)
    statement = statements.NEWEST if lock else statements.NEWEST_NOW
    rows = run(statement, {"workspace": workspace_id, "name": bot})
    if not rows:
        raise bots.unknown(bot)
    row = rows[0]
    if not lock:
        return Version(row.bot_id, row.id, row.number, _declared(run, row.id))
    strict = frozenset(filter(None, (row.strict or "").split(",")))
    found = Version(row.bot_id, row.id, row.number, _declared(run, row.id), strict)
    _remember(_newest, (workspace_id, bot), found)
    return found


def remembered(bot: str, *, workspace_id: uuid.UUID) -> Version | None:
    """What `newest` last answered in this process with a lock; it may be the newest no more, or its bot be removed."""
    return _newest.get((workspace_id, bot))


def _declared(run: Run, version_id: uuid.UUID) -> Manifest:
    """What a version declares; it never changes, so each process reads and checks it once."""
    known = _manifests.get(version_id)
    if known is None:
        (row,) = run(statements.MANIFEST, {"version": version_id})
        known = Manifest.from_json(row.manifest)
        _remember(_manifests, version_id, known)
    return known


def _remember(known: OrderedDict[K, V], key: K, value: V) -> None:
    known[key] = value
    if len(known) > REMEMBERED:
        known.popitem(last=False)


def prepare(session: Session, bot: str, order: Order) -> Request:
    """Check an order against the bot's newest version.

    Raises:
        NotFound: when there is no such bot.
        Invalid, InvalidName, InvalidToken: as `approve`.
    """
    return approve(session, newest(session, bot, workspace_id=order.workspace_id), order)


def approve(session: Session, version: Version, order: Order) -> Request:
    """Check an order against a version of its bot.

    Raises:
        Invalid, InvalidName, InvalidToken: naming the field or the token that is wrong.
    """
    asked, manifest, bot_id = draft(version, order), version.manifest, version.bot_id
    workspace_id, environment = asked.workspace_id, asked.environment
    check_references(session, manifest, asked.parameters, workspace_id=workspace_id, bot_id=bot_id)
    if environment in version.strict:
        preflight.check(session, manifest, workspace_id=workspace_id, bot_id=bot_id, environment=environment)
    return asked


def draft(version: Version, order: Order) -> Request:
    """A request, checked as far as it can be without the database: `approve` looks at what it refers to, too.

    Raises:
        Invalid, InvalidName: naming the field that is wrong.
    """
    chosen = check_environment(order.environment or ENVIRONMENTS[0])
    key = order.idempotency_key
    if key is not None and not 0 < len(key) <= MAX_KEY:
        raise Invalid(f"An idempotency key has 1 to {MAX_KEY} characters.")
    return Request(
        workspace_id=order.workspace_id,
        bot_id=version.bot_id,
        version_id=version.id,
        environment=chosen,
        group=check_group(order.group or DEFAULT_GROUP),
        priority=order.priority,
        concurrency=version.manifest.concurrency,
        parameters=fill(version.manifest, order.parameters),
        cause=order.cause,
        idempotency_key=key,
        retry_of=order.retry_of,
    )


def dispatched(
    session: Session,
    bot: str,
    *,
    workspace_id: uuid.UUID,
    cause: Cause,
    environment: str,
    parameters: Mapping[str, Any],
    group: str,
    priority: Priority,
) -> Request:
    """As `prepare`, for the scheduler, whose role sees no assets and locks no bot.

    References were checked when what it dispatches was saved or asked for, and the runner checks them again.

    Raises:
        NotFound, Invalid: as `prepare`.
    """
    version = newest(session, bot, workspace_id=workspace_id, lock=False)
    manifest = version.manifest
    return Request(
        workspace_id=workspace_id,
        bot_id=version.bot_id,
        version_id=version.id,
        environment=environment,
        group=group,
        priority=priority,
        concurrency=manifest.concurrency,
        parameters=fill(manifest, parameters),
        cause=cause,
    )


def fill(manifest: Manifest, given: Mapping[str, Any], *, how: str = BY_HAND) -> dict[str, Any]:
    """The given parameters with the declared defaults; `how` says how a missing one is given.

    A bot that declares no parameter takes any; one that declares some takes only those.

    Raises:
        Invalid: for an undeclared, a missing required, or too large a parameter.
    """
    if not manifest.parameters:
        return checked(dict(given))
    return fill_declared(manifest.parameters, given, owner="bot", how=how)


def fill_declared(
    declared: Mapping[str, Parameter], given: Mapping[str, Any], *, owner: str, how: str = BY_HAND
) -> dict[str, Any]:
    """The given parameters of an `owner` (bot, queue, workflow) that takes the declared ones only, with their defaults.

    Raises:
        Invalid: as for `fill`.
    """
    for name in given:
        if name not in declared:
            near = difflib.get_close_matches(name, declared, 1)
            names = f"it declares {', '.join(sorted(declared))}." if declared else "it declares none."
            hint = f"did you mean {near[0]!r}?" if near else names
            raise Invalid(f"The {owner} has no parameter {name!r}; {hint}")
    filled = {name: parameter.default for name, parameter in declared.items() if parameter.default is not None}
    filled.update(given)
    missing = [name for name, parameter in declared.items() if parameter.required and name not in filled]
    if missing:
        raise Invalid(f"The {owner} needs the parameter {missing[0]!r}; {how.format(name=missing[0])}.")
    return checked(filled)


def checked(filled: dict[str, Any]) -> dict[str, Any]:
    """The parameters, when they can be stored.

    Raises:
        Invalid: otherwise.
    """
    try:
        written = json.dumps(filled, allow_nan=False)
    except (ValueError, RecursionError):
        raise Invalid("The parameters are not JSON: NaN, infinity and endless nesting have no form there.") from None
    if len(written) > MAX_PARAMETERS:
        raise Invalid(f"The parameters have {len(written):,} bytes as JSON; at most {MAX_PARAMETERS:,} are taken.")
    if "\\u0000" in written:  # JSONB refuses it: postgresql.org/docs/current/datatype-json.html
        raise Invalid("A parameter holds a NUL character, which the database cannot store; remove it.")
    return filled


def check_references(
    session: Session,
    manifest: Manifest,
    parameters: dict[str, Any],
    *,
    workspace_id: uuid.UUID,
    bot_id: uuid.UUID,
) -> None:
    """Refuse references that could not be resolved for this bot.

    Raises:
        InvalidToken: for text that begins a reference and is none.
        Invalid: for an unknown asset, one the bot does not declare, or another workspace.
    """
    references = tokens.find(parameters)
    names = {reference.asset for reference in references}
    known = known_names(session, names, workspace_id=workspace_id, bot_id=bot_id)
    for reference in references:
        if reference.workspace not in {None, "default"}:
            raise Invalid(
                f"The reference {reference.text} names the workspace {reference.workspace!r}; "
                "a job can only use assets of its own workspace."
            )
        if reference.asset not in known:
            raise Invalid(
                f"The reference {reference.text} names the asset {reference.asset}, which does not exist; "
                f"create it with: botkeep asset set {reference.asset} --env ENVIRONMENT"
            )
        if not manifest.declares(reference.asset):
            raise Invalid(
                f"The reference {reference.text} names {reference.asset}, which the bot does not declare; "
                f'add "{reference.asset}" to `assets` in its bot.toml.'
            )
