"""`deploy/postgres/roles.sql` gives each process's role what this table says, and nothing else."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.integration.ruled import ROLES, copy_of_ruled, query, ruled_cluster, run_roles_sql
from tests.services import PostgresServer, migrate

#: Select, Insert, Update, Delete; a small letter: only the columns that COLUMNS names.
MATRIX = """
                    console  scheduler  runner  keyhost
alembic_version     S        S          S       -
api_tokens          SIu      -          -       -
approvals           Su       SID        -       -
artefacts           S        -          SI      -
asset_values        sID      -          SI      Su
asset_variables     SID      -          SI      -
assets              SIuD     s          SIu     S
attempt_results     S        SD         SID     -
attempts            S        Su         SIu     -
audit_events        SI       SI         I       I
audit_links         S        SI         -       -
bots                SIu      S          S       s
calendars           SIuD     S          -       -
concurrency_limits  SIuD     -          S       -
current_values      SIuD     s          SIuD    S
data_sources        SIuD     -          S       -
environments        SIu      s          S       -
fan_out_batches     -        SD         I       -
fan_outs            SIu      Su         Su      -
firings             SIu      SIuD       SIu     -
flow_arrangements   SID      -          -       -
flow_versions       SI       S          -       -
flows               SIu      S          -       -
hook_keys           SIuD     -          -       -
jobs                SIu      SIu        Su      -
last_readings       SD       SIu        -       -
limit_members       SID      S          S       -
memberships         SIuD     -          -       -
mail_messages       -        -          SIu     -
package_blobs       SI       -          S       -
package_versions    SI       S          S       -
prunings            S        SIu        -       -
readings            S        s          I       -
readings_noted      -        SIu        -       -
recipients          s        -          S       SIu
recovery_codes      SIuD     -          -       -
record_ages         SID      S          -       -
retention_rules     SID      S          -       -
run_tries           SI       SIuD       s       -
runners             SuD      S          SIu     -
runs                SIu      SIuD       s       -
sessions            SIuD     -          -       -
sign_in_flows       SID      -          -       -
sign_in_links       SIu      -          -       -
source_checks       SID      -          Su      -
triggers            SIu      Su         S       -
users               SIu      -          -       -
work_item_files     -        -          SID     -
work_items          SIuD     SuD        SIu     -
workspaces          SIu      s          S       S
"""

#: The columns of the small letters; a minus before the first: all but these.
COLUMNS = """
console    s  asset_values    - envelope
console    s  recipients      - canary
console    u  api_tokens      revoked_at
scheduler  s  readings        job_id asset_id environment read_at
scheduler  u  last_readings   read_at
scheduler  u  readings_noted  until
console    u  assets          description
console    u  bots            removed_at
console    u  calendars       days changed_at changed_by
console    u  concurrency_limits at_once
console    u  current_values  number set_at set_by
console    u  environments    unset isolation
console    u  fan_outs        finished_at ok detail cancelled_by
console    u  firings         state why event started_kind started_id
console    u  hook_keys       - trigger_id
console    u  jobs            state reason detail finished_at cancel_requested_at cancel_requested_by \
pause_requested_at pause_requested_by published_at
console    u  data_sources    kind definition environments bots updated_at updated_by
console    u  flows           version removed_at pause_requested_at pause_requested_by
console    u  runs            look_at pause_requested_at pause_requested_by cancel_requested_at cancel_requested_by
console    u  approvals       answered_at answered_by allowed comment
console    u  work_items      state reason detail tries not_before finished_at deadline
console    u  workspaces      limits connections
console    u  users           password totp totp_step removed_at
console    u  memberships     role narrowed disabled_at
console    u  recovery_codes  used_at
console    u  sessions        workspace_id seen_at revoked_at
console    u  sign_in_links   used_at
console    u  runners         drain_requested_at
console    u  triggers        - id workspace_id name kind created_at created_by
scheduler  s  workspaces      id
scheduler  s  environments    workspace_id name unset
scheduler  s  assets          id workspace_id bot_id group_name name local
scheduler  s  current_values  asset_id environment
scheduler  u  attempts        state reason detail finished_at ended_by pruned_at pruned_by
scheduler  u  fan_outs        finished_at ok detail jobs
scheduler  u  prunings        up_to
scheduler  u  jobs            state reason detail finished_at lease_expires_at published_at not_before warnings \
paused_at cancel_requested_at cancel_requested_by
scheduler  u  runs            state reason detail finished_at timed_out_at look_at cancel_requested_at \
cancel_requested_by
scheduler  u  run_tries       seen
scheduler  u  work_items      state reason detail not_before finished_at
scheduler  u  firings         state why event started_kind started_id
scheduler  u  triggers        enabled next_instant next_fire_at watched_until
runner     s  runs            id state restart_of
runner     s  run_tries       run_id job_id
runner     u  firings         moved_at
runner     u  assets          description
runner     u  current_values  number set_at set_by
runner     u  attempts        - job_id number runner claimed_at pruned_at pruned_by
runner     u  jobs            state reason detail exit_code attempt runner started_at finished_at lease_expires_at \
warnings not_before published_at paused_at parameters progress
runner     u  mail_messages   uid_validity uid job_id attempt tries taken_at settled_at marked_at mark_after mark_tries
runner     u  runners         - name
runner     u  fan_outs        runner tries lease_expires_at read_at finished_at ok detail
runner     u  source_checks   runner claimed_at finished_at ok answer
runner     u  work_items      state reason detail result tries not_before reserved_at finished_at job_id attempt \
data
keyhost    s  bots            id name removed_at
keyhost    u  asset_values    recipient_id envelope
keyhost    u  recipients      retired_at
"""

#: What no process may do, in its own words; each is refused for want of a privilege.
REFUSED = """
console    SELECT envelope FROM asset_values
console    SELECT * FROM asset_values
console    DELETE FROM asset_values RETURNING envelope
console    UPDATE asset_values SET number = 2
console    SELECT canary FROM recipients
console    DELETE FROM recipients
console    UPDATE package_blobs SET content = ''
console    UPDATE jobs SET environment = 'prod'
console    UPDATE audit_events SET outcome = 'done'
console    DELETE FROM audit_events
console    INSERT INTO audit_links SELECT * FROM audit_links
scheduler  UPDATE audit_events SET outcome = 'done'
scheduler  DELETE FROM audit_events
scheduler  UPDATE audit_links SET seq = 1
scheduler  DELETE FROM audit_links
scheduler  SELECT password FROM users
runner     SELECT actor FROM audit_events
runner     UPDATE audit_events SET outcome = 'done'
runner     SELECT digest FROM sessions
keyhost    UPDATE audit_events SET outcome = 'done'
console    DELETE FROM readings
console    CREATE TABLE public.mine (id integer)
scheduler  SELECT description FROM assets
scheduler  SELECT number FROM current_values
scheduler  UPDATE environments SET unset = 'warn'
scheduler  SELECT asset FROM readings
scheduler  SELECT number FROM asset_values
scheduler  SELECT digest FROM api_tokens
scheduler  SELECT digest FROM package_blobs
scheduler  UPDATE jobs SET parameters = '{}'
console    UPDATE runs SET state = 'succeeded'
console    INSERT INTO approvals SELECT * FROM approvals
scheduler  UPDATE approvals SET allowed = true
scheduler  UPDATE runs SET requested_by = ''
runner     SELECT parameters FROM runs
runner     UPDATE runs SET state = 'succeeded'
runner     UPDATE work_items SET tray = 'another'
runner     SELECT content FROM work_item_files FOR UPDATE
scheduler  SELECT sealed FROM hook_keys
scheduler  UPDATE triggers SET environment = 'prod'
console    DELETE FROM firings
scheduler  SELECT limits FROM workspaces
scheduler  DELETE FROM jobs
runner     SELECT sealed FROM hook_keys
runner     UPDATE triggers SET environment = 'prod'
runner     UPDATE firings SET state = 'started'
runner     INSERT INTO jobs SELECT * FROM jobs
runner     UPDATE asset_values SET envelope = ''
runner     DELETE FROM asset_values
runner     DELETE FROM assets
runner     SELECT asset FROM readings
runner     DELETE FROM readings
runner     UPDATE jobs SET bot_id = id
runner     UPDATE recipients SET retired_at = NULL
runner     UPDATE data_sources SET definition = '{}'
runner     UPDATE fan_outs SET environment = 'prod'
runner     UPDATE source_checks SET environment = 'prod'
runner     INSERT INTO source_checks SELECT * FROM source_checks
runner     SELECT digest FROM api_tokens
keyhost    DELETE FROM asset_values
keyhost    INSERT INTO asset_values SELECT * FROM asset_values
keyhost    UPDATE current_values SET number = 1
keyhost    SELECT state FROM jobs
keyhost    SELECT actor FROM audit_events
"""

PRIVILEGES = """
    SELECT rolname, relname, verb, has_table_privilege(r.oid, c.oid, verb),
        CASE WHEN verb IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES') THEN ARRAY(
            SELECT attname::text FROM pg_attribute a
            WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
                AND has_column_privilege(r.oid, c.oid, attnum, verb)) ELSE '{}' END
    FROM pg_roles r, pg_class c,
        unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) WITH ORDINALITY AS v (verb, place)
    WHERE rolname LIKE 'botkeep\\_%' AND rolname <> 'botkeep_owner'
        AND relkind IN ('r', 'v', 'm', 'p', 'S', 'f') AND relnamespace = 'public'::regnamespace
    ORDER BY rolname, relname, place
