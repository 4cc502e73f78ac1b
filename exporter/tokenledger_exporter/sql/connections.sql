-- Settings of connections.

-- name: cache_plans
-- Prepared statements are planned once. Without this, Postgres would plan some of them again for every
-- period, which takes as long as the answer.
SET plan_cache_mode = force_generic_plan

-- name: limit_time
-- Limits the statements of this transaction in time.
SELECT set_config('statement_timeout', %(timeout)s, true)

-- name: limit_organization
-- Limits what this transaction sees to an organization; false if row-level security does not do that for
-- this user. It shows every row to owners, writers and keepers.
SELECT
    row_security_active('token_ledger_events')
    AND NOT has_table_privilege('token_ledger_events', 'INSERT, UPDATE, DELETE')
    AND set_config('tokenledger.organization', %(organization)s, true) IS NOT NULL
