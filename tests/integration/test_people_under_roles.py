"""People, sessions and the audit's chain under each process's own database role."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from console import sessions, users
from console.sessions import Browser, Lifetimes
from console.users import Rights
from runner import workspaces
from tests.api import TESTER
from tests.integration.ruled import copy_of_ruled, ruled_cluster
from tests.services import PostgresServer
from vault import chain, db

NOW = datetime(2026, 8, 1, tzinfo=UTC)


@pytest.fixture
def engines(postgres: PostgresServer) -> Iterator[dict[str, Engine]]:
    with ruled_cluster(postgres) as cluster, copy_of_ruled(cluster) as name:
        made = {role: db.engine(cluster.url(name, user=f"botkeep_{role}")) for role in ("console", "scheduler")}
        yield made
        for engine in made.values():
            engine.dispose()


def test_the_console_knows_people_and_the_scheduler_seals_what_they_did(engines: dict[str, Engine]) -> None:
    console = engines["console"]
    place: Any = {"actor": TESTER, "now": NOW}
    lifetimes, browser = Lifetimes(timedelta(hours=1), timedelta(days=1)), Browser("127.0.0.1", "a browser")
    with db.writing(console) as session:
        here = workspaces.default_workspace(session)
        other = workspaces.make(session, "other", now=NOW)
        member = users.add(session, "bea", rights=Rights.of("dev", {"prod": "viewer"}), workspace_id=here, **place)
        users.add(session, "bea", rights=Rights.of("viewer", {}), workspace_id=other.id, **place)
        users.set_password(session, member, "four quiet words here", **place)
        users.change(session, member, rights=Rights.of("viewer", {}), **place)
        users.link(session, member, **place)
        cookie = sessions.begin(session, member.user, method="link", browser=browser, lifetimes=lifetimes, now=NOW)
        found = sessions.find(session, cookie, address="", lifetimes=lifetimes, now=NOW)
        assert found is not None
        sessions.note(session, found.id, now=NOW + timedelta(minutes=1))
        sessions.switch(session, found.id, "other", user_id=member.user.id, **place)
        sessions.revoke(session, found.id, user_id=member.user.id, **place)
        users.remove(session, member, **place)
        users.remove(session, users.require(session, "bea", workspace_id=other.id), **place)
    with db.writing(engines["scheduler"]) as session:
        assert set(chain.seal(session)) == {here, other.id}
    with db.reading(console) as session:
        assert chain.verify(session, here, after=0, limit=100).findings == []
