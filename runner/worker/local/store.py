"""The file with the values of this host: read whole, changed by one process at a time, replaced at once.

Promises that a change is there completely or not at all, whatever fails (a full disk leaves the file as it was), and
that nothing is saved over a content that the host's key does not prove.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from runner.worker.local import document
from runner.worker.local.document import Document, Entry
from runner.worker.local.key import HostKey
from vault import private_files

#: What sentences call the file.
WHAT = "file of local values"

#: More than a hundred values of the largest size; whatever is longer was not written here.
MAX_SIZE = 256 * 1024 * 1024

#: How long a change waits for another process's.
PATIENCE = timedelta(seconds=10)


@dataclass(slots=True)
class Draft:
    """The entries as they are to be saved."""

    entries: list[Entry] = field(default_factory=list)

    def put(self, entry: Entry) -> None:
        """Save an entry in the place of an earlier one."""
        self.drop(entry)
        self.entries.append(entry)

    def drop(self, entry: Entry) -> None:
        """Forget an entry with its number."""
        wanted = (entry.asset_id, entry.environment)
        self.entries = [one for one in self.entries if (one.asset_id, one.environment) != wanted]


class Store:
    """The values of this host, in `folder`."""

    def __init__(self, folder: Path) -> None:
        """Makes nothing yet."""
        self.folder = folder
        self.path = folder / "values.json"

    def signature(self) -> tuple[int, int, int] | None:
        """Changes whenever the file does; None where there is none."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def read(self) -> Document | None:
        """What is stored, not yet proved; None where nothing ever was.

        Raises:
            Damaged: for a file that is not whole.
            IdentityFileError: for one that others may read or that cannot be read.
        """
        if self.signature() is None:
            return None
        content = private_files.read_private(
            self.path,
            what=WHAT,
            missing=f"The {WHAT} {self.path} is gone: restore it from a backup.",
            advice="change the values",
            limit=MAX_SIZE,
        )
        return document.parse(content, where=self.path)

    @contextmanager
    def changing(self, key: HostKey) -> Iterator[Draft]:
        """What is stored, to be changed; saved when the block ends without an exception.

        Raises:
            Damaged: when this key does not prove what is stored.
            IdentityFileError: when it cannot be written, or another process does not let go.
        """
        with private_files.locked(self.folder, what=WHAT, patience=PATIENCE):
            found = self.read()
            if found is not None:
                found.check(key, where=self.path)
            draft = Draft([] if found is None else list(found.entries))
            yield draft
            private_files.replace(self.path, document.render(draft.entries, key), what=WHAT)
