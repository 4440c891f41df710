"""Which runner holds which key, how far a rotation is, and what to do next: what runners say, the API and the page."""

import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runner import runners
from runner.runners import Presence
from runner.worker.key_notes import KeyNotes
from runner.worker.keyring import Keyring
from tests.api import Api, serving
from tests.plain_pages import Pages
from tests.support import Stores
from vault import db, recipients
from vault.decrypt import Identity
from vault.identities import append_identity, create_key_file, key_path, remove_identity


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as running:
        yield running


def keys(api: Api, environment: str = "prod") -> list[dict[str, Any]]:
    items = api.client.get("/api/v1/keys").json()["items"]
    return [item for item in items if item["environment"] == environment]


def current(api: Api) -> str:
    return next(str(item["key"]) for item in keys(api) if item["current"])


def holding(item: dict[str, Any]) -> dict[str, bool | None]:
    return {runner["name"]: runner["holds"] for runner in item["runners"]}


def rotated_to(api: Api, identity: Identity) -> None:
    with db.writing(api.console.engine) as session:
        recipients.register(session, identity.recipient, now=datetime.now(UTC))


def said(api: Api, name: str, held: list[str]) -> None:
    with db.writing(api.console.engine) as session:
        row = next(seen.row for seen in runners.listing(session) if seen.row.name == name)
        runners.note_keys(session, name, instance=row.instance, keys={"prod": held})


def test_a_rotation_is_followed_from_the_prepared_key_to_the_former_one(api: Api) -> None:
    for number in range(3):
        api.set_value(f"G.N{number}", b"a value of the vault", "prod")
    old, new = current(api), Identity.generate("prod")
    assert "No runner of prod is up" in keys(api)[0]["advice"]
    api.add_runner("one", "prod", keys={"prod": [old]})
    api.add_runner("two", "prod", keys={"prod": [old]})
    assert keys(api)[0]["advice"] == ""
    api.add_runner("three", "prod")  # of an older version: it does not say
    assert holding(keys(api)[0]) == {"one": True, "two": True, "three": None}

    said(api, "one", [old, new.id.hex()])
    prepared, in_force = keys(api)
    assert (prepared["key"], prepared["prepared"], prepared["values"]) == (new.id.hex(), True, 0)
    assert holding(prepared) == {"one": True, "two": False, "three": None}
    assert in_force["advice"] == "The next key is prepared. Give the key file to two as well, before it is used."
    said(api, "two", [old, new.id.hex()])
    assert "Use it, on the key host: botkeep key rotate --env prod" in keys(api)[1]["advice"]

    rotated_to(api, new)
    in_force, former = keys(api)
    assert (in_force["current"], in_force["values"], in_force["total"]) == (True, 0, 3)
    assert (former["current"], former["values"], former["key"]) == (False, 3, old)
    assert in_force["advice"] == "Go on on the key host: botkeep key rotate --env prod"
    shown = Pages.of(api).see("/keys")
    assert "0 of 3 values wrapped anew, 3 left" in shown.text
    assert shown.one("progress")["max"] == "3"
    said(api, "two", [old])
    assert keys(api)[0]["advice"].startswith("two cannot open new values: give the key file of prod")


def test_a_former_key_that_nothing_needs_is_named_with_the_command_that_forgets_it(api: Api) -> None:
    old, new = current(api), Identity.generate("prod")
    rotated_to(api, new)
    api.add_runner("one", "prod", keys={"prod": [old, new.id.hex()]})
    forget = f"python -m vault forget --env prod --key {old}"
    assert forget in Pages.of(api).see("/keys").text
    said(api, "one", [new.id.hex()])
    assert forget not in Pages.of(api).see("/keys").text


def test_the_page_of_keys_looks_again_and_is_told_of_nothing_where_nothing_changed(api: Api) -> None:
    pages = Pages.of(api)
    again = pages.see("/keys").one(id="rings")["hx-get"]
    assert api.client.get(again).status_code == 204
    api.add_runner("one", "prod", keys={"prod": [current(api)]})
    assert api.client.get(again).status_code == 200


def test_a_runner_says_what_it_holds_when_its_key_file_changes(api: Api, tmp_path: Path) -> None:
    path, old, new = key_path(tmp_path / "keys", "prod"), Identity.generate("prod"), Identity.generate("prod")
    create_key_file(path, old)
    keyring = Keyring({"prod": path})
    presence = Presence("host", uuid.uuid4(), "host", "0", ("prod",), ("default",), 1, keys=keyring.held())
    with db.writing(api.console.engine) as session:
        runners.register(session, presence)
    notes = KeyNotes(api.console.engine, keyring, runner="host", instance=presence.instance)

    def noted() -> object:
        notes.beat()
        with db.reading(api.console.engine) as session:
            return next(seen.row.keys for seen in runners.listing(session))

    assert noted() == {"prod": [old.id.hex()]}
    append_identity(path, new)
    assert noted() == {"prod": [old.id.hex(), new.id.hex()]}
    remove_identity(path, "prod", key_id=old.id)
    assert noted() == {"prod": [new.id.hex()]}
    # Neither a broken file nor that of another installation takes away what is held.
    path.write_text("nothing of a key")
    assert noted() == {"prod": [new.id.hex()]}
    path.unlink()
    create_key_file(path, Identity.generate("prod"))
    assert noted() == {"prod": [new.id.hex()]}
    # Nor does a folder that was closed to the runner.
    mine = os.geteuid()
    path.parent.chmod(0)
    os.seteuid(65534 if mine == 0 else mine)  # for root no folder is closed
    try:
        keyring.look()
    finally:
        os.seteuid(mine)
        path.parent.chmod(0o700)
    assert keyring.held() == {"prod": [new.id.hex()]}
