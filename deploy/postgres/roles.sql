-- One database role for each process of Botkeep, with the least that its statements need.
--
--     psql -X -d botkeep -f deploy/postgres/roles.sql
--
-- Run it after every `python -m runner.migrate`, as botkeep_owner or as a superuser. It may be run again at any
-- time: it is one transaction, takes away every other right that these roles have on the tables, and leaves their
-- passwords and their right to log in as they are. It creates roles that cannot log in; deploy/README.md says how
-- they learn to. What these grants say is repeated, as a table, in tests/integration/test_roles.py.
--
--     botkeep_owner      owns the tables; migrations only, no process runs as it
--     botkeep_console    stores ciphertexts and never reads one back
--     botkeep_scheduler  fires triggers and moves jobs on; of the vault it knows names, and which have a value
--     botkeep_runner     reads ciphertexts, of every environment, and adds those that bots write; changes and removes none
--     botkeep_keyhost    makes keys and wraps data keys again; adds and removes no value
--
-- Nobody but the owner can change or remove an audit row, a reading, a package, or what a job was asked to do.
-- A lock (SELECT ... FOR UPDATE) needs UPDATE on one column at least; every role that locks a table has that.

\set ON_ERROR_STOP on
-- Of this file a person wants to know whether all of it was done, and nothing of its hundred statements.
\set botkeep_quiet :QUIET
\set QUIET on

BEGIN;
SET LOCAL search_path = public;

DO $$
DECLARE
    roles CONSTANT text[] := ARRAY['botkeep_owner', 'botkeep_console', 'botkeep_scheduler', 'botkeep_runner', 'botkeep_keyhost'];
    wanted text;
    problem text;
    owned record;
BEGIN
    -- The key of `runner.migrate`: a migration and this file never meet.
    PERFORM pg_advisory_xact_lock(27707093526340976);

    IF to_regclass('public.alembic_version') IS NULL THEN
        RAISE EXCEPTION 'The database % has no tables of Botkeep yet.', current_database()
            USING HINT = 'Run python -m runner.migrate first, with BOTKEEP_DATABASE_URL naming this database.';
    END IF;
    FOREACH wanted IN ARRAY roles LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        END IF;
    END LOOP;

    -- A grant means nothing to a role that has more from elsewhere.
    SELECT string_agg(rolname, ', ') INTO problem FROM pg_roles
        WHERE rolname = ANY (roles) AND (rolsuper OR rolbypassrls OR rolreplication
            OR (rolname <> 'botkeep_owner' AND (rolcreaterole OR rolcreatedb)));
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION 'These roles may do more than this file allows: %.', problem
            USING HINT = 'ALTER ROLE ... NOSUPERUSER NOBYPASSRLS NOREPLICATION NOCREATEROLE NOCREATEDB, then run it again.';
    END IF;
    SELECT string_agg(member.rolname || ' in ' || granted.rolname, ', ') INTO problem
        FROM pg_auth_members
        JOIN pg_roles member ON member.oid = pg_auth_members.member
        JOIN pg_roles granted ON granted.oid = pg_auth_members.roleid
        WHERE member.rolname = ANY (roles[2:]);
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION 'These roles are members of others and inherit their rights: %.', problem
            USING HINT = 'REVOKE the memberships, then run it again.';
    END IF;

    FOR owned IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tableowner <> 'botkeep_owner' LOOP
        EXECUTE format('ALTER TABLE public.%I OWNER TO botkeep_owner', owned.tablename);
    END LOOP;
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO %s', current_database(), array_to_string(roles, ', '));
END
$$;

-- Start from nothing; revoking a table's privileges takes away those on its columns, too.
REVOKE ALL ON ALL TABLES IN SCHEMA public
    FROM PUBLIC, botkeep_console, botkeep_scheduler, botkeep_runner, botkeep_keyhost;
REVOKE ALL ON SCHEMA public FROM PUBLIC, botkeep_console, botkeep_scheduler, botkeep_runner, botkeep_keyhost;
GRANT USAGE ON SCHEMA public TO botkeep_console, botkeep_scheduler, botkeep_runner, botkeep_keyhost;
GRANT USAGE, CREATE ON SCHEMA public TO botkeep_owner;

