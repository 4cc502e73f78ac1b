-- Statements that keep the ledger's months: ahead of time, and no longer than was set.

-- name: horizon
-- The first moment that is kept.
SELECT token_ledger_horizon()

-- name: show
-- What was set, and what it means today.
SELECT keep::text AS keep, archive_to, changed_by, recorded_at, token_ledger_horizon() AS horizon
FROM token_ledger_retention

-- name: set
-- For so long, or for ever. NULL as folder is none for the owner; others leave it as it is.
SELECT token_ledger_set_retention(%(keep)s::interval, %(archive_to)s::text)

-- name: months
-- The partitions, by their names: the months they hold.
SELECT child.relname AS name
FROM pg_inherits
INNER JOIN pg_class AS child ON child.oid = pg_inherits.inhrelid
WHERE pg_inherits.inhparent = 'token_ledger_events'::regclass::oid
ORDER BY 1

-- name: count_month
-- What a month holds.
SELECT count(*) AS rows, COALESCE(sum(cost_usd), 0) AS cost_usd FROM {leaf}

-- name: bound_waiting
-- Whoever waits for a lock holds up all who come later: two seconds, then another time.
SET LOCAL lock_timeout = '2s'

-- name: hold_still
-- Nothing is added to the month while it is archived; reading goes on.
LOCK TABLE {leaf} IN SHARE ROW EXCLUSIVE MODE

-- name: detach
-- The month leaves the ledger.
ALTER TABLE token_ledger_events DETACH PARTITION {leaf}

-- name: remove_month
-- And is gone.
DROP TABLE {leaf}

-- name: drop_second_tellings
-- Of calls that are gone.
DELETE FROM token_ledger_duplicates WHERE timestamp < %(horizon)s

-- name: drop_nestings
-- The same.
DELETE FROM token_ledger_parents WHERE recorded_at < %(horizon)s

-- name: columns
-- A month's columns and their types, in order.
SELECT attname AS name, format_type(atttypid, NULL) AS kind
FROM pg_attribute
WHERE attrelid = %(leaf)s::regclass::oid AND attnum > 0 AND NOT attisdropped
ORDER BY attnum

-- name: copy_month
-- A month as CSV.
COPY (SELECT * FROM {leaf} ORDER BY timestamp, event_id) TO STDOUT (FORMAT CSV, HEADER)

-- name: read_month
-- A month's rows, what Parquet has no exact type for as text.
SELECT {columns} FROM {leaf} ORDER BY timestamp, event_id

-- name: months_ahead
-- How many months there must be a partition for are without one.
SELECT count(*) AS missing
FROM generate_series(0, 3) AS ahead
WHERE to_regclass(
    'token_ledger_events_'
    || to_char((now() AT TIME ZONE 'UTC') + ahead::double precision * interval '1 month', 'YYYY_MM')
) IS NULL

-- name: add_months
-- This month and three ahead.
SELECT token_ledger_add_partitions(
    (now() AT TIME ZONE 'UTC')::date, ((now() AT TIME ZONE 'UTC') + interval '3 months')::date
)

-- name: is_owner
-- Whether this user may detach a month.
SELECT pg_has_role(relowner, 'USAGE') AS is_owner
FROM pg_class
WHERE oid = 'token_ledger_events'::regclass::oid
