-- Statements that create the roles; all of them run, in this order. `{writer}`, `{keeper}` and `{reader}`
-- are the roles' names, `{schema}` is the ledger's schema.

-- name: refuse_open_schema
-- Refuses a schema in which others may create objects: the owner would run a function that they planted.
DO $do$
DECLARE
    creators text;
BEGIN
    SELECT pg_catalog.string_agg(
        CASE granted.grantee
            WHEN 0::oid THEN 'PUBLIC' ELSE granted.grantee::pg_catalog.regrole::text
        END, ', '
    )
    INTO creators
    FROM pg_catalog.pg_namespace
    CROSS JOIN LATERAL pg_catalog.aclexplode(pg_namespace.nspacl) AS granted
    LEFT JOIN pg_catalog.pg_roles AS grantee ON grantee.oid = granted.grantee
    WHERE
        pg_namespace.nspname = {schema_name}
        AND granted.privilege_type = 'CREATE'
        AND granted.grantee <> pg_namespace.nspowner
        AND (
            granted.grantee = 0::oid
            OR grantee.rolname IN ({writer_name}, {keeper_name}, {reader_name})
        );
    IF creators IS NOT NULL THEN
        RAISE EXCEPTION '% may create objects in schema %, and so act as the owner of the tables', creators, {schema_name}
            USING HINT = pg_catalog.format(
                'run REVOKE CREATE ON SCHEMA %I FROM %s; then create the roles', {schema_name}, creators
            );
    END IF;
END
$do$

-- name: create_role
-- Creates a role without login: people and apps become members of it.
DO $do$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {name}) THEN
        CREATE ROLE {role} NOLOGIN;
    END IF;
END
$do$

-- name: enter
-- Lets the roles use the schema.
GRANT USAGE ON SCHEMA {schema} TO {writer}, {keeper}, {reader}

-- name: start_anew
-- Revokes all table rights, so that grants of an earlier release do not remain.
DO $do$
DECLARE
    object record;
BEGIN
    FOR object IN
        SELECT pg_class.oid::pg_catalog.regclass AS name
        FROM pg_catalog.pg_class
        WHERE
            relnamespace = (
                SELECT own.relnamespace
                FROM pg_catalog.pg_class AS own
                WHERE own.oid = 'token_ledger_events'::pg_catalog.regclass::oid
            )
            AND relname LIKE 'token\_ledger\_%' AND relkind IN ('r', 'p', 'v')
    LOOP
        EXECUTE pg_catalog.format(
            'REVOKE ALL ON %s FROM %I, %I, %I', object.name, {writer_name}, {keeper_name}, {reader_name}
        );
    END LOOP;
END
$do$

-- name: write_events
-- A writer adds calls. It replaces rows that only say a call was sent through a function.
GRANT SELECT, INSERT ON token_ledger_events TO {writer}

-- name: replace_unmeasured
-- The function that replaces them; a keeper may write, too.
GRANT EXECUTE ON FUNCTION token_ledger_drop_unmeasured(regclass, uuid[]) TO {writer}, {keeper}

-- name: write_other_tables
-- Tables that a writer adds to besides the calls.
GRANT INSERT ON
token_ledger_conflicts, token_ledger_rejected, token_ledger_losses, token_ledger_dirty_minutes,
token_ledger_rollup_dirty_slices
TO {writer}

-- name: write_parents
-- Links between spans.
GRANT SELECT, INSERT ON token_ledger_parents TO {writer}

-- name: writer_reads
-- Tables that a writer reads.
GRANT SELECT ON
token_ledger_duplicates, token_ledger_prices, token_ledger_reported_cost_providers,
token_ledger_migrations
TO {writer}