-- botkeep_console -------------------------------------------------------------------------------------------------
GRANT SELECT ON alembic_version, workspaces, environments, readings, attempts, artefacts, prunings TO botkeep_console;
GRANT SELECT, INSERT, DELETE ON retention_rules, record_ages TO botkeep_console;
GRANT UPDATE (unset, isolation) ON environments TO botkeep_console;
GRANT SELECT, INSERT ON audit_events TO botkeep_console;
GRANT SELECT, INSERT, UPDATE (revoked_at) ON api_tokens TO botkeep_console;
GRANT SELECT ON audit_links TO botkeep_console;

-- People and their sessions are the console's alone.
GRANT INSERT ON workspaces, environments TO botkeep_console;
GRANT SELECT, INSERT, UPDATE (password, totp, totp_step, removed_at) ON users TO botkeep_console;
GRANT SELECT, INSERT, DELETE, UPDATE (role, narrowed, disabled_at) ON memberships TO botkeep_console;
GRANT SELECT, INSERT, DELETE, UPDATE (workspace_id, seen_at, revoked_at) ON sessions TO botkeep_console;
GRANT SELECT, INSERT, UPDATE (used_at) ON sign_in_links TO botkeep_console;
GRANT SELECT, INSERT, DELETE, UPDATE (used_at) ON recovery_codes TO botkeep_console;
GRANT SELECT, INSERT, DELETE ON sign_in_flows TO botkeep_console;

-- Everything of a value but its ciphertext, which goes in and never comes out.
GRANT INSERT, DELETE ON asset_values TO botkeep_console;
GRANT SELECT (asset_id, environment, number, recipient_id, empty, created_at, created_by) ON asset_values TO botkeep_console;
GRANT SELECT, INSERT, DELETE, UPDATE (number, set_at, set_by) ON current_values TO botkeep_console;
GRANT SELECT, INSERT, DELETE, UPDATE (description) ON assets TO botkeep_console;
GRANT SELECT, INSERT, DELETE ON asset_variables TO botkeep_console;
GRANT SELECT, DELETE ON last_readings TO botkeep_console;
GRANT SELECT (id, environment, public_key, created_at, retired_at) ON recipients TO botkeep_console;

-- Packages are programs, not values: people who may change them may read them. A runner verifies what it starts.
GRANT SELECT, INSERT, UPDATE (removed_at) ON bots TO botkeep_console;
GRANT SELECT, INSERT ON package_versions TO botkeep_console;
GRANT SELECT, INSERT ON package_blobs TO botkeep_console;

-- People enqueue and cancel; a publication that failed is noted.
GRANT SELECT, INSERT ON jobs TO botkeep_console;
GRANT UPDATE (limits, connections) ON workspaces TO botkeep_console;
GRANT UPDATE (state, reason, detail, finished_at, cancel_requested_at, cancel_requested_by, pause_requested_at,
    pause_requested_by, published_at) ON jobs TO botkeep_console;
GRANT SELECT, DELETE, UPDATE (drain_requested_at) ON runners TO botkeep_console;
GRANT SELECT, INSERT, DELETE, UPDATE (at_once) ON concurrency_limits TO botkeep_console;
GRANT SELECT, INSERT, DELETE ON limit_members TO botkeep_console;

-- A data source holds tokens only; what they stand for is filled in by a runner, which answers checks.
GRANT SELECT, INSERT, DELETE, UPDATE (kind, definition, environments, bots, updated_at, updated_by)
    ON data_sources TO botkeep_console;
GRANT SELECT, INSERT, DELETE ON source_checks TO botkeep_console;
GRANT SELECT, INSERT, UPDATE (finished_at, ok, detail, cancelled_by) ON fan_outs TO botkeep_console;

-- People save queues and workflows, ask for runs and answer them; only the scheduler makes jobs of runs.
GRANT SELECT, INSERT, UPDATE (version, removed_at, pause_requested_at, pause_requested_by) ON flows TO botkeep_console;
GRANT SELECT, INSERT ON flow_versions, run_tries TO botkeep_console;
GRANT SELECT, INSERT, DELETE ON flow_arrangements TO botkeep_console;
GRANT SELECT, INSERT, UPDATE (look_at, pause_requested_at, pause_requested_by, cancel_requested_at, cancel_requested_by)
    ON runs TO botkeep_console;
