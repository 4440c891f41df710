"""The local values of this host as a person uses them: seen, set, revealed, carried to another host.

Promises that whatever shows or changes a value is in the journal before it happens, and that no operation needs the
database or the console. Time and actor enter as parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path

from runner.local_values import Definition
from runner.worker.local import journal, known, transfer
from runner.worker.local.custody import Custody
from runner.worker.local.document import Document, Entry
from runner.worker.local.errors import Changed, Locked, NotDeclared, NotSet
from runner.worker.local.journal import Deed
from runner.worker.local.key import HostKey
from runner.worker.local.known import Known
from runner.worker.local.store import Draft, Store
from runner.worker.local.transfer import Carried
from vault.assets import check_size
from vault.decrypt import Secret
from vault.errors import Conflict, IdentityFileError, VaultError
from vault.grading import grade
from vault.names import AssetName, shown

#: In place of the number that a new value replaces: whatever is there.
ANY = -1


@dataclass(frozen=True, slots=True)
class Row:
    """One asset with what this host has of it; `orphan` when it is not declared any more."""

    definition: Definition
    entries: dict[str, Entry]
    orphan: bool


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of an export: saved, kept back because this host has a value, and without a declared asset."""

    saved: tuple[Entry, ...]
    kept: tuple[Entry, ...]
    orphans: tuple[Entry, ...]


