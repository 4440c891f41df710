"""`botkeep local`: values that live on this machine only; its process holds their key, this one does not."""

from __future__ import annotations

import typer

from cli.processes import become


def local(context: typer.Context) -> None:
    """Set and see values that live on this machine only, on a runner's host; alone, in a full-screen window."""
    become("runner.worker.local", context.args)
