"""The full screen of `botkeep local`: what is declared, grouped by bot, with what is set and how old it is.

Everything by keyboard. A value is typed without echo and shown only on the screen that reveals it, for a moment, after
the journal says so. Promises that a failure is one sentence at the foot of the screen and never ends the window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Header, Input, Label

from runner.worker.local import showing
from runner.worker.local.host import Host, Row
from vault.errors import VaultError

#: How long a revealed value stays on the screen.
SHOWN_FOR = timedelta(seconds=30)


class Ask(ModalScreen[str | None]):
    """Asks for something that is not echoed; answers None for Escape."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Cancel")]

    def __init__(self, question: str) -> None:
        """`question` stands above the field."""
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """The question and the field."""
        with Vertical(id="box"):
            yield Label(Text(self._question))
            yield Input(password=True, id="entry")
            yield Label("Enter saves, Escape cancels. For files and lines: botkeep local set --file", id="hint")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Answer what was typed."""
        self.dismiss(event.value)

    def action_leave(self) -> None:
        """Answer nothing."""
        self.dismiss(None)


class Shown(ModalScreen[None]):
    """Shows one value until a key is pressed, or for `SHOWN_FOR`."""

    def __init__(self, title: str, value: str) -> None:
        """`value` is shown as it is, with its control characters written out."""
        super().__init__()
        self._title, self._value = title, value

    def compose(self) -> ComposeResult:
        """The name and the value."""
        with Vertical(id="box"):
            yield Label(Text(self._title))
            yield Label(Text(self._value), id="value")
            yield Label("Any key hides it.", id="hint")

    def on_mount(self) -> None:
        """Hide it in time."""
        self.set_timer(SHOWN_FOR.total_seconds(), self._hide)

    def on_key(self) -> None:
        """Hide it now."""
        self._hide()

    def _hide(self) -> None:
        if self.is_current:
            self.dismiss(None)


class Window(App[None]):
    """Every declared value of this host."""

    TITLE = "Botkeep: values of this host"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Ask, Shown { align: center middle; }
    #box { width: 80%; height: auto; border: round $accent; padding: 1 2; background: $surface; }
    #hint { color: $text-muted; }
    #said { height: auto; padding: 0 1; }
    DataTable { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "edit", "Set"),
        Binding("r", "reveal", "Reveal"),
        Binding("u", "unlock", "Unlock"),
        Binding("l", "lock", "Lock"),
        Binding("f5", "hear", "Refresh"),
        Binding("q", "quit", "Quit"),
    ]

    def __init__(self, host: Host, *, now: Callable[[], datetime], hear: Callable[[], object] = lambda: None) -> None:
        """`now` is the clock that ages are counted by; `hear` asks what is declared, if anybody can be asked."""
        super().__init__()
        self._host, self._now, self._hear = host, now, hear
        self._places: dict[str, tuple[Row, str]] = {}

    def compose(self) -> ComposeResult:
        """The list, and a line for what happened."""
        yield Header()
        yield DataTable(cursor_type="row")
        yield Label("", id="said")
        yield Footer()

    def on_mount(self) -> None:
        """Show the list."""
        self._table.add_columns("bot", "asset", "environment", "value", "age", "description")
        self.action_refresh_rows()

    def on_data_table_row_selected(self) -> None:
        """Enter on a line sets its value."""
        self.action_edit()

    def action_refresh_rows(self) -> None:
        """Look again at what is declared and set; the cursor stays."""
        table = self._table
        with _kept(table):
            table.clear()
            self._places.clear()
            try:
                self._fill(table)
            except VaultError as error:
                self.say(str(error))
        self.sub_title = self._state()

    def action_hear(self) -> None:
        """Ask what is declared, and look at everything again."""
        self._hear()
        self.action_refresh_rows()

    def action_edit(self) -> None:
        """Type a new value, without echo."""
        if (place := self._place()) is None:
            return
        row, environment = place
        if row.orphan:
            self.say("An orphan takes no new value: `botkeep local adopt` gives it to a declared asset.")
            return
        former = row.entries.get(environment)

        def save(typed: str | None) -> None:
            if typed is None:
                self.say("Nothing was saved.")
                return
            self._try(
                lambda: self._saved(row, environment, typed, over=None if former is None else former.number),
            )

        self.push_screen(Ask(f"New value of {row.definition.name} of {row.definition.bot} in {environment}"), save)

    def action_reveal(self) -> None:
        """Show a value for a moment; the journal says so first."""
        if (place := self._place()) is None:
            return
        row, environment = place
        self._try(lambda: self._revealed(row, environment))

    def action_unlock(self) -> None:
        """Type the passphrase."""

        def unlock(typed: str | None) -> None:
            if typed is not None:
                self._try(lambda: self._unlocked(typed))

        self.push_screen(Ask("Passphrase of the local values of this host"), unlock)

    def action_lock(self) -> None:
        """Lock the values."""
        self._try(self._locked)

    @property
    def _table(self) -> DataTable[Text]:
        """The list, whatever screen lies over it."""
        return self.screen_stack[0].query_one(DataTable)

    def say(self, sentence: str) -> None:
        """Put a sentence at the foot of the screen."""
        self.screen_stack[0].query_one("#said", Label).update(Text(showing.plain(sentence)))

    def _saved(self, row: Row, environment: str, typed: str, *, over: int | None) -> str:
        self._hear()  # an asset that was declared again has another id
        definition = self._host.find(row.definition.bot, row.definition.name)
        entry, advice = self._host.set_value(
            definition, environment, typed.encode("utf-8", "surrogateescape"), now=self._now(), over=over
        )
        return " ".join([f"{entry} is now value {entry.number}.", *advice])

    def _revealed(self, row: Row, environment: str) -> str:
        found = row.definition
        opened = self._host.reveal(found.bot, found.name, environment, now=self._now())
        title = f"{found.name} of {found.bot} in {environment}"
        self.push_screen(Shown(title, showing.plain(opened.reveal().decode("utf-8", "backslashreplace"))))
        return f"{title} was revealed, and the journal says so."

    def _unlocked(self, typed: str) -> str:
        self._host.unlock(typed, now=self._now())
        return "Unlocked until `l` or the next boot."

    def _locked(self) -> str:
        self._host.lock(now=self._now())
        return "Locked; bots that need a local value are refused until it is unlocked."

    def _try(self, deed: Callable[[], str]) -> None:
        try:
            sentence = deed()
        except VaultError as error:
            sentence = str(error)
        self.action_refresh_rows()
        self.say(sentence)

    def _place(self) -> tuple[Row, str] | None:
        """The line under the cursor."""
        table = self._table
        if not table.row_count or len(self.screen_stack) > 1:
            return None
        key = table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value
        return self._places.get(key or "")

    def _fill(self, table: DataTable[Text]) -> None:
        bot = None
        for row, environment in _pairs(self._host.rows(), self._host.known.environments):
            found = row.definition
            entry = row.entries.get(environment)
            table.add_row(
                Text(showing.plain(found.bot) if found.bot != bot else "", style="bold"),
                Text(str(found.name)),
                Text(environment),
                Text("missing", style="bold red") if entry is None else Text(f"#{entry.number}"),
                Text("" if entry is None else showing.age(entry, self._now())),
                Text("orphan: no longer declared" if row.orphan else showing.plain(found.description)),
                key=f"{found.asset_id} {environment}",
            )
            self._places[f"{found.asset_id} {environment}"] = (row, environment)
            bot = found.bot

    def _state(self) -> str:
        try:
            state = self._host.custody.state()
        except VaultError:
            return "no value was set yet"
        return f"{state.protection}, locked" if state.locked else state.protection


@contextmanager
def _kept(table: DataTable[Text]) -> Iterator[None]:
    """Keeps a table's cursor on its line while it is filled again."""
    line = table.cursor_row
    yield
    if table.row_count:
        table.move_cursor(row=min(line, table.row_count - 1))


def _pairs(rows: Sequence[Row], environments: Sequence[str]) -> Iterator[tuple[Row, str]]:
    for row in rows:
        for environment in environments:
            if environment in row.entries or not row.orphan:
                yield row, environment
