-- Statements that bind readers to organizations.

-- name: known_reader
-- Whether there is such a role, and whether rows are shown by policy at all.
SELECT
    EXISTS (SELECT FROM pg_roles WHERE rolname = %(reader)s),
    (SELECT relrowsecurity FROM pg_class WHERE oid = 'token_ledger_events'::regclass)

-- name: bind_reader
-- Organizations a reader sees, beside those it sees already.
INSERT INTO token_ledger_reader_organizations (role_name, organization_id)
SELECT %(reader)s, unnest(%(organizations)s::text[])
ON CONFLICT DO NOTHING

-- name: bound_to
-- All it sees.
SELECT organization_id
FROM token_ledger_reader_organizations
WHERE role_name = %(reader)s
ORDER BY organization_id
