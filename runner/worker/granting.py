"""What one attempt may ask for at its worker's endpoint: its tokens, and the variables and files that tell its bot of
them.

Promises that a bot gets a token and the variables of a dialect only where it speaks it, that files with values are
0600 in the attempt's folder in memory, and that `close` ends every token, whatever else fails.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping

from runner.dialects import ROBOCORP, ROBOTO
from runner.errors import Conflict
from runner.jobs import Claim
from runner.logging import logger
from runner.worker.desk import Desk
from runner.worker.dialects import surroundings
from runner.worker.environment import Facts, Folders
from runner.worker.grant import Grant, Speaker
from runner.worker.masker import Masker
from runner.worker.on_demand import Part, load
from runner.worker.packages import Declaration
from runner.worker.questions import Asked
from runner.worker.refusals import Refusals
from runner.worker.requested import Requested
from runner.worker.resolution import Resolved
from runner.worker.station import Station
from runner.worker.visible import Visible
from vault import tokens
from vault.errors import VaultError
from vault.names import AssetName
from vault.tokens import JSON, Reference

_log = logger()

#: What closing may meet: nothing of it changes how a job ended.
_HARMLESS = (VaultError, Conflict)


class Granted:
    """The tokens of one attempt; `variables` tell its bot of the dialects that it speaks."""

    def __init__(
        self,
        station: Station,
        claim: Claim,
        package: Declaration,
        resolved: Resolved,
        *,
        bot: str,
        folders: Folders,
        masker: Masker,
        sources: Asked,
    ) -> None:
        """`masker` knows the values of the attempt, and is to learn the tokens before the bot is started."""
        self.requested = Requested(masker)
        self._station, self._claim = station, claim
        self._refusals = Refusals(station.engine, claim, bot=bot, mask=masker.mask_text)
        self._visible = self._seen(package, resolved, bot=bot)
        self._desk = Desk(station.engine, claim, masker=masker)
        self._closing: list[Callable[[], None]] = [self._desk.close]
        grant = Grant(
            names=self._visible.names,
            read=self._visible.read,
            mask=self.requested.mask,
            sources=sources,
            take=self._desk.take,
            write=self._write,
            refused=self._refusals.note,
            speakers=self._speakers(package, bot=bot, masker=masker),
        )
        self.token = station.endpoint.admit(grant)
        #: The tokens of the dialects, by their words.
        self.others = {dialect: station.endpoint.admit(grant, dialect) for dialect in package.dialects}
        self.facts = facts = self._facts(bot)
        self.variables: Mapping[str, str] = {}
        if not self.others:
            return
        try:
            self.variables = surroundings.prepare(
                facts, folders, self.others, written=claim.parameters, rendered=resolved.parameters
            )
        except BaseException:
            self.close()
            raise

    def named_values(self) -> list[tuple[str, bytes]]:
        """The tokens, as the masker takes them."""
        own = [("BOTKEEP_TOKEN", self.token.encode())]
        return own + [(f"the token of {dialect}", token.encode()) for dialect, token in self.others.items()]

    def close(self) -> None:
        """End the tokens, and store what was held back."""
        for token in (self.token, *self.others.values()):
            self._station.endpoint.revoke(token)
        self._refusals.forget()
        for close in self._closing:
            with contextlib.suppress(*_HARMLESS):
                close()

    def _seen(self, package: Declaration, resolved: Resolved, *, bot: str) -> Visible:
        return Visible(
            self._station,
            self._claim,
            bot=bot,
            manifest=package.manifest,
            sealed=resolved.sealed,
            local=resolved.local,
            learn=self.requested.learn,
            refusals=self._refusals,
        )

    def _facts(self, bot: str) -> Facts:
        return Facts(
            job_id=str(self._claim.job_id),
            attempt=self._claim.attempt,
            environment=self._claim.environment,
            bot=bot,
            endpoint=self._station.endpoint.url,
            token=self.token,
        )

    def _write(self, name: AssetName, value: bytes | None, written: str) -> None:
        self._visible.write(name, value, written=written)

    def _speakers(self, package: Declaration, *, bot: str, masker: Masker) -> Mapping[str, Speaker]:
        speakers: dict[str, Speaker] = {}
        if ROBOTO in package.dialects:
            speakers["roboto"] = speakers["aws"] = load(Part.ROBOTO).Roboto(self._visible, self._refusals)
        if ROBOCORP in package.dialects:
            robocorp = load(Part.ROBOCORP)
            items = robocorp.Items(
                self._station.engine,
                self._claim,
                bot=bot,
                manifest=package.manifest,
                masker=masker,
                parameters=self._parameters,
            )
            self._closing.append(items.close)
            vault = robocorp.Vault(self._visible, self.requested)
            speakers["rc"] = robocorp.Robocorp(vault, items, self._refusals)
        return speakers

    def _parameters(self) -> JSON:
        """The job's parameters with their references resolved, from the same snapshot as at its start."""

        def lookup(reference: Reference) -> str:
            found = self._visible.read(reference.asset)
            return "" if found is None else found.text()

        return tokens.render(self._claim.parameters, lookup)
