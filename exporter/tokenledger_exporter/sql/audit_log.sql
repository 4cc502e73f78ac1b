-- Statements of the audit log, and of the log of views of people.

-- name: log_action
-- Adds an entry; the database fills in who and when.
SELECT token_ledger_log_action(
    %(action)s, %(dimensions)s::jsonb, %(time_from)s::timestamptz, %(time_to)s::timestamptz,
    %(counts)s::jsonb
)

-- name: log_view
-- Adds an entry to the log of views of people.
SELECT token_ledger_audit_view(
    %(kind)s, %(viewer)s, %(organization)s, %(page)s, %(dimension)s, %(value)s
)

-- name: limit_time_of_log
-- A page waits for its entry no longer than this.
SELECT set_config('statement_timeout', %(timeout)s, true)
