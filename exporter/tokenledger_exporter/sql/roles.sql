-- Statements that create the roles and bind readers to organizations. `{writer}`, `{keeper}` and
-- `{reader}` are the roles' names, `{schema}` is the ledger's schema. In the statements that bind, `{role}`
-- is the reader.

-- name: refuse_open_schema
-- Who may create objects in the ledger's schema can make a function that the owner then runs as itself.
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
                'run REVOKE CREATE ON SCHEMA %I FROM %s; then make the roles', {schema_name}, creators
            );
    END IF;
END
$do$

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

-- name: start_anew
-- What an earlier release granted and this one does not.
DO $do$
DECLARE
    known record;
BEGIN
    FOR known IN
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
            'REVOKE ALL ON %s FROM %I, %I, %I', known.name, {writer_name}, {keeper_name}, {reader_name}
        );
    END LOOP;
END
$do$

-- name: write_events
-- A writer adds calls. One known only to have been sent is replaced through a function.
GRANT SELECT, INSERT ON token_ledger_events TO {writer}

-- name: replace_unmeasured
-- The same function for a keeper, which may write.
GRANT EXECUTE ON FUNCTION token_ledger_drop_unmeasured(regclass, uuid[]) TO {writer}, {keeper}

-- name: write_aside
-- What a writer notes beside the rows.
GRANT INSERT ON
token_ledger_conflicts, token_ledger_rejected, token_ledger_losses, token_ledger_dirty_minutes,
token_ledger_rollup_dirty_slices
TO {writer}

-- name: write_nestings
-- Which spans are within which.
GRANT SELECT, INSERT ON token_ledger_parents TO {writer}

-- name: writer_reads
-- What a writer must know.
GRANT SELECT ON
token_ledger_duplicates, token_ledger_prices, token_ledger_migrations
TO {writer}

-- name: horizon
-- For how long calls are kept, and not where old ones go.
GRANT SELECT (is_set, keep) ON token_ledger_retention TO {writer}, {reader}

-- name: keep
-- A keeper changes and deletes rows and sums.
GRANT SELECT, INSERT, UPDATE, DELETE ON
token_ledger_events, token_ledger_duplicates, token_ledger_conflicts, token_ledger_rejected,
token_ledger_dirty_minutes, token_ledger_parents,
token_ledger_rollup_slices, token_ledger_rollup_hours, token_ledger_rollup_days,
token_ledger_rollup_weeks, token_ledger_rollup_state, token_ledger_rollup_dirty_slices
TO {keeper}

-- name: keep_prices
-- Prices are added, and checked again.
GRANT SELECT, INSERT, UPDATE ON token_ledger_prices TO {keeper}

-- name: keep_losses
-- What is lost can be added to.
GRANT SELECT, INSERT ON token_ledger_losses TO {keeper}

-- name: note_repricings
-- Who changed a cost and when is the database's to say. A trigger notes deletions.
GRANT
SELECT, DELETE,
INSERT (
    event_id, old_cost_usd, new_cost_usd, old_cost_status, new_cost_status, old_price_id,
    new_price_id, reason
)
ON token_ledger_repricings
TO {keeper}

-- name: correct_repricings
-- Erasing a person takes the id out of the reasons.
GRANT UPDATE (reason) ON token_ledger_repricings TO {keeper}

-- name: keeper_notes
-- What was done is added through a function, which says who and when.
GRANT EXECUTE ON FUNCTION
token_ledger_log_action(text, jsonb, timestamptz, timestamptz, jsonb),
token_ledger_set_retention(interval, text),
token_ledger_add_erasure(bytea[])
TO {keeper}

-- name: keeper_reads
-- How far the schema is, what was done, and for how long calls are kept.
GRANT SELECT ON token_ledger_migrations, token_ledger_audit_log, token_ledger_retention TO {keeper}

-- name: make_partitions
-- Partitions, as the tables' owner makes them.
GRANT EXECUTE ON FUNCTION token_ledger_add_partitions(date, date) TO {writer}, {keeper}

-- name: read
-- What reports and views are made of; never a partition, never what was set aside.
GRANT SELECT ON
token_ledger_events, token_ledger_prices, token_ledger_repricings, token_ledger_losses,
token_ledger_migrations, token_ledger_rollup_slices,
token_ledger_rollup_hours, token_ledger_rollup_days, token_ledger_rollup_weeks,
token_ledger_rollup_state, token_ledger_rollup_dirty_slices
TO {reader}

