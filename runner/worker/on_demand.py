"""Parts of a runner that are loaded when something first needs them; one that never does saves what they take.

| part | first needed | loads |
|---|---|---|
| `CHECKS` | the database knows a data source | checks and fan-outs, with their tables |
| `MAIL` | it knows a mailbox | email triggers and marks, imap-tools, tables of messages and triggers |
| `FOLDERS` | at the start, where `BOTKEEP_WATCH_FOLDERS` names some | watchfiles, tables of triggers |
| `SOURCES`, `SQL`, `IMAP` | a bot asks for a data source, or one is checked | definitions, drivers' modules |
| `ROBOTO`, `ROBOCORP` | a bot speaks the dialect | the dialect; Robocorp's, asymmetric cryptography |

Together 5 MB of a runner's private memory (2026-11-26, Python 3.11), a quarter of it columns and mappers of 8 tables.
Loading the largest takes some 50 ms, once. Nothing else imports them: a test lists what a started runner has loaded.
"""

from __future__ import annotations

from enum import StrEnum
from importlib import import_module
from types import ModuleType


class Part(StrEnum):
    """A module that is loaded late."""

    CHECKS = "runner.worker.checks"
    MAIL = "runner.worker.mail"
    FOLDERS = "runner.worker.folders"
    SOURCES = "runner.worker.attempt_sources"
    SQL = "runner.worker.sql_source"
    IMAP = "runner.worker.mail_source"
    ROBOTO = "runner.worker.dialects.roboto"
    ROBOCORP = "runner.worker.dialects.robocorp"


def load(part: Part) -> ModuleType:
    """The module, loaded once; threads may ask at the same time."""
    return import_module(part)
