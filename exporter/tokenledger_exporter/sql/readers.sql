-- Statements that bind readers to organizations. `{role}` is the reader.

-- name: known_reader
-- Whether the role exists, and whether row-level security is on.
SELECT
    EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = %(reader)s),
    (SELECT relrowsecurity FROM pg_catalog.pg_class WHERE oid = 'token_ledger_events'::regclass::oid)

-- name: other_rights
-- Other ways in which a reader could see calls: its attributes, and the rights of its roles.
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
    -- A superuser is a member of every role: report it once.
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
-- Adds organizations to those a reader may see.
INSERT INTO token_ledger_reader_organizations (role, organization_id)
SELECT %(reader)s::regrole, added.organization_id
FROM pg_catalog.unnest(%(organizations)s::text[]) AS added (organization_id)
ON CONFLICT DO NOTHING

-- name: unbind_reader
-- Removes every binding of a reader, before it is bound to all organizations.
DELETE FROM token_ledger_reader_organizations WHERE role = %(reader)s::regrole

-- name: bind_to_all
-- Lets a reader see every organization, including future ones.
INSERT INTO token_ledger_reader_organizations (role, organization_id, sees_all)
VALUES (%(reader)s::regrole, '', true)

-- name: bound_to
-- Bindings of the reader itself, without those of its roles.
SELECT organization_id, sees_all
FROM token_ledger_reader_organizations
WHERE role = %(reader)s::regrole
ORDER BY organization_id

-- name: act_as
-- Acts as the reader until the transaction or its savepoint ends.
SET LOCAL ROLE {role}

-- name: sees
-- Organizations the reader may see through all of its roles.
SELECT token_ledger_readable_organizations(CURRENT_USER::text)

-- name: sees_calls_of
-- Which of these organizations have calls that the reader sees.
SELECT bound.organization_id
FROM pg_catalog.unnest(%(organizations)s::text[]) AS bound (organization_id)
WHERE EXISTS (
    SELECT FROM token_ledger_events AS seen WHERE seen.organization_id = bound.organization_id
)
ORDER BY bound.organization_id

-- name: sees_others
-- Whether the reader sees calls or losses of other organizations, or roll-ups.
SELECT
    EXISTS (
        SELECT
        FROM token_ledger_events AS seen
        WHERE seen.organization_id <> ALL(%(organizations)s::text[])
    )
    OR EXISTS (SELECT FROM token_ledger_rollup_hours)
    OR EXISTS (SELECT FROM token_ledger_rollup_days)
    OR EXISTS (
        SELECT
        FROM token_ledger_losses AS seen
        WHERE seen.organization_id <> ALL(%(organizations)s::text[])
    )

-- name: bound_readers
-- Every role that is bound.
SELECT DISTINCT role::text AS reader FROM token_ledger_reader_organizations ORDER BY reader

-- name: unbound_readers
-- Logins that may read calls and are bound to no organization, if row-level security is on.
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