-- name: read_views
-- Every view: each checks the rights of who reads it.
DO $do$
DECLARE
    known record;
BEGIN
    FOR known IN
        SELECT viewname FROM pg_views
        WHERE schemaname = pg_catalog.current_schema() AND viewname LIKE 'token\_ledger\_%'
    LOOP
        EXECUTE pg_catalog.format('GRANT SELECT ON %I TO %I', known.viewname, {reader_name});
    END LOOP;
END
$do$

-- name: read_bound
-- Which organizations it is bound to.
GRANT EXECUTE ON FUNCTION token_ledger_readable_organizations(text) TO {reader}

-- name: secure
-- Rows are shown by policy from here on; the owner sees all.
ALTER TABLE token_ledger_events ENABLE ROW LEVEL SECURITY

-- name: secure_losses
-- Counts of lost records are for readers of all.
ALTER TABLE token_ledger_losses ENABLE ROW LEVEL SECURITY

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
            relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = pg_catalog.current_schema())
            AND relname LIKE 'token\_ledger\_rollup\_%' AND relkind = 'r'
    LOOP
        EXECUTE pg_catalog.format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', known.name);
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
            relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = pg_catalog.current_schema())
            AND relname LIKE 'token\_ledger\_%' AND relkind IN ('r', 'p') AND NOT relispartition
            -- The owner alone.
            AND relname NOT IN (
                'token_ledger_erasures', 'token_ledger_erasure_key', 'token_ledger_reader_organizations'
            )
    LOOP
        EXECUTE pg_catalog.format('DROP POLICY IF EXISTS %I ON %s', policy, known.name);
        EXECUTE pg_catalog.format(
            'CREATE POLICY %I ON %s TO %I, %I USING (true) WITH CHECK (true)',
            policy, known.name, {writer_name}, {keeper_name}
        );
        EXECUTE pg_catalog.format('DROP POLICY IF EXISTS %I ON %s', {reader_name}, known.name);
        IF known.relname LIKE 'token\_ledger\_rollup\_%' THEN
            -- All or nothing: who is bound or narrowed sees no roll-up, and is answered by the calls.
            EXECUTE pg_catalog.format(
                'CREATE POLICY %I ON %s FOR SELECT TO %I USING ('
                '(SELECT token_ledger_readable_organizations(current_user::text)) IS NULL '
                'AND NULLIF(pg_catalog.current_setting(''tokenledger.organization'', true), '''') IS NULL)',
                {reader_name}, known.name, {reader_name}
            );
        ELSIF
            known.relname NOT IN (
                'token_ledger_events', 'token_ledger_losses', 'token_ledger_repricings'
            )
        THEN
            EXECUTE pg_catalog.format(
                'CREATE POLICY %I ON %s FOR SELECT TO %I USING (true)',
                {reader_name}, known.name, {reader_name}
            );
        END IF;
    END LOOP;
END
$do$

-- name: policy_events
-- A reader sees what it is bound to, whatever it sets; tokenledger.organization narrows anybody.
-- The function fails for a reader that is bound to nothing. NULL is all.
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
-- Losses of the organizations whose calls it sees.
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
-- The history of what can be seen.
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
-- Those that exist, by the rule of those to come.
SELECT token_ledger_grant_partition(inhrelid::regclass)
FROM pg_inherits
WHERE inhparent = 'token_ledger_events'::regclass::oid

-- name: known_reader
-- Whether there is such a role, and whether rows are shown by policy at all.
SELECT
    EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = %(reader)s),
    (SELECT relrowsecurity FROM pg_catalog.pg_class WHERE oid = 'token_ledger_events'::regclass::oid)

-- name: other_rights
-- What else a reader could see calls by: its own attributes, and the rights of each role it can act as.
SELECT
    member.rolname AS role,
    CASE
        WHEN member.rolsuper THEN 'is a superuser'
        WHEN member.rolbypassrls THEN 'bypasses row-level security'
        WHEN member.oid = events.relowner THEN 'owns the tables'
        ELSE 'may do more than read'
    END AS why
FROM pg_catalog.pg_roles AS reader
CROSS JOIN pg_catalog.pg_class AS events
INNER JOIN pg_catalog.pg_roles AS member
    ON pg_catalog.pg_has_role(reader.oid, member.oid, 'MEMBER')
WHERE
    reader.rolname = %(reader)s
    AND events.oid = 'token_ledger_events'::regclass::oid
    -- A superuser is a member of every role: one line says it.
    AND (NOT reader.rolsuper OR member.oid = reader.oid)
    AND (
        member.rolsuper
        OR member.rolbypassrls
        OR member.oid = events.relowner
        OR pg_catalog.has_table_privilege(member.oid, events.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
        OR EXISTS (
            SELECT
            FROM pg_catalog.pg_class AS hidden
            WHERE
                hidden.relnamespace = events.relnamespace
                AND (
                    hidden.relname IN (
                        'token_ledger_duplicates', 'token_ledger_conflicts', 'token_ledger_rejected',
                        'token_ledger_audit_log', 'token_ledger_reader_organizations'
                    )
                    OR EXISTS (
                        SELECT
                        FROM pg_catalog.pg_inherits
                        WHERE inhparent = events.oid AND inhrelid = hidden.oid
                    )
                )
                AND pg_catalog.has_table_privilege(member.oid, hidden.oid, 'SELECT')
        )
    )
ORDER BY member.rolname

-- name: bind_reader
-- Organizations a reader sees, beside those it sees already.
INSERT INTO token_ledger_reader_organizations (role, organization_id)
SELECT %(reader)s::regrole, asked.organization_id
FROM pg_catalog.unnest(%(organizations)s::text[]) AS asked (organization_id)
ON CONFLICT DO NOTHING

-- name: unbind_reader
-- Before it is bound to all.
DELETE FROM token_ledger_reader_organizations WHERE role = %(reader)s::regrole

-- name: bind_to_all
-- Every organization, also those to come.
INSERT INTO token_ledger_reader_organizations (role, organization_id, sees_all)
VALUES (%(reader)s::regrole, '', true)

-- name: bound_to
-- What is bound to its name alone.
SELECT organization_id, sees_all
FROM token_ledger_reader_organizations
WHERE role = %(reader)s::regrole
ORDER BY organization_id

-- name: act_as
-- What follows is seen as the reader sees it, until the transaction or its savepoint ends.
SET LOCAL ROLE {role}

-- name: sees
-- What the reader is bound to, by all the roles it is a member of.
SELECT token_ledger_readable_organizations(CURRENT_USER::text)

-- name: sees_calls_of
-- Which of some organizations the reader really finds calls of.
SELECT asked.organization_id
FROM pg_catalog.unnest(%(organizations)s::text[]) AS asked (organization_id)
WHERE EXISTS (
    SELECT FROM token_ledger_events AS seen WHERE seen.organization_id = asked.organization_id
)
ORDER BY asked.organization_id

-- name: sees_others
-- Whether the reader finds calls of any other, or sums over all, or what names other apps.
SELECT
    EXISTS (
        SELECT
        FROM token_ledger_events AS seen
        WHERE seen.organization_id <> ALL(%(organizations)s::text[])
    )
    OR EXISTS (SELECT FROM token_ledger_rollup_hours)
    OR EXISTS (SELECT FROM token_ledger_rollup_days)
    OR EXISTS (SELECT FROM token_ledger_losses)

-- name: bound_readers
-- Every role that is bound, for who checks them.
SELECT DISTINCT role::text AS reader FROM token_ledger_reader_organizations ORDER BY reader

-- name: unbound_readers
-- Logins that may read calls and are bound to nothing, where rows are shown by policy.
SELECT login.rolname::text AS reader
FROM pg_catalog.pg_roles AS login
CROSS JOIN pg_catalog.pg_class AS events
WHERE
    events.oid = 'token_ledger_events'::regclass::oid
    AND events.relrowsecurity
    AND login.rolcanlogin
    AND NOT login.rolsuper
    AND NOT login.rolbypassrls
    AND NOT pg_catalog.pg_has_role(login.oid, events.relowner, 'MEMBER')
    AND pg_catalog.has_table_privilege(login.oid, events.oid, 'SELECT')
    AND NOT pg_catalog.has_table_privilege(login.oid, events.oid, 'INSERT, UPDATE, DELETE')
    AND NOT EXISTS (
        SELECT
        FROM token_ledger_reader_organizations AS bound
        WHERE pg_catalog.pg_has_role(login.oid, bound.role::oid, 'MEMBER')
    )
ORDER BY reader
