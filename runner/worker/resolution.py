"""The step between a verified package and a started bot: one snapshot, decrypted, put into its places.

All values of the database that a bot starts with are as one statement saw them: they are its answer, or it found them
to be what this worker remembers. Their readings are committed before the first envelope is opened. References in
parameters are replaced in one pass from the same snapshot, so none sees another generation of a value than the bot.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from runner import jobs, workspaces
from runner.jobs import Claim
from runner.manifest import Manifest
from runner.states import Reason
from runner.worker.environment import Delivery, deliver
from runner.worker.keyring import Keyring
from runner.worker.local.document import Entry
from runner.worker.local.values import LocalValues
from runner.worker.refusal import Refusal
from runner.worker.typed import Typed
from vault import tokens
from vault.decrypt import Secret
from vault.direct import Direct
from vault.errors import DamagedRow, InvalidToken, InvalidValue, VaultError
from vault.names import AssetName
from vault.reader import Snapshot, Snapshots
from vault.sights import Sight
from vault.tokens import JSON, Reference

#: Assets without a value that have a warning each.
NAMED = 20


@dataclass(slots=True)
class Resolved:
    """The plaintexts of one attempt, for as short a time as it takes to hand them over."""

    sealed: Snapshot
    #: Of its local assets those that have a value on this host.
    local: dict[AssetName, Entry]
    values: dict[AssetName, Secret | None] = field(repr=False)
    parameters: JSON = field(repr=False)
    delivery: Delivery = field(repr=False)
    warnings: tuple[str, ...]

    def named_values(self) -> list[tuple[str, bytes]]:
        """Every value with its asset's name, for the masker."""
        return [(str(name), secret.reveal()) for name, secret in self.values.items() if secret is not None]

    def forget(self) -> None:
        """Drop every plaintext; the snapshot's ciphertexts stay for the endpoint."""
        self.values.clear()
        self.delivery.variables.clear()
        self.delivery.files.clear()
        self.parameters = None


@dataclass(frozen=True, slots=True)
class _Found:
    """A snapshot that is enough for its attempt, and what it has for it."""

    sealed: Snapshot
    #: Of its local assets those that have a value on this host.
    here: dict[AssetName, Entry]
    #: Those of the job's parameters.
    references: tuple[Reference, ...]
    #: What the bot declares and is not given.
    lacking: tuple[AssetName, ...]


def resolve(
    direct: Direct,
    snapshots: Snapshots,
    keyring: Keyring,
    claim: Claim,
    *,
    local: LocalValues,
    bot: str,
    manifest: Manifest,
    runner: str,
) -> Resolved:
    """Take the snapshot, open it, and resolve the references.

    Raises:
        Refusal: for an unset value where the workspace refuses them, an unknown or undeclared reference, or a value
            that does not open. Where it is raised before the readings are written, none is left behind.
        Unavailable: when the database cannot be reached.
    """
    found = _read(direct, snapshots, claim, local=local, bot=bot, manifest=manifest, runner=runner)
    sealed, here = found.sealed, found.here
    values = _open(sealed, here, keyring, local=local)
    try:
        delivery = deliver(values, files=manifest.files)
        parameters = _render(claim, values) if found.references else claim.parameters
        typed = Typed.of(claim.parameters, values)
    except Refusal:
        raise
    except Exception as error:
        # No masker knows the values yet, so nothing of this exception but its kind may be shown.
        raise Refusal(Reason.INTERNAL, f"The values could not be prepared ({type(error).__name__}).") from None
    if typed.assets:
        jobs.refer(direct, claim.job_id, attempt=claim.attempt, parameters=typed.parameters)
    return Resolved(
        sealed=sealed,
        local=here,
        values=values,
        parameters=parameters,
        delivery=delivery,
        warnings=(
            *_unset_warnings(found.lacking, sealed, bot=bot),
            *typed.warnings,
            *delivery.warnings,
        ),
    )


def _read(
    direct: Direct,
    snapshots: Snapshots,
    claim: Claim,
    *,
    local: LocalValues,
    bot: str,
    manifest: Manifest,
    runner: str,
) -> _Found:
    """The values of the attempt, still sealed, whose readings are committed."""
    sight = Sight(claim.workspace_id, claim.bot_id, bot, claim.environment, manifest.assets)
    check = partial(_checked, direct, claim, local=local, bot=bot, manifest=manifest)
    known = snapshots.latest(sight)
    if known is not None:
        # What it lacks may be there by now: only what is taken below is refused.
        with contextlib.suppress(Refusal):
            found = check(known.snapshot)
            if snapshots.confirm(known, job_id=claim.job_id, attempt=claim.attempt, runner=runner):
                return found
    try:
        sealed = snapshots.take(sight)
    except DamagedRow as error:
        raise Refusal(Reason.UNDECRYPTABLE, str(error)) from None
    found = check(sealed)
    numbers = {name: entry.number for name, entry in found.here.items()}
    snapshots.record(sealed, job_id=claim.job_id, attempt=claim.attempt, runner=runner, local=numbers, first=True)
    return found


