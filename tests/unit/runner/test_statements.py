"""The statements of each job, as the databases get them."""

import re

import pytest
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect

from runner import statements

DIALECTS: list[Dialect] = [
    sqlite.dialect(paramstyle="named"),
    postgresql.dialect(),  # type: ignore[no-untyped-call]  # SQLAlchemy's own has no annotations
]
NAMES = ("ENQUEUE", "CLAIM", "CLAIM_NEXT", "CLAIM_LIMITED", "FINISH", "FINISH_AT_ONCE", "CIRCUMSTANCES")


@pytest.mark.parametrize("dialect", DIALECTS, ids=["sqlite", "postgresql"])
@pytest.mark.parametrize("name", NAMES)
def test_a_state_that_is_asked_for_is_no_parameter(name: str, dialect: Dialect) -> None:
    """A partial index would cost a plan for each execution, see `statements`."""
    text = str(getattr(statements, name).compile(dialect=dialect))
    assert set(re.findall(r"\.state (?:=|IN) (\S+)", text)) <= {"'queued'", "'running'"}
    assert ".state = '" in text