-- name: spend
-- A writer reserves money in budgets and spends it through functions.
GRANT EXECUTE ON FUNCTION
token_ledger_reserve(
    text, jsonb, numeric, boolean, text, interval, boolean, text, timestamptz, boolean
),
token_ledger_charge_budgets(
    integer [], text [], bigint [], numeric [], numeric [], numeric [], bigint [], bigint [],
    bigint [], text, integer [], text [], numeric [], text []
),
token_ledger_keep_leases(text, integer [], text [], numeric [], interval),
token_ledger_settle(text, numeric, text, text),
token_ledger_release(text)
TO {writer}, {keeper}

-- name: keep_budgets
-- A keeper sets budgets and corrects their sums. A trigger records the changes.
GRANT SELECT, INSERT, UPDATE, DELETE ON
token_ledger_budgets, token_ledger_budget_accounts, token_ledger_budget_buckets,
token_ledger_budget_holds
TO {keeper}

-- name: note_releases
-- A keeper records that it freed reservations; the database fills in who and when.
GRANT INSERT (budget, action, definition) ON token_ledger_budget_changes TO {keeper}

-- name: read_budgets
-- Budgets and their sums; a reader that is bound to organizations sees none of them.
GRANT SELECT ON
token_ledger_budgets, token_ledger_budget_changes, token_ledger_budget_accounts,
token_ledger_budget_buckets, token_ledger_budget_holds, token_ledger_refusals
TO {writer}, {keeper}, {reader}

-- name: keep_alerts
-- A keeper sets alerts, checks them and sends their messages.
GRANT SELECT, INSERT, UPDATE, DELETE ON
token_ledger_alerts, token_ledger_alert_incidents, token_ledger_alert_deliveries
TO {keeper}

-- name: read_alerts
-- Alerts and their incidents; a reader that is bound to organizations sees none of them.
GRANT SELECT ON
token_ledger_alerts, token_ledger_alert_incidents, token_ledger_alert_deliveries
TO {reader}

-- name: horizon
-- How long calls are stored, but not the archive folder.
GRANT SELECT (is_set, keep) ON token_ledger_retention TO {writer}, {reader}

-- name: keep
-- A keeper changes and deletes calls and sums.
GRANT SELECT, INSERT, UPDATE, DELETE ON
token_ledger_events, token_ledger_duplicates, token_ledger_conflicts, token_ledger_rejected,
token_ledger_dirty_minutes, token_ledger_parents,
token_ledger_rollup_slices, token_ledger_rollup_hours, token_ledger_rollup_days,
token_ledger_rollup_weeks, token_ledger_rollup_state, token_ledger_rollup_dirty_slices
TO {keeper}

-- name: keep_prices
-- A keeper adds prices and updates when they were checked.
GRANT SELECT, INSERT, UPDATE ON token_ledger_prices TO {keeper}

-- name: keep_preferences
-- A keeper decides whose reported cost is preferred.
GRANT SELECT, INSERT, DELETE ON token_ledger_reported_cost_providers TO {keeper}

-- name: keep_losses
-- A keeper adds losses.
GRANT SELECT, INSERT ON token_ledger_losses TO {keeper}

-- name: record_repricings
-- The database fills in who changed a cost and when. A trigger logs deletions.
GRANT
SELECT, DELETE,
INSERT (
    event_id, old_cost_usd, new_cost_usd, old_cost_status, new_cost_status, old_price_id,
    new_price_id, reason
)
ON token_ledger_repricings
TO {keeper}

-- name: correct_repricings
-- Erasing a person replaces the id in the reasons.
GRANT UPDATE (reason) ON token_ledger_repricings TO {keeper}

-- name: keeper_functions
-- Functions that fill in who did something and when.
GRANT EXECUTE ON FUNCTION
token_ledger_log_action(text, jsonb, timestamptz, timestamptz, jsonb),
token_ledger_set_retention(interval, text),
token_ledger_add_erasure(bytea[]),
token_ledger_erase_views(text, text),
token_ledger_erase_budgets(text, text),
token_ledger_erase_alerts(text, text)
TO {keeper}

-- name: keeper_reads
-- Migrations, audit log and retention.
GRANT SELECT ON token_ledger_migrations, token_ledger_audit_log, token_ledger_retention TO {keeper}

