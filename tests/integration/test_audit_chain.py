"""The audit's chain: what it finds, what it cannot, and that no reading happens without its row."""

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from runner.workspaces import default_workspace
from scheduler.sealing import Sealer
from tests.support import Stores
from vault import audit, chain, db
from vault.audit import Actor
from vault.chain import Finding
from vault.direct import Direct

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
ANN = Actor("ann", "127.0.0.1")


@pytest.fixture
def engine(stores: Stores) -> Iterator[Engine]:
    made = db.engine(stores.database_url)
    yield made
    made.dispose()


def write(engine: Engine, *actions: str) -> None:
    with db.writing(engine) as session:
        here = default_workspace(session)
        for action in actions:
            audit.record(session, ANN, workspace_id=here, action=action, target="thing", now=NOW, details={"n": 1.5})


def seal(engine: Engine) -> None:
    with db.writing(engine) as session:
        chain.seal(session)


def found(engine: Engine, *, limit: int = 1000) -> list[Finding]:
    findings: list[Finding] = []
    with db.reading(engine) as session:
        here, after, done = default_workspace(session), 0, False
        while not done:
            part = chain.verify(session, here, after=after, limit=limit)
            findings += part.findings
            after, done = part.last.seq, part.done
    return findings


def change(engine: Engine, statement: str, **given: object) -> None:
    with db.writing(engine) as session:
        session.execute(text(statement), given)


def ids(engine: Engine) -> list[Any]:
    with db.reading(engine) as session:
        return list(session.execute(text("SELECT event_id FROM audit_links ORDER BY seq")).scalars())


@pytest.fixture
def sealed(engine: Engine) -> list[Any]:
    """The ids of six rows, sealed in two goes."""
    write(engine, "a.one", "a.two", "a.three")
    seal(engine)
    write(engine, "a.four", "a.five", "a.six")
    seal(engine)
    assert found(engine) == []
    assert len(ids(engine)) == 6
    return ids(engine)


EDITS = {
    "actor": "'eve'",
    "address": "'10.0.0.1'",
    "action": "'a.other'",
    "object": "'other'",
    "environment": "'prod'",
    "outcome": "'refused'",
    "at": "'2026-01-02 12:00:00.000000'",
    "details": "'{}'",
}


@pytest.mark.parametrize("column", EDITS)
def test_an_edited_row_is_found_and_named(engine: Engine, sealed: list[Any], column: str) -> None:
    change(engine, f"UPDATE audit_events SET {column} = {EDITS[column]} WHERE id = :id", id=sealed[2])
    assert [(one.kind, one.seq) for one in found(engine)] == [("edited", 3)]
    assert [(one.kind, one.seq) for one in found(engine, limit=2)] == [("edited", 3)]
    assert found(engine)[0].event_id == uuid.UUID(str(sealed[2]))


def test_removed_moved_and_inserted_rows_are_found_and_named(engine: Engine, sealed: list[Any]) -> None:
    change(engine, "DELETE FROM audit_events WHERE id = :id", id=sealed[1])
    assert [(one.kind, one.seq) for one in found(engine)] == [("removed", 2)]
    # Two places exchanged, with all that they hold.
    change(engine, "UPDATE audit_links SET seq = 100 WHERE seq = 4")
    change(engine, "UPDATE audit_links SET seq = 4 WHERE seq = 5")
    change(engine, "UPDATE audit_links SET seq = 5 WHERE seq = 100")
    assert {(one.kind, one.seq) for one in found(engine)} >= {("removed", 2), ("moved", 4), ("moved", 5)}


def test_a_row_whose_place_was_taken_out_leaves_a_gap(engine: Engine, sealed: list[Any]) -> None:
    change(engine, "DELETE FROM audit_events WHERE id = :id", id=sealed[3])
    change(engine, "DELETE FROM audit_links WHERE seq = 4")
    assert [(one.kind, one.seq) for one in found(engine)][:1] == [("missing", 4)]


