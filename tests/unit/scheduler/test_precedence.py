"""Which environment something runs in when several places say so."""

import pytest

from scheduler.precedence import environment_of
from vault.errors import Invalid


@pytest.mark.parametrize(
    ("explicit", "trigger", "flow", "expected"),
    [
        ("dev", "staging", "prod", "dev"),
        (None, "staging", "prod", "staging"),
        (None, None, "prod", "prod"),
        (None, None, None, "dev"),
        ("prod", None, "staging", "prod"),
        ("staging", "prod", None, "staging"),
    ],
)
def test_explicit_goes_before_the_trigger_before_the_flow_before_dev(
    explicit: str | None, trigger: str | None, flow: str | None, expected: str
) -> None:
    assert environment_of(explicit=explicit, trigger=trigger, flow=flow) == expected


def test_an_unknown_environment_is_refused() -> None:
    with pytest.raises(Invalid):
        environment_of(explicit="live")