-- name: make_partitions
-- The function that creates partitions as the tables' owner.
GRANT EXECUTE ON FUNCTION token_ledger_add_partitions(date, date) TO {writer}, {keeper}

-- name: read
-- Tables that reports and views read. Partitions and duplicates are not among them. Writers and keepers
-- may read them too: they see every call, and an app asks with the login that it writes with.
GRANT SELECT ON
token_ledger_events, token_ledger_prices, token_ledger_reported_cost_providers,
token_ledger_losses, token_ledger_migrations, token_ledger_rollup_slices,
token_ledger_rollup_hours, token_ledger_rollup_days, token_ledger_rollup_weeks,
token_ledger_rollup_state, token_ledger_rollup_dirty_slices
TO {writer}, {keeper}, {reader}

-- name: read_repricings
-- The history of costs.
GRANT SELECT ON token_ledger_repricings TO {reader}

-- name: read_views
-- Every view; a view checks the rights of the role that reads it.
DO $do$
DECLARE
    object record;
BEGIN
    FOR object IN
        SELECT viewname FROM pg_views
        WHERE schemaname = pg_catalog.current_schema() AND viewname LIKE 'token\_ledger\_%'
    LOOP
        EXECUTE pg_catalog.format(
            'GRANT SELECT ON %I TO %I, %I, %I',
            object.viewname, {writer_name}, {keeper_name}, {reader_name}
        );
    END LOOP;
END
$do$

-- name: read_sums
-- The functions that views and reports read. PUBLIC may call them unless default privileges say otherwise.
GRANT EXECUTE ON FUNCTION
token_ledger_period_edges(timestamptz, timestamptz),
token_ledger_stored_sums(text, text, timestamptz, timestamptz),
token_ledger_unsummed_calls(text, text, timestamptz, timestamptz),
token_ledger_sums(text, text, timestamptz, timestamptz),
token_ledger_budget_bucket(text, text, timestamptz),
token_ledger_budget_window(text, integer, text, timestamptz),
token_ledger_budget_sums(integer, text, timestamptz, timestamptz),
token_ledger_budget_room(integer [], text [], numeric, timestamptz)
TO {writer}, {keeper}, {reader}

-- name: log_views
-- The function that logs views of people. Any of the roles may be the dashboard's.
GRANT EXECUTE ON FUNCTION token_ledger_audit_view(text, text, text, text, text, text)
TO {writer}, {keeper}, {reader}

-- name: read_bound
-- The function that says which organizations a reader is bound to.
GRANT EXECUTE ON FUNCTION token_ledger_readable_organizations(text) TO {reader}

-- name: secure
-- Row-level security on calls; the owner sees all rows.
ALTER TABLE token_ledger_events ENABLE ROW LEVEL SECURITY

-- name: secure_losses
-- Row-level security on losses.
ALTER TABLE token_ledger_losses ENABLE ROW LEVEL SECURITY

-- name: secure_repricings
-- Row-level security on the history of costs.
ALTER TABLE token_ledger_repricings ENABLE ROW LEVEL SECURITY

-- name: secure_rollups
-- Row-level security on roll-ups, which are sums over all organizations.
DO $do$
DECLARE
    object record;
BEGIN
    FOR object IN
        SELECT oid::regclass AS name
        FROM pg_class
        WHERE
            relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = pg_catalog.current_schema())
            AND relname LIKE 'token\_ledger\_rollup\_%' AND relkind = 'r'
    LOOP
        EXECUTE pg_catalog.format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', object.name);
    END LOOP;
END
$do$

-- name: policies
-- Policies that show writers and keepers every row of the tables they have grants on. They have no effect
-- where row-level security is off.
DO $do$
DECLARE
    object record;
    policy text := {writer_name} || '_and_keeper';
