"""The page of keys: which key each environment has, which runners hold it, and how far a rotation is."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from console.deps import Allowed
from console.pages import shell
from runner import runners
from runner.runners import Seen
from vault import recipients
from vault.names import ENVIRONMENTS
from vault.recipients import KeyState

router = APIRouter()


@dataclass(frozen=True, slots=True)
class Ring:
    """The keys of one environment, the one in force first, and the runners that serve it."""

    environment: str
    current: KeyState | None
    former: list[KeyState]
    runners: list[Seen]

    @property
    def total(self) -> int:
        """Stored values, whichever key wraps them."""
        return (self.current.values if self.current else 0) + self.left

    @property
    def left(self) -> int:
        """Values that a former key still wraps: what a rotation has before it."""
        return sum(key.values for key in self.former)


@router.get("/keys")
def show(call: Allowed) -> HTMLResponse:
    """Public facts only: the console holds no private key and could open nothing."""
    with call.reading() as session:
        states = recipients.states(session)
        seen = runners.listing(session)
    rings = [
        Ring(
            environment,
            next((key for key in states if key.environment == environment and key.retired_at is None), None),
            [key for key in states if key.environment == environment and key.retired_at is not None],
            [one for one in seen if environment in one.row.environments],
        )
        for environment in ENVIRONMENTS
    ]
    return shell.page(call, "keys/page.html", rings=rings)