GRANT SELECT, UPDATE (answered_at, answered_by, allowed, comment) ON approvals TO botkeep_console;
GRANT SELECT ON attempt_results TO botkeep_console;
GRANT SELECT, INSERT, DELETE, UPDATE (state, reason, detail, tries, not_before, finished_at, deadline)
    ON work_items TO botkeep_console;

-- What starts things; that a trigger fired is taken back by nobody, and pruned by the scheduler only. The keys of webhooks are the console's alone.
GRANT SELECT, INSERT ON triggers, firings TO botkeep_console;
GRANT UPDATE (target_kind, target, environment, group_name, parameters, definition, enabled, paused_at, paused_by,
    next_instant, next_fire_at, watched_until, changed_at, removed_at) ON triggers TO botkeep_console;
GRANT UPDATE (state, why, event, started_kind, started_id) ON firings TO botkeep_console, botkeep_scheduler;
GRANT SELECT, INSERT, DELETE, UPDATE (days, changed_at, changed_by) ON calendars TO botkeep_console;
GRANT SELECT, INSERT, DELETE, UPDATE (sealed, set_at, set_by) ON hook_keys TO botkeep_console;

-- botkeep_scheduler -----------------------------------------------------------------------------------------------
GRANT SELECT ON alembic_version, bots, package_versions, jobs, attempts, runners, limit_members, retention_rules,
    triggers, firings, calendars TO botkeep_scheduler;
GRANT INSERT ON jobs, firings TO botkeep_scheduler;
GRANT SELECT, INSERT, UPDATE (up_to) ON prunings TO botkeep_scheduler;
GRANT UPDATE (state, reason, detail, finished_at, lease_expires_at, published_at, not_before, warnings, paused_at,
    cancel_requested_at, cancel_requested_by) ON jobs TO botkeep_scheduler;
GRANT UPDATE (enabled, next_instant, next_fire_at, watched_until) ON triggers TO botkeep_scheduler;
GRANT UPDATE (state, reason, detail, finished_at, ended_by, pruned_at, pruned_by) ON attempts TO botkeep_scheduler;

GRANT SELECT ON flows, flow_versions, attempt_results, record_ages TO botkeep_scheduler;
GRANT SELECT (id) ON workspaces TO botkeep_scheduler;
-- It prunes what no rule keeps any more.
GRANT DELETE ON firings, runs, run_tries, approvals, attempt_results, work_items TO botkeep_scheduler;
GRANT SELECT, INSERT, UPDATE (state, reason, detail, finished_at, timed_out_at, look_at, cancel_requested_at,
    cancel_requested_by) ON runs TO botkeep_scheduler;
GRANT SELECT, INSERT, UPDATE (seen) ON run_tries TO botkeep_scheduler;
GRANT SELECT, INSERT ON approvals TO botkeep_scheduler;
GRANT SELECT, UPDATE (state, reason, detail, not_before, finished_at) ON work_items TO botkeep_scheduler;
-- A runner reads the rows of a fan-out, and the scheduler makes the jobs: runners insert none.
GRANT SELECT, UPDATE (finished_at, ok, detail, jobs) ON fan_outs TO botkeep_scheduler;
GRANT SELECT, DELETE ON fan_out_batches TO botkeep_scheduler;

-- It starts nothing that would be refused: which assets there are, and which have a value, but none of the values' rows.
GRANT SELECT (workspace_id, name, unset) ON environments TO botkeep_scheduler;
GRANT SELECT (id, workspace_id, bot_id, group_name, name, local) ON assets TO botkeep_scheduler;
GRANT SELECT (asset_id, environment) ON current_values TO botkeep_scheduler;

-- It notes when which asset was last read; which value that was, and for which name, it does not see.
GRANT SELECT (job_id, asset_id, environment, read_at) ON readings TO botkeep_scheduler;
GRANT SELECT, INSERT, UPDATE (read_at) ON last_readings TO botkeep_scheduler;
GRANT SELECT, INSERT, UPDATE (until) ON readings_noted TO botkeep_scheduler;

-- It gives audit rows their place in the chain, and changes none.
GRANT SELECT, INSERT ON audit_events, audit_links TO botkeep_scheduler;

