"""From a stored mail definition to an open mailbox: values into fields, the host judged, connected to its address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner import mail_definition
from runner.connection_policy import ConnectionPolicy
from runner.mail_definition import MailDefinition, MailInvalid
from runner.worker import addresses
from runner.worker.failures import SourceFailed, Step
from runner.worker.filling import Values
from runner.worker.mailbox import Mailbox


def fill(document: Mapping[str, Any], values: Values) -> MailDefinition:
    """The definition with the values of one environment; each field was parsed before, and is filled by itself.

    Raises:
        SourceFailed: naming the field whose value is missing or cannot stand there.
    """
    filled = {key: _filled(value, values, field=key) for key, value in document.items()}
    try:
        return mail_definition.resolved(filled)
    except MailInvalid as error:
        raise SourceFailed(Step.FILLED, str(error), field=error.field) from None


def connect(definition: MailDefinition, values: Values, policy: ConnectionPolicy) -> Mailbox:
    """A logged-in connection to the first address of the host that can be reached and that the policy allows.

    Raises:
        SourceFailed: at the step that failed.
    """
    host = definition.host.strip("[]")
    unreached: SourceFailed | None = None
    for place in addresses.places(host, definition.chosen_port, policy):
        try:
            return Mailbox(definition, address=place.address, mask=values.safe)
        except SourceFailed as failure:
            if failure.step is not Step.REACHABLE:
                raise
            unreached = failure
    assert unreached is not None  # noqa: S101  (there is one place at least)
    raise unreached


def _filled(value: Any, values: Values, *, field: str) -> Any:  # noqa: ANN401  (what JSON has)
    if isinstance(value, str):
        return values.fill(value, field=field)
    if isinstance(value, Mapping):
        return {key: _filled(item, values, field=f"{field}.{key}") for key, item in value.items()}
    return value