class Host:
    """This host's values in `folder`."""

    def __init__(self, folder: Path, custody: Custody, *, actor: str) -> None:
        """`actor` is who the journal names."""
        self.folder, self.custody, self.actor = folder, custody, actor
        self.store = Store(folder)
        self._lines = 0

    @property
    def known(self) -> Known:
        """What is declared, as this host last heard."""
        return known.read(self.folder)

    def rows(self) -> list[Row]:
        """Every declared asset and every orphan, by bot and name."""
        found, heard = self.store.read(), self.known
        held = found.held if found is not None else ()
        declared = {one.asset_id: one for one in heard.definitions}
        rows = [Row(one, _of(held, one.asset_id), orphan=False) for one in heard.definitions]
        lost = {one.asset_id: one for one in held if one.asset_id not in declared}
        rows += [Row(_definition(one), _of(held, asset_id), orphan=True) for asset_id, one in lost.items()]
        return sorted(rows, key=lambda row: (row.definition.bot, str(row.definition.name), row.orphan))

    def find(self, bot: str, name: AssetName) -> Definition:
        """The declared asset of that name.

        Raises:
            NotDeclared: with the near names of the same bot, and of no other.
        """
        heard = self.known
        if (found := heard.find(bot, name)) is not None:
            return found
        own = [str(one.name) for one in heard.definitions if one.bot == bot]
        near = get_close_matches(str(name), own, n=3)
        if near:
            hint = f"Did you mean {' or '.join(near)}?"
        elif own:
            hint = f"That bot's are {', '.join(own[:5])}."
        else:
            hint = f"Declare it: botkeep asset local {name} --bot {shown(bot)[1:-1]}"
        raise NotDeclared(f"{name} is no declared local asset of the bot {shown(bot)}. {hint}")

    def set_value(
        self, definition: Definition, environment: str, plaintext: bytes, *, now: datetime, over: int | None = ANY
    ) -> tuple[Entry, tuple[str, ...]]:
        """Save the next value; answers it, with advice about its content.

        `over` is the number that the caller saw last, None for no value; `ANY` takes the place of whatever is there.

        Raises:
            InvalidValue: for a value above the size of any asset's.
            Locked: when the host's key cannot be had now.
            Changed: when another process saved one meanwhile.
        """
        check_size(plaintext)
        key = self._key(create=True)
        with self._changing(key, now=now) as draft:
            former = _find(draft, definition, environment)
            current = None if former is None or former.sealed is None else former.number
            if over not in {ANY, current}:
                raise Changed(
                    f"Somebody else saved {definition.name} in {environment} meanwhile: look again, nothing was saved."
                )
            number = 1 if former is None else former.number + 1
            entry = _sealed(definition, environment, plaintext, number=number, key=key, by=self.actor, at=now)
            self._note("local.set", entry, now=now)
            draft.put(entry)
        return entry, grade(plaintext, definition.name)

    def remove(self, bot: str, name: AssetName, environments: Iterable[str], *, now: datetime) -> list[Entry]:
        """Take values away, an orphan's too; their numbers are not given again.

        Raises:
            NotSet: when there is none.
        """
        removed: list[Entry] = []
        with self._changing(self._key(), now=now) as draft:
            for entry in [one for one in draft.entries if (one.bot, one.name) == (bot, name)]:
                if entry.sealed is not None and entry.environment in environments:
                    self._note("local.removed", entry, now=now)
                    draft.put(replace(entry, sealed=None))
                    removed.append(entry)
            if not removed:
                raise NotSet(f"{name} of the bot {shown(bot)} has no value on this host: see `botkeep local list`.")
        return removed

    def reveal(self, bot: str, name: AssetName, environment: str, *, now: datetime) -> Secret:
        """The plaintext, an orphan's too; the journal says so before it is opened.

        Raises:
            NotSet: when there is none.
            Locked: when the host's key cannot be had now; the journal has the attempt.
        """
        try:
            key = self._key()
        except Locked:
            self._journal(f"{name} of bot {bot} in {environment}", "local.revealed", now=now, outcome="refused")
            raise
        entry = self._entry(key, bot, name, environment=environment)
        self._note("local.revealed", entry, now=now)
        return entry.open(key)

    def adopt(self, orphan: Row, definition: Definition, *, now: datetime) -> list[Entry]:
        """Give an orphan's values to a declared asset that has none.

        Raises:
            Conflict: where the asset has a value already.
        """
        key, adopted = self._key(), []
        with self._changing(key, now=now) as draft:
            for environment, entry in orphan.entries.items():
                there = _find(draft, definition, environment)
                if there is not None and there.sealed is not None:
                    raise Conflict(f"{definition.name} has a value in {environment} already: remove it first.")
                number = 1 if there is None else there.number + 1
                made = _sealed(
                    definition,
                    environment,
                    entry.open(key).reveal(),
                    number=number,
                    key=key,
                    by=entry.set_by,
                    at=entry.set_at,
                )
                self._note("local.adopted", made, now=now)
                draft.put(made)
                draft.drop(entry)
                adopted.append(made)
        return adopted

    def unlock(self, passphrase: str, *, now: datetime) -> Path:
        """Unlock the key until `lock` or the next boot; a wrong passphrase is in the journal, too."""
        try:
            where = self.custody.unlock(passphrase)
        except Locked:
            self._journal("this host", "local.unlocked", now=now, outcome="refused")
            raise
        self._journal("this host", "local.unlocked", now=now)
        return where

    def lock(self, *, now: datetime) -> None:
        """Lock the key."""
        self.custody.lock()
        self._journal("this host", "local.locked", now=now)

    def protect(self, protection: str, passphrase: str | None, *, now: datetime) -> None:
        """Protect the key in another way, a first one where there is none."""
        self._key(create=True)
        with self._undone_where_it_fails(now):
            self._journal(f"this host, by {protection}", "local.protected", now=now)
            self.custody.protect(protection, passphrase=passphrase)

    def export(self, path: Path, *, bot: str | None, passphrase: str, now: datetime) -> int:
        """Write an export of all values, or of one bot's; answers how many there are.

        Raises:
            NotSet: where there is none.
        """
        key = self._key()
        found = self._proved(key)
        entries = [one for one in found.held if bot in {None, one.bot}] if found is not None else []
        if not entries:
            raise NotSet("There is nothing to export: see `botkeep local list`.")
        with self._undone_where_it_fails(now):
            self._journal(f"{len(entries)} values, to {path}", "local.exported", now=now)
            carried = [_carried(one, key) for one in entries]
            transfer.write(path, carried, passphrase=passphrase, key_id=key.id, now=now)
        return len(carried)

    def take_in(self, path: Path, *, passphrase: str, replacing: bool, now: datetime) -> Imported:
        """Save what an export carries, sealed for this host. A value that is here stays, unless `replacing`."""
        carried = transfer.read(path, passphrase=passphrase)
        heard, key = self.known, self._key(create=True)
        saved, kept, orphans = [], [], []
        with self._changing(key, now=now) as draft:
            self._journal(f"{len(carried)} values, from {path}", "local.imported", now=now)
            for one in carried:
                definition = _matching(heard, one)
                former = _find(draft, definition, one.environment)
                if former is not None and former.sealed is not None and not replacing:
                    kept.append(former)
                    continue
                entry = _sealed(
                    definition,
                    one.environment,
                    one.secret.reveal(),
                    number=1 if former is None else former.number + 1,
                    key=key,
                    by=self.actor,
                    at=one.set_at,
                )
                draft.put(entry)
                saved.append(entry)
                if heard.find(definition.bot, definition.name) != definition:
                    orphans.append(entry)
        return Imported(tuple(saved), tuple(kept), tuple(orphans))

    def verify(self) -> int:
        """Open every value, showing none; answers how many there are. Raises `Damaged`."""
        key = self._key()
        found = self._proved(key)
        held = found.held if found is not None else ()
        for entry in held:
            entry.open(key)
        return len(held)

    def _key(self, *, create: bool = False) -> HostKey:
        if create and not self.custody.exists and self.store.signature() is None:
            return self.custody.create()
        return self.custody.key()

    @contextmanager
    def _changing(self, key: HostKey, *, now: datetime) -> Iterator[Draft]:
        """A change; where it cannot be saved, the journal says so, too."""
        with self._undone_where_it_fails(now), self.store.changing(key) as draft:
            yield draft

    @contextmanager
    def _undone_where_it_fails(self, now: datetime) -> Iterator[None]:
        """The journal speaks before the deed; a deed that failed has a second line."""
        before = self._lines
        try:
            yield
        except VaultError:
            if self._lines > before:
                with suppress(IdentityFileError):
                    self._journal("what the line before this one says", "local.failed", now=now, outcome="failed")
            raise

    def _proved(self, key: HostKey) -> Document | None:
        found = self.store.read()
        if found is not None:
            found.check(key, where=self.store.path)
        return found

    def _entry(self, key: HostKey, bot: str, name: AssetName, *, environment: str) -> Entry:
        found = self._proved(key)
        held = found.held if found is not None else ()
        matching = [one for one in held if (one.bot, one.name, one.environment) == (bot, name, environment)]
        declared = self.known.find(bot, name)
        matching.sort(key=lambda one: declared is None or one.asset_id != declared.asset_id)
        if not matching:
            if declared is None:
                self.find(bot, name)
            raise NotSet(
                f"{name} of the bot {shown(bot)} has no value in {environment} on this host. "
                f"Set it: botkeep local set {bot} {name} --env {environment}"
            )
        return matching[0]

    def _note(self, action: str, entry: Entry, *, now: datetime) -> None:
        self._journal(f"{entry}, number {entry.number}", action, now=now)

    def _journal(self, what: str, action: str, *, now: datetime, outcome: str = "done") -> None:
        journal.append(self.folder, Deed(at=now, actor=self.actor, action=action, object=what, outcome=outcome))
        self._lines += 1


