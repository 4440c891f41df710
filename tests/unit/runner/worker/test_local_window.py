"""The full screen of local values, driven by its keys alone through Textual's pilot."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Input, Label

from runner.local_values import Definition
from runner.worker.local import journal, known
from runner.worker.local.custody import Custody
from runner.worker.local.host import Host
from runner.worker.local.known import Resident
from runner.worker.local.settings import LocalSettings
from runner.worker.local.window import Window
from tests.local_values import NOW, PASSPHRASE, asset, make, revealed

USER = asset("SAP.USER")
VALUE = "a typed [value]"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return make(tmp_path, asset("PORTAL.TOKEN", "archive"), asset("SAP.PIN"), USER, environments=("prod",))


def drive(
    host: Host,
    keys: Callable[[Pilot[None]], Awaitable[None]],
    *,
    later: timedelta = timedelta(0),
    hear: Callable[[], object] = lambda: None,
) -> None:
    """Run the window for as long as `keys` presses any."""

    async def run() -> None:
        async with Window(host, now=lambda: NOW + later, hear=hear).run_test(size=(120, 30)) as pilot:
            await pilot.pause()
            await keys(pilot)

    # In a thread of its own: the loop of a browser's driver may run in this one.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, run()).result()


def table(pilot: Pilot[None]) -> list[list[str]]:
    found = pilot.app.screen_stack[0].query_one(DataTable)
    return [[str(cell) for cell in found.get_row_at(line)] for line in range(found.row_count)]


def said(pilot: Pilot[None]) -> str:
    return str(pilot.app.screen_stack[0].query_one("#said", Label).content)


def shown(pilot: Pilot[None]) -> str:
    """All that is on the screen now."""
    lines = pilot.app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in lines)


async def enter(pilot: Pilot[None], text: str) -> None:
    """Type into the field of a question and send it."""
    await pilot.pause()
    pilot.app.screen.query_one(Input).value = text
    await pilot.press("enter")
    await pilot.pause()


def test_variables_are_grouped_by_bot_and_the_missing_ones_are_marked(host: Host) -> None:
    host.set_value(USER, "prod", b"a value", now=NOW)

    async def keys(pilot: Pilot[None]) -> None:
        assert [line[:5] for line in table(pilot)] == [
            ["archive", "PORTAL.TOKEN", "prod", "missing", ""],
            ["invoices", "SAP.PIN", "prod", "missing", ""],
            ["", "SAP.USER", "prod", "#1", "3 d"],
        ]

    drive(host, keys, later=timedelta(days=3))


def test_a_value_is_typed_unseen_saved_and_revealed_for_a_moment(host: Host) -> None:
    async def keys(pilot: Pilot[None]) -> None:
        await pilot.press("down", "e")
        await pilot.pause()
        for letter in "sesame":
            await pilot.press(letter)
        assert "New value of SAP.PIN of invoices in prod" in shown(pilot)
        assert "sesame" not in shown(pilot)
        assert pilot.app.screen.query_one(Input).value == "sesame"
        await enter(pilot, VALUE)
        assert table(pilot)[1][3] == "#1"
        assert "is now value 1" in said(pilot)
        assert pilot.app.screen_stack[0].query_one(DataTable).cursor_row == 1, "the cursor stays"
        assert VALUE not in shown(pilot)
        assert journal.broken(host.folder) is None
        await pilot.press("r")
        await pilot.pause()
        assert VALUE in shown(pilot)
        await pilot.press("x")
        await pilot.pause()
        assert VALUE not in shown(pilot)

    drive(host, keys)
    assert [line["action"] for line in journal.read(host.folder)] == ["local.set", "local.revealed"]
    assert revealed(host, asset("SAP.PIN"), "prod") == VALUE.encode()


def test_escape_saves_nothing(host: Host) -> None:
    async def keys(pilot: Pilot[None]) -> None:
        await pilot.press("enter")
        await pilot.pause()
        await pilot.press("a", "b", "escape")
        await pilot.pause()
        assert said(pilot) == "Nothing was saved."

    drive(host, keys)
    assert not host.custody.exists


def test_a_locked_host_shows_names_and_reveals_after_unlocking(host: Host) -> None:
    host.set_value(USER, "prod", b"a value", now=NOW)
    host.protect("passphrase", PASSPHRASE, now=NOW)

    async def keys(pilot: Pilot[None]) -> None:
        assert "passphrase, locked" in shown(pilot)
        await pilot.press("end", "down", "down", "r")
        await pilot.pause()
        assert "botkeep local unlock" in said(pilot)
        await pilot.press("u")
        await enter(pilot, "not the passphrase")
        assert "does not open" in said(pilot)
        await pilot.press("u")
        await enter(pilot, PASSPHRASE)
        assert "Unlocked" in said(pilot)
        await pilot.press("r")
        await pilot.pause()
        assert "a value" in shown(pilot)
        await pilot.press("space")
        await pilot.pause()
        await pilot.press("l")
        await pilot.pause()
        assert "Locked" in said(pilot)

    drive(host, keys)
    outcomes = [f"{line['action']} {line['outcome']}" for line in journal.read(host.folder)]
    assert outcomes[2:] == [
        "local.revealed refused",
        "local.unlocked refused",
        "local.unlocked done",
        "local.revealed done",
        "local.locked done",
    ]


def test_what_another_process_saved_meanwhile_is_not_written_over(host: Host) -> None:
    async def keys(pilot: Pilot[None]) -> None:
        await pilot.press("down", "down", "e")
        await pilot.pause()
        host.set_value(USER, "prod", b"another's", now=NOW)
        await enter(pilot, VALUE)
        assert "Somebody else saved" in said(pilot)
        assert table(pilot)[2][3] == "#1"

    drive(host, keys)
    assert revealed(host, USER, "prod") == b"another's"


def test_an_asset_that_was_declared_again_meanwhile_is_the_one_that_is_set(host: Host) -> None:
    again = asset("SAP.USER", number=2)

    async def keys(pilot: Pilot[None]) -> None:
        await pilot.press("down", "down", "e")
        await enter(pilot, VALUE)
        assert table(pilot)[-1][3] == "#1"

    drive(host, keys, hear=lambda: known.write(host.folder, [again]))
    assert [row.definition for row in host.rows() if row.entries] == [again]


def test_an_orphan_is_listed_and_takes_no_new_value(host: Host) -> None:
    host.set_value(USER, "prod", b"a value", now=NOW)
    known.write(host.folder, [])

    async def keys(pilot: Pilot[None]) -> None:
        assert "orphan" in table(pilot)[0][5]
        await pilot.press("e")
        await pilot.pause()
        assert "botkeep local adopt" in said(pilot)

    drive(host, keys)


def test_a_damaged_file_is_a_sentence_and_not_the_end(tmp_path: Path) -> None:
    broken = Definition(USER.asset_id, USER.workspace_id, "bot\x1b[31m", USER.name, "\x1b[2Jcleared")
    host = Host(tmp_path / "local", Custody(LocalSettings(home=tmp_path), memory=[]), actor="alice")
    known.write(host.folder, [broken], resident=("r1", Resident(("dev",), "")))

    async def keys(pilot: Pilot[None]) -> None:
        assert table(pilot)[0][0] == r"bot\x1b[31m", "nothing of a name reaches the terminal as a command"
        host.store.path.write_text("{")
        host.store.path.chmod(0o600)
        await pilot.press("f5")
        await pilot.pause()
        assert "cut short" in said(pilot)
        await pilot.press("q")

    drive(host, keys)
