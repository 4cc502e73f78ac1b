-- Statement of the audit log.

-- name: log_action
-- Adds an entry; the database fills in who and when.
SELECT token_ledger_log_action(
    %(action)s, %(dimensions)s::jsonb, %(time_from)s::timestamptz, %(time_to)s::timestamptz,
    %(counts)s::jsonb
)