def _sealed(
    definition: Definition, environment: str, plaintext: bytes, *, number: int, key: HostKey, by: str, at: datetime
) -> Entry:
    bare = Entry(
        asset_id=definition.asset_id,
        workspace_id=definition.workspace_id,
        bot=definition.bot,
        name=definition.name,
        environment=environment,
        number=number,
        set_at=at,
        set_by=by,
        sealed=None,
    )
    return replace(bare, sealed=key.seal(plaintext, place=bare.place))


def _carried(entry: Entry, key: HostKey) -> Carried:
    return Carried(
        asset_id=entry.asset_id,
        workspace_id=entry.workspace_id,
        bot=entry.bot,
        name=entry.name,
        environment=entry.environment,
        set_at=entry.set_at,
        secret=entry.open(key),
    )


def _find(draft: Draft, definition: Definition, environment: str) -> Entry | None:
    wanted = (definition.asset_id, environment)
    return next((one for one in draft.entries if (one.asset_id, one.environment) == wanted), None)


def _of(held: Sequence[Entry], asset_id: object) -> dict[str, Entry]:
    return {one.environment: one for one in held if one.asset_id == asset_id}


def _definition(entry: Entry) -> Definition:
    return Definition(entry.asset_id, entry.workspace_id, entry.bot, entry.name, "")


def _matching(heard: Known, one: Carried) -> Definition:
    """The declared asset of a carried value, by its id, else by its bot and name, else itself as an orphan."""
    by_id: Iterator[Definition] = (each for each in heard.definitions if each.asset_id == one.asset_id)
    found = next(by_id, None) or heard.find(one.bot, one.name)
    return found or Definition(one.asset_id, one.workspace_id, one.bot, one.name, "")
