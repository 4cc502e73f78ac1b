-- Statements of `tokenledger doctor`: the database around the ledger, and a probe call.

-- name: encoding
-- Encoding of the database.
SELECT pg_encoding_to_char(encoding)::text
FROM pg_catalog.pg_database
WHERE datname = current_database()

-- name: creators
-- Roles that may create objects in the search path, other than owners and superusers.
SELECT
    pg_namespace.nspname::text AS schema,
    CASE granted.grantee WHEN 0::oid THEN 'PUBLIC' ELSE grantee.rolname::text END AS role
FROM pg_catalog.pg_namespace
CROSS JOIN LATERAL aclexplode(
    COALESCE(pg_namespace.nspacl, acldefault('n'::"char", pg_namespace.nspowner))
) AS granted
LEFT JOIN pg_catalog.pg_roles AS grantee ON grantee.oid = granted.grantee
WHERE
    pg_namespace.nspname = ANY(current_schemas(false))
    AND granted.privilege_type = 'CREATE'
    AND granted.grantee <> pg_namespace.nspowner
    AND NOT COALESCE(grantee.rolsuper, false)
    AND granted.grantee NOT IN (
        SELECT tables.relowner
        FROM pg_catalog.pg_class AS tables
        WHERE tables.oid = 'token_ledger_events'::regclass::oid
    )
ORDER BY 1, 2

-- name: planted
-- Functions and operators in the search path that other roles named like those of Postgres.
SELECT objects.name, pg_roles.rolname::text AS owner
FROM (
    SELECT
        pg_proc.oid::regprocedure::text AS name, pg_proc.proowner AS owner, pg_proc.oid,
        'pg_proc'::regclass::oid AS kind
    FROM pg_catalog.pg_proc
    INNER JOIN pg_catalog.pg_namespace ON pg_namespace.oid = pg_proc.pronamespace
    WHERE
        pg_namespace.nspname = ANY(current_schemas(false))
        AND EXISTS (
            SELECT
            FROM pg_catalog.pg_proc AS builtin
            WHERE
                builtin.pronamespace = 'pg_catalog'::regnamespace::oid
                AND builtin.proname = pg_proc.proname
        )
    UNION ALL
    SELECT
        pg_operator.oid::regoperator::text, pg_operator.oprowner, pg_operator.oid,
        'pg_operator'::regclass::oid
    FROM pg_catalog.pg_operator
    INNER JOIN pg_catalog.pg_namespace ON pg_namespace.oid = pg_operator.oprnamespace
    WHERE
        pg_namespace.nspname = ANY(current_schemas(false))
        AND EXISTS (
            SELECT
            FROM pg_catalog.pg_operator AS builtin
            WHERE
                builtin.oprnamespace = 'pg_catalog'::regnamespace::oid
                AND builtin.oprname = pg_operator.oprname
        )
) AS objects
INNER JOIN pg_catalog.pg_roles ON pg_roles.oid = objects.owner
WHERE
    NOT pg_roles.rolsuper
    AND objects.owner NOT IN (
        SELECT tables.relowner
        FROM pg_catalog.pg_class AS tables
        WHERE tables.oid = 'token_ledger_events'::regclass::oid
    )
    -- Those of an extension are trusted.
    AND NOT EXISTS (
        SELECT
        FROM pg_catalog.pg_depend
        WHERE
            pg_depend.classid = objects.kind
            AND pg_depend.objid = objects.oid
            AND pg_depend.deptype = 'e'
    )
ORDER BY 1
LIMIT 5

-- name: privileges
-- Whether this user may insert a row and delete it again: doctor's probe call must not stay.
SELECT
    has_table_privilege('token_ledger_events', 'INSERT'),
    has_table_privilege('token_ledger_events', 'DELETE')

-- name: probe_row
-- How doctor's probe call was stored.
SELECT cost_usd, cost_status FROM token_ledger_events WHERE trace_id = %(trace_id)s

-- name: remove_probe
-- Deletes the probe call.
DELETE FROM token_ledger_events WHERE trace_id = %(trace_id)s

-- name: engine
-- The server's version, and which known extensions change how it plans.
SELECT version(), extname::text
FROM (SELECT) AS one_row
LEFT JOIN pg_extension ON extname IN ('citus', 'timescaledb')
ORDER BY extname

-- name: lost_of_tenants
-- Records that tenants' senders lost.
SELECT COALESCE(sum(lost), 0)::bigint FROM token_ledger_organization_losses

-- name: rejected
-- Rows that the ledger could not store.
SELECT count(*) FROM token_ledger_rejected