def test_a_row_put_in_behind_the_chain_is_found_and_a_late_one_is_sealed(engine: Engine, sealed: list[Any]) -> None:
    def put_in(back: timedelta) -> uuid.UUID:
        newest = uuid.UUID(str(sealed[-1])).int >> 80
        made = uuid.UUID(int=(newest - int(back.total_seconds() * 1000)) << 80 | 7)
        given = {"id": made.hex if engine.dialect.name == "sqlite" else made, "model": sealed[0]}
        change(
            engine,
            "INSERT INTO audit_events (id, workspace_id, at, actor, address, action, object, outcome, details) "
            "SELECT :id, workspace_id, at, 'eve', address, action, object, outcome, details FROM audit_events "
            "WHERE id = :model",
            **given,
        )
        return made

    forged = put_in(timedelta(days=1))
    put_in(timedelta(seconds=10))
    seal(engine)
    assert len(ids(engine)) == 7
    assert [(one.kind, one.event_id) for one in found(engine)] == [("inserted", forged)]


def test_a_chain_that_was_written_anew_does_not_fit_the_anchored_heads(
    engine: Engine, sealed: list[Any], tmp_path: Path
) -> None:
    file = tmp_path / "audit" / "heads.jsonl"
    direct = Direct(engine)
    sealer = Sealer(engine, direct, file, anchor_every=0.001, now=lambda: NOW)
    write(engine, "a.seven")
    assert sealer.seal() == 1
    assert sealer.seal() == 0
    direct.close()
    line = json.loads(file.read_text())
    assert line["seq"] == 7
    assert file.stat().st_mode & 0o777 == 0o600
    anchored = {7: bytes.fromhex(line["hash"])}
    with db.reading(engine) as session:
        assert chain.differing(session, default_workspace(session), anchored) == []
    change(engine, "DELETE FROM audit_links")
    change(engine, "DELETE FROM audit_events WHERE id = :id", id=sealed[0])
    seal(engine)
    assert found(engine) == []  # the chain alone holds: only the anchor tells
    write(engine, "a.eight")
    seal(engine)
    with db.reading(engine) as session:
        wrong = chain.differing(session, default_workspace(session), anchored)
    assert [(one.kind, one.seq) for one in wrong] == [("edited", 7)]
    change(engine, "DELETE FROM audit_links WHERE seq > 5")
    with db.reading(engine) as session:
        wrong = chain.differing(session, default_workspace(session), anchored)
    assert [(one.kind, one.seq) for one in wrong] == [("removed", 7)]


def test_rows_without_a_place_are_counted_and_get_one_in_any_number_of_goes(engine: Engine) -> None:
    write(engine, *(f"a.n{number}" for number in range(50)))
    with db.reading(engine) as session:
        assert chain.tail(session, default_workspace(session)).count >= 50
    seal(engine)
    seal(engine)
    with db.reading(engine) as session:
        assert chain.tail(session, default_workspace(session)).count == 0
        assert chain.head(session, default_workspace(session)).seq == len(ids(engine))
    assert found(engine, limit=7) == []


def test_a_clock_that_runs_ahead_hides_no_row(engine: Engine, sealed: list[Any]) -> None:
    ahead = uuid.UUID(int=((uuid.UUID(str(sealed[-1])).int >> 80) + 86_400_000) << 80)
    given = ahead.hex if engine.dialect.name == "sqlite" else ahead
    change(engine, "UPDATE audit_events SET id = :id WHERE id = :old", id=given, old=sealed[-1])
    change(engine, "DELETE FROM audit_links WHERE seq = 6")
    seal(engine)
    write(engine, "a.seven")
    seal(engine)
    assert len(ids(engine)) == 7
    assert found(engine) == []


def test_two_schedulers_at_once_make_one_chain(engine: Engine) -> None:
    write(engine, "a.one", "a.two")
    with db.writing(engine) as session:
        chain.seal(session)
        with db.reading(engine) as other:
            assert chain.head(other, default_workspace(other)).seq == 0
    seal(engine)
    assert found(engine) == []
    with pytest.raises(DBAPIError), db.writing(engine) as session:
        session.execute(text("INSERT INTO audit_links SELECT * FROM audit_links"))
