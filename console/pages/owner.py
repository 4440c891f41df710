"""Whose assets a page is about: the workspace's below `/assets`, or those of one bot below `/bots/{bot}/assets`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from console.deps import Allowed, Call
from console.pages import shell
from runner import bots
from vault.assets import Scope
from vault.names import AssetName


@dataclass(frozen=True, slots=True)
class Owner:
    """The workspace, or the bot of this name."""

    bot: str | None

    @property
    def base(self) -> str:
        """The address of the list."""
        return "/assets" if self.bot is None else shell.address("bots", self.bot, "assets")

    @property
    def route(self) -> str:
        """The path of the list as the routes and their permissions write it."""
        return "/assets" if self.bot is None else "/bots/{bot}/assets"

    def of(self, name: AssetName) -> str:
        """The address of one asset."""
        return f"{self.base}/{name.group}/{name.name}"

    def scope(self, session: Session, call: Call) -> Scope:
        """The scope of the assets.

        Raises:
            NotFound: when there is no such bot.
        """
        if self.bot is None:
            return Scope(call.workspace_id)
        found = bots.require(session, self.bot, workspace_id=call.workspace_id)
        return Scope(call.workspace_id, found.id, found.name)


@dataclass(frozen=True, slots=True)
class Slot:
    """One asset of an owner, as an address names it."""

    owner: Owner
    name: AssetName

    @property
    def path(self) -> str:
        """The address of its page."""
        return self.owner.of(self.name)


def _owner(request: Request, _call: Allowed) -> Owner:
    return Owner(request.path_params.get("bot"))


Owned = Annotated[Owner, Depends(_owner)]


def _slot(owner: Owned, group: str, name: str) -> Slot:
    return Slot(owner, AssetName(group, name))


Slotted = Annotated[Slot, Depends(_slot)]
