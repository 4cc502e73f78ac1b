-- Statements about the state of the ledger, for the page that says what to do.

-- name: newest_call
-- When the newest call began, and the time of this answer.
SELECT
    max(timestamp) AS newest_at,
    now() AS asked_at
FROM token_ledger_events

-- name: waiting_minutes
-- Minutes whose calls were not checked for duplicates yet, and how long the oldest has waited.
SELECT
    count(*) AS minutes,
    COALESCE(date_part('epoch'::text, now() - min(recorded_at)), 0) AS waited_seconds
FROM token_ledger_dirty_minutes

-- name: waiting_slices
-- Slices of time whose sums are out of date, and how long the oldest has waited.
SELECT
    count(*) AS slices,
    COALESCE(date_part('epoch'::text, now() - min(recorded_at)), 0) AS waited_seconds
FROM token_ledger_rollup_dirty_slices

-- name: quarantined
-- Rows that the ledger could not store, by reason.
SELECT
    reason,
    count(*) AS rows,
    max(recorded_at) AS latest_at,
    (sum(count(*)) OVER ())::bigint AS all_rows
FROM token_ledger_rejected
GROUP BY reason
ORDER BY count(*) DESC, reason
LIMIT 5

-- name: conflicts
-- Reports of a call that is in the ledger with other counts.
SELECT
    count(*) AS rows,
    max(recorded_at) AS latest_at
FROM token_ledger_conflicts

-- name: duplicates
-- Further reports of calls that the ledger has already, and what they would have cost.
SELECT
    (totals ->> 'reports'::text)::bigint AS reports,
    (totals ->> 'cost_usd'::text)::numeric AS cost_usd
FROM token_ledger_duplicate_totals(current_user::text, %(since)s, %(until)s) AS totals

-- name: lost
-- Records that senders lost, by reason.
SELECT
    reason,
    sum(records)::bigint AS records,
    max(recorded_at) AS latest_at,
    (sum(sum(records)) OVER ())::bigint AS all_records
FROM token_ledger_losses
WHERE recorded_at >= %(since)s AND recorded_at < %(until)s
GROUP BY reason
ORDER BY sum(records) DESC, reason
LIMIT 5

-- name: suspects
-- Response ids of the last day that several rows have. All days would read every call.
SELECT count(*) AS response_ids
FROM (
    SELECT response_id
    FROM token_ledger_events
    WHERE response_id <> '' AND timestamp >= %(since)s AND timestamp < %(until)s
    GROUP BY response_id
    HAVING count(*) > 1
) AS shared_ids

-- name: partitions
-- The months that have a partition.
SELECT
    count(*) AS partitions,
    max(pg_class.relname)::text AS last_partition
FROM pg_catalog.pg_inherits
INNER JOIN pg_catalog.pg_class ON pg_class.oid = pg_inherits.inhrelid
WHERE
    pg_inherits.inhparent = 'token_ledger_events'::regclass::oid
    AND pg_class.relname LIKE 'token\_ledger\_events\_____\___'

-- name: maintenance
-- What was last deleted, erased or changed, newest first.
SELECT
    recorded_at,
    changed_by,
    action,
    counts
FROM token_ledger_audit_log
ORDER BY recorded_at DESC, entry_id
LIMIT %(limit)s