"""

ALL_COLUMNS = """
    SELECT relname, array_agg(attname::text) FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
    WHERE attnum > 0 AND relnamespace = 'public'::regnamespace GROUP BY relname
"""

LETTERS = {"SELECT": "S", "INSERT": "I", "UPDATE": "U", "DELETE": "D"}

#: Verbs by role and table, and columns by role, small letter and table.
Cells = dict[tuple[str, str], str]
Columns = dict[tuple[str, str, str], set[str]]


def rows(table: str) -> list[list[str]]:
    return [line.split() for line in table.strip().splitlines()]


def cells() -> list[tuple[str, str, str]]:
    roles, *lines = rows(MATRIX)
    return [(role, table, verbs.strip("-")) for table, *row in lines for role, verbs in zip(roles, row, strict=True)]


def privileges(server: PostgresServer, database: str) -> tuple[Cells, Columns]:
    """Every cell of the matrix as the database has it, and the columns of its small letters."""
    found: Cells = {}
    columns: Columns = {}
    for role, table, verb, whole, some in query(server, database, PRIVILEGES):
        assert isinstance(some, list)
        name = str(role).removeprefix("botkeep_")
        letter = LETTERS.get(str(verb), f"<{verb}>")
        if some and not whole:
            letter = letter.lower()
            columns[name, letter, str(table)] = set(some)
        cell = (name, str(table))
        found[cell] = found.get(cell, "") + (letter if whole or some else "")
    return found, columns


@pytest.fixture(scope="module")
def cluster(postgres: PostgresServer) -> Iterator[PostgresServer]:
    with ruled_cluster(postgres) as server:
        yield server


@pytest.fixture(scope="module")
def granted(cluster: PostgresServer) -> tuple[Cells, Columns]:
    return privileges(cluster, "ruled")


@pytest.fixture
def database(cluster: PostgresServer) -> Iterator[str]:
    with copy_of_ruled(cluster) as name:
        yield name


@pytest.mark.parametrize(("role", "table", "verbs"), cells())
def test_a_role_has_on_a_table_what_the_matrix_says(
    granted: tuple[Cells, Columns], role: str, table: str, verbs: str
) -> None:
    assert granted[0][role, table] == verbs


def test_the_matrix_has_every_table_and_every_role(granted: tuple[Cells, Columns]) -> None:
    assert {(role, table) for role, table, _ in cells()} == set(granted[0])


def test_where_a_role_has_some_columns_only_they_are_these(
    cluster: PostgresServer, granted: tuple[Cells, Columns]
) -> None:
    every = {str(table): columns for table, columns in query(cluster, "ruled", ALL_COLUMNS)}
    expected: Columns = {}
    for role, letter, table, *named in rows(COLUMNS):
        columns = every[table]
        assert isinstance(columns, list)
        expected[role, letter, table] = set(columns) - set(named) if named[0] == "-" else set(named)
    assert granted[1] == expected


@pytest.mark.parametrize(("role", "statement"), [line.split(maxsplit=1) for line in REFUSED.strip().splitlines()])
def test_a_role_is_refused_what_is_not_its_work(cluster: PostgresServer, role: str, statement: str) -> None:
    with cluster.connect("ruled") as connection, connection.transaction(force_rollback=True):
        connection.execute(f"SET LOCAL ROLE botkeep_{role}".encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_use_the_database_and_make_nothing_in_it(cluster: PostgresServer, role: str) -> None:
    may = [
        f"has_database_privilege('botkeep_{role}', 'ruled', 'CONNECT')",
        f"has_schema_privilege('botkeep_{role}', 'public', 'USAGE')",
        f"has_database_privilege('botkeep_{role}', 'ruled', 'CREATE, TEMPORARY')",
        f"has_schema_privilege('botkeep_{role}', 'public', 'CREATE')",
    ]
    assert query(cluster, "ruled", f"SELECT {', '.join(may)}") == [(True, True, False, False)]


def test_new_roles_cannot_log_in_and_are_nothing_special(own_postgres: PostgresServer) -> None:
    migrate(own_postgres.create_database("fresh"))
    assert run_roles_sql(own_postgres, "fresh").returncode == 0
    columns = "rolcanlogin OR rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls OR rolreplication"
    found = query(own_postgres, "fresh", f"SELECT rolname, {columns} FROM pg_roles WHERE rolname LIKE 'botkeep\\_%'")
    assert sorted(found) == [(f"botkeep_{role}", False) for role in sorted(("owner", *ROLES))]


def test_the_owner_can_run_it_without_a_superuser(own_postgres: PostgresServer) -> None:
    with own_postgres.connect() as connection:
        connection.execute("CREATE ROLE botkeep_owner LOGIN CREATEROLE")
        connection.execute("CREATE DATABASE botkeep OWNER botkeep_owner")
    migrate(own_postgres.url("botkeep", user="botkeep_owner"))
    done = run_roles_sql(own_postgres, "botkeep", user="botkeep_owner")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "The roles of Botkeep have their rights in the database botkeep.\n"
    assert privileges(own_postgres, "botkeep")[0] == {(role, table): verbs for role, table, verbs in cells()}


def test_an_owner_who_does_not_rule_the_schema_is_refused(own_postgres: PostgresServer) -> None:
    with own_postgres.connect() as connection:
        connection.execute("CREATE ROLE botkeep_owner LOGIN CREATEROLE")
        connection.execute("CREATE DATABASE botkeep OWNER botkeep_owner")
    with own_postgres.connect("botkeep") as connection:  # as it was up to PostgreSQL 14
        connection.execute("ALTER SCHEMA public OWNER TO postgres")
        connection.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
    migrate(own_postgres.url("botkeep", user="botkeep_owner"))
    done = run_roles_sql(own_postgres, "botkeep", user="botkeep_owner")
    assert done.returncode == 3
    assert "cannot decide who uses the schema public" in done.stderr


def test_running_it_again_takes_away_what_was_added_and_leaves_the_logins(
    cluster: PostgresServer, database: str, granted: tuple[Cells, Columns]
) -> None:
    with cluster.connect(database) as connection:
        connection.execute("GRANT SELECT (envelope) ON asset_values TO botkeep_console")
        connection.execute("GRANT ALL ON assets TO botkeep_scheduler")
        connection.execute("GRANT SELECT ON audit_events TO PUBLIC")
        connection.execute("ALTER ROLE botkeep_runner PASSWORD 'kept'")
    logins = "SELECT rolname, rolcanlogin, rolpassword FROM pg_authid WHERE rolname LIKE 'botkeep%' ORDER BY rolname"
    before = query(cluster, database, logins)
    assert privileges(cluster, database) != granted
    assert run_roles_sql(cluster, database).returncode == 0
    assert privileges(cluster, database) == granted
    assert query(cluster, database, logins) == before


@pytest.mark.parametrize(
    ("spoil", "mend", "words"),
    [
        ("ALTER ROLE botkeep_console SUPERUSER", "ALTER ROLE botkeep_console NOSUPERUSER", "may do more"),
        ("ALTER ROLE botkeep_runner CREATEROLE", "ALTER ROLE botkeep_runner NOCREATEROLE", "may do more"),
        ("GRANT botkeep_owner TO botkeep_console", "REVOKE botkeep_owner FROM botkeep_console", "members of others"),
    ],
)
def test_a_role_with_more_rights_from_elsewhere_is_refused(
    cluster: PostgresServer, spoil: str, mend: str, words: str
) -> None:
    with cluster.connect() as connection:
        connection.execute(spoil.encode())
        done = run_roles_sql(cluster, "ruled")
        connection.execute(mend.encode())
    assert done.returncode == 3
    assert words in done.stderr


def test_a_database_without_tables_is_refused_with_the_next_step(cluster: PostgresServer) -> None:
    cluster.create_database("empty")
    done = run_roles_sql(cluster, "empty")
    assert done.returncode == 3
    assert "no tables of Botkeep yet" in done.stderr
    assert "python -m runner.migrate" in done.stderr
