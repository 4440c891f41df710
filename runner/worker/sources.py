"""Data sources on the runner: what a kind of source must be able to do, and which kinds there are.

A kind is a module with two functions, `check` and `open`, loaded when it is first asked for; `KINDS` is the one place
that knows them.

- `check(definition, values, context) -> Answer`: open the source, ask for as little as possible, close it. Raises
  `SourceFailed` at the step that failed; whoever called makes the sentence.
- `open(definition, values, context) -> Opened`: connect for one attempt. Called at most once for each source and
  attempt, in a thread of the job's endpoint, when the bot first asks. Raises `SourceFailed`.

What a kind can rely on:

- `definition` is the stored document; `definitions.load(Model, definition)` reads it. It holds references.
- `values.fill(text, field=…)` puts values into one *field* that was parsed before, in one pass; it raises
  `SourceFailed` for a value that is unset or no text. Every value is known to the attempt's masker already.
- `values.mask(label, form)` makes the masker know a form of a value that the kind made (quoted, joined with others).
  It must be called before anything that holds the form leaves the runner.
- `values.safe(text)` is a foreign text, a driver's error for instance, without any value; empty when that cannot be.
- `context.policy` says where to connect; `addresses.places` gives the addresses, which must be connected to as given.
- `context.engine` is Botkeep's own database, for what a kind must remember between jobs.

What a kind promises:

- `Opened.answer(question)` begins an answer and gives it in chunks as they are read, so that memory does not grow
  with the answer; the next chunk is asked for when the bot took the last. One question at a time. Raises
  `SourceFailed`, also while chunks are given, or `runner.errors.Invalid` for a question that makes no sense (422).
- `Opened.close(succeeded=…)` is called once, when the attempt has ended, in another thread than `answer`, which may
  be running: it ends the connection, and whatever waits for the server. `succeeded` says whether the job did; a kind
  that marks what was taken does it here. It does not raise. No connection outlives it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from runner.worker.filling import Values
from runner.worker.on_demand import Part, load
from runner.worker.questions import Answer, Context, Opened


@dataclass(frozen=True, slots=True)
class Kind:
    """The two functions of a kind's module."""

    check: Callable[[Mapping[str, Any], Values, Context], Answer]
    open: Callable[[Mapping[str, Any], Values, Context], Opened]


#: The kinds, by the names that `runner.definitions` gives them.
KINDS: Mapping[str, Part] = {"sql": Part.SQL, "imap": Part.IMAP}


def of_kind(kind: str) -> Kind:
    """The two functions of a kind."""
    module = load(KINDS[kind])
    return Kind(module.check, module.open)
