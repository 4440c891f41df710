"""Robocorp's dialect: what `robocorp-vault`, `robocorp-workitems` and `rpaframework` ask of Control Room.

    …/compat/rc/secrets-v1/workspaces/WS/secrets/NAME              the vault (`robocorp_vault`)
    …/compat/rc/process-v1/workspaces/WS/processes/ID/…            reserve, release, output (`robocorp_items`)
    …/compat/rc/json-v1/workspaces/WS/workitems/ID/…               data and files of items
    …/compat/rc/files/PASS                                         one file, by a pass in its address

The workspace is the job's. Refuses every other one, and every other route: asset storage, processes.
"""

from __future__ import annotations

from runner.errors import NotFound
from runner.worker.dialects.robocorp_items import Items
from runner.worker.dialects.robocorp_vault import Vault
from runner.worker.grant import Call, Denied, Said
from runner.worker.refusals import Refusals
from runner.workspaces import DEFAULT
from vault.names import shown


class Robocorp:
    """The dialect for one attempt."""

    def __init__(self, vault: Vault, items: Items, refusals: Refusals) -> None:
        self._vault, self._items, self._refusals = vault, items, refusals

    def answer(self, call: Call) -> Said:
        """What the service answers."""
        if call.passed:
            return self._items.passed(call)
        match call.path:
            case (service, "workspaces", workspace, kind, *rest) if rest and rest[0]:
                self._check_workspace(workspace)
                if (service, kind) == ("secrets-v1", "secrets") and len(rest) == 1:
                    return self._vault.answer(call, tuple(rest))
                if (service, kind) == ("process-v1", "processes"):
                    return self._items.process(call, tuple(rest[1:]))
                if (service, kind) == ("json-v1", "workitems"):
                    return self._items.item(call, tuple(rest))
        self._refusals.note(f"robocorp: {call.method} /{'/'.join(call.path)}")
        raise NotFound("Botkeep answers Robocorp's vault and work items only; there is no such address here.")

    def _check_workspace(self, workspace: str) -> None:
        if workspace != DEFAULT:
            self._refusals.note(f"workspace {shown(workspace)}")
            raise Denied(f"This job belongs to the workspace {DEFAULT} and sees nothing of another.")
