-- Statements that make the roles. `{writer}`, `{keeper}`, `{reader}` are their names, `{schema}` the
-- ledger's schema.

-- name: create_role
-- A role nobody logs in as: people and apps become members.
DO $do$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {name}) THEN
        CREATE ROLE {role} NOLOGIN;
    END IF;
END
$do$

-- name: enter
-- Who may look into the schema.
GRANT USAGE ON SCHEMA {schema} TO {writer}, {keeper}, {reader}

-- name: write_events
-- DELETE is for a call known only to have been sent, when its measured report comes.
GRANT SELECT, INSERT, DELETE ON token_ledger_events TO {writer}

-- name: write_aside
-- What a writer notes beside the rows.
GRANT INSERT ON
token_ledger_conflicts, token_ledger_rejected, token_ledger_losses, token_ledger_marks,
token_ledger_rollup_marks
TO {writer}

-- name: write_nestings
-- Which spans are within which.
GRANT SELECT, INSERT ON token_ledger_nestings TO {writer}

-- name: writer_reads
-- What a writer must know.
GRANT SELECT ON
token_ledger_duplicates, token_ledger_prices, token_ledger_migrations, token_ledger_erasures,
token_ledger_retention
TO {writer}

-- name: keep
-- A keeper changes and deletes rows, prices, repricings and settings.
GRANT SELECT, INSERT, UPDATE, DELETE ON
token_ledger_events, token_ledger_duplicates, token_ledger_conflicts, token_ledger_rejected,
token_ledger_losses, token_ledger_marks, token_ledger_nestings, token_ledger_prices,
token_ledger_repricings, token_ledger_erasures, token_ledger_retention,
token_ledger_rollup_slices, token_ledger_rollup_hours, token_ledger_rollup_days,
token_ledger_rollup_weeks, token_ledger_rollup_state, token_ledger_rollup_marks
TO {keeper}

-- name: keeper_notes
-- What was done can be added to and not rewritten.
GRANT SELECT, INSERT ON token_ledger_acts TO {keeper}

-- name: keeper_reads
-- How far the schema is.
GRANT SELECT ON token_ledger_migrations TO {keeper}

-- name: make_partitions
-- Partitions, as the tables' owner makes them.
GRANT EXECUTE ON FUNCTION token_ledger_add_partitions(date, date) TO {writer}, {keeper}

-- name: read
-- What reports and views are made of; never a partition, never what was set aside.
GRANT SELECT ON
token_ledger_events, token_ledger_prices, token_ledger_repricings, token_ledger_losses,
token_ledger_migrations, token_ledger_retention, token_ledger_rollup_slices,
token_ledger_rollup_hours, token_ledger_rollup_days, token_ledger_rollup_weeks,
token_ledger_rollup_state, token_ledger_rollup_marks
TO {reader}

-- name: read_views
-- Every view: each checks the rights of who reads it.
DO $do$
DECLARE
    known record;
BEGIN
    FOR known IN
        SELECT viewname FROM pg_views
        WHERE schemaname = current_schema() AND viewname LIKE 'token\_ledger\_%'
    LOOP
        EXECUTE format('GRANT SELECT ON %I TO %I', known.viewname, {reader_name});
    END LOOP;
END
$do$

-- name: read_bound
-- Which organizations it is bound to.
GRANT EXECUTE ON FUNCTION token_ledger_readable_organizations(text) TO {reader}

-- name: secure
-- Rows are shown by policy from here on; the owner sees all.
ALTER TABLE token_ledger_events ENABLE ROW LEVEL SECURITY

-- name: secure_repricings
-- The history of costs too.
ALTER TABLE token_ledger_repricings ENABLE ROW LEVEL SECURITY

-- name: secure_rollups
-- Sums over every organization too.
DO $do$
DECLARE
    known record;
BEGIN
    FOR known IN
        SELECT oid::regclass AS name
        FROM pg_class
        WHERE
            relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
            AND relname LIKE 'token\_ledger\_rollup\_%' AND relkind = 'r'
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', known.name);
    END LOOP;
END
$do$

-- name: policies
-- Writers and keepers see every row their grants let them at; where row-level security is off, this
-- is without effect.
DO $do$
DECLARE
    known record;
    policy text := {writer_name} || '_and_keeper';
BEGIN
    FOR known IN
        SELECT oid::regclass AS name, relname
        FROM pg_class
        WHERE
            relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
            AND relname LIKE 'token\_ledger\_%' AND relkind IN ('r', 'p') AND NOT relispartition
    LOOP
        EXECUTE format('DROP POLICY IF EXISTS %I ON %s', policy, known.name);
        EXECUTE format(
            'CREATE POLICY %I ON %s TO %I, %I USING (true) WITH CHECK (true)',
            policy, known.name, {writer_name}, {keeper_name}
        );
        EXECUTE format('DROP POLICY IF EXISTS %I ON %s', {reader_name}, known.name);
        IF known.relname LIKE 'token\_ledger\_rollup\_%' THEN
            -- All or nothing: who is bound or narrowed sees no roll-up, and is answered by the calls.
            EXECUTE format(
                'CREATE POLICY %I ON %s FOR SELECT TO %I USING ('
                '(SELECT token_ledger_readable_organizations(current_user)) IS NULL '
                'AND NULLIF(current_setting(''tokenledger.organization'', true), '''') IS NULL)',
                {reader_name}, known.name, {reader_name}
            );
        ELSIF known.relname NOT IN ('token_ledger_events', 'token_ledger_repricings') THEN
            EXECUTE format(
                'CREATE POLICY %I ON %s FOR SELECT TO %I USING (true)',
                {reader_name}, known.name, {reader_name}
            );
        END IF;
    END LOOP;
END
$do$

-- name: policy_events
-- A bound reader sees its organizations, whatever it sets; tokenledger.organization narrows anybody.
CREATE POLICY {reader} ON token_ledger_events FOR SELECT TO {reader} USING (
    (
        (SELECT token_ledger_readable_organizations(current_user)) IS NULL
        OR organization_id = ANY((SELECT token_ledger_readable_organizations(current_user))::text[])
    )
    AND COALESCE(
        organization_id = NULLIF(current_setting('tokenledger.organization', true), ''), true
    )
)

-- name: policy_repricings
-- The history of what can be seen.
CREATE POLICY {reader} ON token_ledger_repricings FOR SELECT TO {reader} USING (
    (
        (SELECT token_ledger_readable_organizations(current_user)) IS NULL
        AND NULLIF(current_setting('tokenledger.organization', true), '') IS NULL
    )
    OR EXISTS (
        SELECT
        FROM token_ledger_events AS seen
        WHERE seen.event_id = token_ledger_repricings.event_id
    )
)

-- name: partitions
-- Those that exist, by the rule of those to come.
SELECT token_ledger_grant_partition(inhrelid::regclass)
FROM pg_inherits
WHERE inhparent = 'token_ledger_events'::regclass
