"""`botkeep key`: the key pairs of the environments; works on hosts that hold the private keys."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import AsJson, InEnvironment
from cli.processes import become

app = typer.Typer(help="List and rotate keys, on a key host.", no_args_is_help=True)


@app.command("list")
def list_keys(*, as_json: AsJson = False) -> None:
    """List the keys that the database knows, and how many values each one wraps."""
    become("vault", ["list", *(["--json"] if as_json else [])])


@app.command()
def rotate(
    *,
    environment: InEnvironment,
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Only add the new key to the key file, so that runners get it first.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Give an environment a new key and wrap its values for it, without re-entering them.

    An interrupted rotation goes on when it is started again.
    """
    flags = (*(["--prepare"] if prepare else []), *(["--json"] if as_json else []))
    become("vault", ["rotate", "--env", environment, *flags])