-- botkeep_runner --------------------------------------------------------------------------------------------------
GRANT SELECT ON alembic_version, workspaces, environments, recipients, bots, package_versions, package_blobs TO botkeep_runner;
GRANT SELECT ON concurrency_limits, limit_members TO botkeep_runner;
-- Bots that declare `writes` set values: each is one more number, and the old ones stay.
GRANT SELECT, INSERT, UPDATE (description) ON assets TO botkeep_runner;
GRANT SELECT, INSERT ON asset_values, asset_variables TO botkeep_runner;
GRANT SELECT, INSERT, DELETE, UPDATE (number, set_at, set_by) ON current_values TO botkeep_runner;
GRANT INSERT ON readings, audit_events TO botkeep_runner;
GRANT SELECT, UPDATE (state, reason, detail, exit_code, attempt, runner, started_at, finished_at, lease_expires_at, warnings,
    not_before, published_at, paused_at, parameters, progress) ON jobs TO botkeep_runner;
GRANT SELECT ON triggers TO botkeep_runner;
-- How what its files and messages started has ended.
GRANT SELECT (id, state, restart_of) ON runs TO botkeep_runner;
GRANT SELECT (run_id, job_id) ON run_tries TO botkeep_runner;
GRANT SELECT, INSERT, UPDATE (moved_at) ON firings TO botkeep_runner;
GRANT SELECT, INSERT ON attempts, artefacts TO botkeep_runner;
GRANT UPDATE (started_at, finished_at, state, reason, detail, exit_code, survivors, max_rss_kb, cpu_seconds, steps,
    paused_seconds, ended_by, adopted_at, log_bytes, artefact_bytes, os_user) ON attempts TO botkeep_runner;
GRANT SELECT, INSERT ON runners TO botkeep_runner;
GRANT UPDATE (instance, host, version, environments, groups, concurrency, started_at, heartbeat_at, stopped_at,
    drain_requested_at, labels, isolation, log_store, local_values, keys) ON runners TO botkeep_runner;
GRANT SELECT ON data_sources TO botkeep_runner;
GRANT SELECT, UPDATE (runner, claimed_at, finished_at, ok, answer) ON source_checks TO botkeep_runner;
GRANT SELECT, INSERT ON mail_messages TO botkeep_runner;
GRANT UPDATE (uid_validity, uid, job_id, attempt, tries, taken_at, settled_at, marked_at, mark_after, mark_tries)
    ON mail_messages TO botkeep_runner;
GRANT SELECT, INSERT, DELETE ON attempt_results TO botkeep_runner;
GRANT SELECT, INSERT, UPDATE (state, reason, detail, result, tries, not_before, reserved_at, finished_at, job_id, attempt, data)
    ON work_items TO botkeep_runner;
GRANT SELECT, INSERT, DELETE ON work_item_files TO botkeep_runner;
GRANT SELECT, UPDATE (runner, tries, lease_expires_at, read_at, finished_at, ok, detail) ON fan_outs TO botkeep_runner;
GRANT INSERT ON fan_out_batches TO botkeep_runner;

-- botkeep_keyhost -------------------------------------------------------------------------------------------------
GRANT SELECT ON workspaces, assets, current_values, asset_values TO botkeep_keyhost;
GRANT SELECT (id, name, removed_at) ON bots TO botkeep_keyhost;
GRANT UPDATE (recipient_id, envelope) ON asset_values TO botkeep_keyhost;
GRANT SELECT, INSERT, UPDATE (retired_at) ON recipients TO botkeep_keyhost;
GRANT INSERT ON audit_events TO botkeep_keyhost;

-- Until PostgreSQL 14 the schema is the superuser's, and what another role takes from PUBLIC there is only a warning.
DO $$
BEGIN
    IF has_schema_privilege('botkeep_console', 'public', 'CREATE')
        OR NOT has_schema_privilege('botkeep_console', 'public', 'USAGE') THEN
        RAISE EXCEPTION 'The role % cannot decide who uses the schema public; nothing was changed.', current_user
            USING HINT = 'ALTER SCHEMA public OWNER TO botkeep_owner as a superuser, then run it again.';
    END IF;
END
$$;

COMMIT;

\set QUIET :botkeep_quiet
\unset botkeep_quiet
\echo The roles of Botkeep have their rights in the database :DBNAME.
