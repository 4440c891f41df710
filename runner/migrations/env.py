"""How Alembic runs Botkeep's migrations: on the connection that `runner.migrate` hands over."""

from __future__ import annotations

from alembic import context

from vault.models import Model

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Model.metadata,
    transaction_per_migration=False,
)
context.run_migrations()