def _checked(
    direct: Direct, claim: Claim, sealed: Snapshot, *, local: LocalValues, bot: str, manifest: Manifest
) -> _Found:
    """What the attempt will have of a snapshot; refused where that is not enough, before anything of it is read."""
    references = _checked_references(claim, manifest, sealed)
    here = _here(sealed, local)
    lacking = _lacking(manifest, sealed, here)
    if lacking:
        policy = workspaces.unset_policy(direct, claim.environment, workspace_id=claim.workspace_id)
        _check_unset(lacking, policy, sealed, bot=bot)
    return _Found(sealed, here, references, lacking)


def _checked_references(claim: Claim, manifest: Manifest, sealed: Snapshot) -> tuple[Reference, ...]:
    try:
        references = tokens.find(claim.parameters)
    except InvalidToken as error:
        raise Refusal(Reason.ASSET_MISSING, str(error)) from None
    for reference in references:
        if reference.workspace not in {None, workspaces.DEFAULT}:
            raise Refusal(
                Reason.ASSET_DENIED,
                f"The reference {reference.text} names another workspace; a job can only use assets of its own.",
            )
        if not manifest.declares(reference.asset):
            raise Refusal(
                Reason.ASSET_DENIED,
                f"The reference {reference.text} names {reference.asset}, which the bot does not declare.",
            )
        if reference.asset not in sealed.by_name:
            raise Refusal(
                Reason.ASSET_MISSING,
                f"The reference {reference.text} names the asset {reference.asset}, which does not exist any more.",
            )
    return references


def _here(sealed: Snapshot, local: LocalValues) -> dict[AssetName, Entry]:
    """Of the local assets those that have a value on this host; no file is looked at where there is none."""
    if not sealed.local:
        return {}
    try:
        return local.find(sealed.local, sealed.environment)
    except VaultError as error:
        raise Refusal(Reason.UNDECRYPTABLE, f"{error} Then retry the job.") from None


def _lacking(manifest: Manifest, sealed: Snapshot, here: dict[AssetName, Entry]) -> tuple[AssetName, ...]:
    """What the bot declares and cannot be given: unset values, and names of which there is no asset."""
    unknown = (name for name in manifest.named() if name not in sealed.by_name)
    return (*(value.name for value in sealed.unset if value.name not in here), *unknown)


def _check_unset(lacking: tuple[AssetName, ...], policy: workspaces.Unset, sealed: Snapshot, *, bot: str) -> None:
    if policy is workspaces.Unset.REFUSE:
        environment = sealed.environment
        command = f"botkeep asset set {lacking[0]}"
        if _is_local(lacking[0], sealed):
            command = f"botkeep local set {bot} {lacking[0]}"
        raise Refusal(
            Reason.ASSET_MISSING,
            f"No value is set in {environment} for {', '.join(map(str, lacking))}, and the workspace refuses unset "
            f"values there. Set it with: {command} --env {environment}",
        )


def _is_local(name: AssetName, sealed: Snapshot) -> bool:
    return name in sealed.by_name and sealed.by_name[name].local


def _open(
    sealed: Snapshot, here: dict[AssetName, Entry], keyring: Keyring, *, local: LocalValues
) -> dict[AssetName, Secret | None]:
    if not sealed.values:
        return {}
    try:
        opened = keyring.open_all(sealed)
        if not sealed.unset:
            return {**opened}
        return {
            value.name: opened[value.name]
            if value.name in opened
            else local.open(here[value.name])
            if value.name in here
            else None
            for value in sealed.values
        }
    except VaultError as error:
        raise Refusal(Reason.UNDECRYPTABLE, str(error)) from None


def _render(claim: Claim, values: dict[AssetName, Secret | None]) -> JSON:
    def lookup(reference: Reference) -> str:
        secret = values[reference.asset]
        return "" if secret is None else secret.text()

    try:
        return tokens.render(claim.parameters, lookup)
    except InvalidValue as error:
        raise Refusal(
            Reason.ASSET_MISSING,
            f"A parameter refers to a value that is no text ({error}); use the file or the SDK for it.",
        ) from None


def _unset_warnings(lacking: Sequence[AssetName], sealed: Snapshot, *, bot: str) -> Iterator[str]:
    """A sentence of each, and one that counts the rest: a bot that declares nothing sees every asset."""
    yield from (_unset_warning(name, sealed, bot=bot) for name in lacking[:NAMED])
    if more := len(lacking[NAMED:]):
        verb = "has" if more == 1 else "have"
        yield (
            f"{more:,} more {verb} no value in {sealed.environment}; the bot got empty texts. "
            "See: botkeep asset coverage. A bot that declares `assets` gets, and is warned of, these alone."
        )


def _unset_warning(name: AssetName, sealed: Snapshot, *, bot: str) -> str:
    if _is_local(name, sealed):
        return (
            f"{name} has no value on this host in {sealed.environment}; the bot got an empty text. "
            f"Set it there: botkeep local set {bot} {name} --env {sealed.environment}"
        )
    if name in sealed.by_name:
        return f"{name} has no value in {sealed.environment}; the bot got an empty text."
    return f"The bot declares {name}, which does not exist; it got nothing. See: botkeep asset list"