BEGIN
    FOR object IN
        SELECT oid::regclass AS name, relname
        FROM pg_class
        WHERE
            relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = pg_catalog.current_schema())
            AND relname LIKE 'token\_ledger\_%' AND relkind IN ('r', 'p') AND NOT relispartition
            -- Only the owner reads these.
            AND relname NOT IN (
                'token_ledger_erasures', 'token_ledger_erasure_key', 'token_ledger_reader_organizations',
                'token_ledger_person_views'
            )
    LOOP
        EXECUTE pg_catalog.format('DROP POLICY IF EXISTS %I ON %s', policy, object.name);
        EXECUTE pg_catalog.format(
            'CREATE POLICY %I ON %s TO %I, %I USING (true) WITH CHECK (true)',
            policy, object.name, {writer_name}, {keeper_name}
        );
        EXECUTE pg_catalog.format('DROP POLICY IF EXISTS %I ON %s', {reader_name}, object.name);
        IF
            object.relname LIKE 'token\_ledger\_rollup\_%'
            OR object.relname LIKE 'token\_ledger\_budget%'
            OR object.relname LIKE 'token\_ledger\_alert%'
            OR object.relname = 'token_ledger_refusals'
        THEN
            -- A reader that is bound to organizations sees no roll-up, no budget and no alert; its
            -- reports read the calls.
            EXECUTE pg_catalog.format(
                'CREATE POLICY %I ON %s FOR SELECT TO %I USING ('
                '(SELECT token_ledger_readable_organizations(current_user::text)) IS NULL '
                'AND NULLIF(pg_catalog.current_setting(''tokenledger.organization'', true), '''') IS NULL)',
                {reader_name}, object.name, {reader_name}
            );
        ELSIF
            object.relname NOT IN (
                'token_ledger_events', 'token_ledger_losses', 'token_ledger_repricings'
            )
        THEN
            EXECUTE pg_catalog.format(
                'CREATE POLICY %I ON %s FOR SELECT TO %I USING (true)',
                {reader_name}, object.name, {reader_name}
            );
        END IF;
    END LOOP;
END
$do$

-- name: policy_events
-- A reader sees the organizations it is bound to; tokenledger.organization narrows that further. The
-- function fails for a reader that is bound to none, and returns NULL for a reader that sees all.
CREATE POLICY {reader} ON token_ledger_events FOR SELECT TO {reader} USING (
    (
        (SELECT token_ledger_readable_organizations(current_user::text)) IS NULL
        OR organization_id = ANY((SELECT token_ledger_readable_organizations(current_user::text))::text[])
    )
    AND COALESCE(
        organization_id = NULLIF(pg_catalog.current_setting('tokenledger.organization', true), ''), true
    )
)

-- name: policy_losses
-- A reader sees losses of the organizations whose calls it sees.
CREATE POLICY {reader} ON token_ledger_losses FOR SELECT TO {reader} USING (
    (
        (SELECT token_ledger_readable_organizations(current_user::text)) IS NULL
        OR organization_id = ANY((SELECT token_ledger_readable_organizations(current_user::text))::text[])
    )
    AND COALESCE(
        organization_id = NULLIF(pg_catalog.current_setting('tokenledger.organization', true), ''), true
    )
)

-- name: policy_repricings
-- A reader sees the cost history of the calls it sees.
CREATE POLICY {reader} ON token_ledger_repricings FOR SELECT TO {reader} USING (
    (
        (SELECT token_ledger_readable_organizations(current_user::text)) IS NULL
        AND NULLIF(pg_catalog.current_setting('tokenledger.organization', true), '') IS NULL
    )
    OR EXISTS (
        SELECT
        FROM token_ledger_events AS seen
        WHERE seen.event_id = token_ledger_repricings.event_id
    )
)

-- name: partitions
-- Grants on existing partitions, by the same rule as for new ones.
SELECT token_ledger_grant_partition(inhrelid::regclass)
FROM pg_inherits
WHERE inhparent = 'token_ledger_events'::regclass::oid
