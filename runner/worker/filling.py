"""The plaintexts behind the references of one data source, and how they get into its fields.

Promises one pass over one field that was parsed before: a value never becomes another field, and a value that looks
like a reference stays as it is. Promises that no text that a foreign library made passes with a value in it.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from runner.worker.failures import SourceFailed, Step
from runner.worker.keyring import Keyring
from runner.worker.masker import Masker
from vault import tokens
from vault.decrypt import Secret
from vault.errors import DecryptError, InvalidToken, InvalidValue
from vault.names import AssetName
from vault.reader import Snapshot, Snapshots
from vault.sights import Sight
from vault.tokens import Reference

#: Stands for no bot: a source uses the assets of its workspace, never a bot's own.
NO_BOT = uuid.UUID(int=0)

#: Told a label and a form that must not be shown from now on.
Mask = Callable[[Sequence[tuple[str, bytes]]], object]


@dataclass(slots=True)
class Values:
    """The plaintexts of one source; `register` tells the attempt's masker of further forms."""

    secrets: Mapping[AssetName, Secret | None]
    environment: str
    register: Mask
    _shown: list[tuple[str, bytes]]

    def __init__(self, secrets: Mapping[AssetName, Secret | None], environment: str, register: Mask) -> None:
        """`register` is told every value at once."""
        self.secrets, self.environment, self.register = secrets, environment, register
        self._shown = [(str(name), secret.reveal()) for name, secret in secrets.items() if secret is not None]
        register(self._shown)

    def fill(self, template: str, *, field: str) -> str:
        """One field with its references replaced by values.

        Raises:
            SourceFailed: for a value that is unset or no text; names the reference and the field.
        """

        def lookup(reference: Reference) -> str:
            secret = self.secrets.get(reference.asset)
            if secret is None:
                raise SourceFailed(Step.FILLED, f"{reference.asset} has no value in {self.environment}", field=field)
            return secret.text()

        try:
            filled = tokens.render(template, lookup)
        except InvalidValue:
            raise SourceFailed(Step.FILLED, "a value that it refers to is no text", field=field) from None
        except InvalidToken:
            raise SourceFailed(Step.FILLED, "it begins a reference that is none", field=field) from None
        return str(filled)

    def mask(self, label: str, form: str) -> None:
        """Make the masker know a form of a value that is about to leave the runner."""
        pair = (label, form.encode("utf-8", "surrogatepass"))
        if pair not in self._shown:
            self._shown.append(pair)
            self.register([pair])

    def safe(self, text: str) -> str:
        """A foreign text without any value; empty where one is too short to be masked and may be in it."""
        masked = Masker(self._shown).mask_text(text)
        return "" if any(value and value.decode(errors="replace") in masked for _, value in self._shown) else masked


def names_of(references: Iterable[Reference]) -> tuple[str, ...]:
    """The assets of references, each once, as patterns for a `Sight`."""
    return tuple(sorted({str(reference.asset) for reference in references}))


def take(
    snapshots: Snapshots, references: Iterable[Reference], *, workspace_id: uuid.UUID, environment: str
) -> Snapshot:
    """The sealed values that a source refers to; their reading must be recorded before `opened`.

    Raises:
        Unavailable: when the database cannot be reached.
    """
    return snapshots.take(Sight(workspace_id, NO_BOT, "-", environment, names_of(references)))


def opened(sealed: Snapshot, keyring: Keyring) -> dict[AssetName, Secret | None]:
    """The plaintexts of a recorded snapshot.

    Raises:
        SourceFailed: for a value that does not open.
    """
    try:
        return {value.name: None if value.envelope is None else keyring.open(sealed, value) for value in sealed.values}
    except DecryptError as error:
        raise SourceFailed(Step.FILLED, str(error)) from None


def readings(sealed: Snapshot) -> str:
    """Which values were read, as JSON for the audit."""
    return json.dumps([{"asset": str(value.name), "number": value.number} for value in sealed.values])
