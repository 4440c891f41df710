"""What a test left in the database of a shared system, by kind; one look, since most leave a bot and no more."""

from sqlalchemy import Engine, text

from vault import db

#: Kind, column and table, in a database of one workspace.
_KINDS = {
    "triggers": ("name", "triggers WHERE removed_at IS NULL"),
    "calendars": ("name", "calendars"),
    "jobs": ("CAST(id AS VARCHAR(40))", "jobs WHERE state IN ('queued', 'running')"),
    "bots": ("name", "bots WHERE removed_at IS NULL"),
    "assets": ("name", "assets"),
    "sources": ("name", "data_sources"),
    "environments": ("name", "environments WHERE unset <> 'warn'"),
}


def names(engine: Engine) -> dict[str, list[str]]:
    """The names of what is there, of jobs the ids."""
    found: dict[str, list[str]] = {kind: [] for kind in _KINDS}
    looks = " UNION ALL ".join(f"SELECT '{kind}', {column} FROM {rest}" for kind, (column, rest) in _KINDS.items())
    with db.reading(engine) as session:
        for kind, name in session.execute(text(looks)):
            found[kind].append(str(name))
    return found
