-- Statements of retention: how long calls are stored, and dropping or archiving a month. `{leaf}` is a
-- monthly partition.

-- name: show
-- The setting, and the first timestamp it retains today.
SELECT keep::text AS keep, archive_to, changed_by, recorded_at, token_ledger_horizon() AS horizon
FROM token_ledger_retention

-- name: set
-- Sets how long calls are stored; NULL has no limit. A NULL folder is no folder if the owner sets it;
-- for other users it leaves the folder unchanged.
SELECT token_ledger_set_retention(%(keep)s::interval, %(archive_to)s::text)

-- name: months
-- The partitions, whose names say their month.
SELECT child.relname AS name
FROM pg_inherits
INNER JOIN pg_class AS child ON child.oid = pg_inherits.inhrelid
WHERE pg_inherits.inhparent = 'token_ledger_events'::regclass::oid
ORDER BY 1

-- name: count_month
-- Calls and cost of a month.
SELECT count(*) AS rows, COALESCE(sum(cost_usd), 0) AS cost_usd FROM {leaf}

-- name: limit_lock_wait
-- A session that waits for a lock blocks those behind it, so it gives up after two seconds.
SET LOCAL lock_timeout = '2s'

-- name: block_writes
-- Blocks writes to the month while it is archived; reads go on.
LOCK TABLE {leaf} IN SHARE ROW EXCLUSIVE MODE

-- name: detach
-- Removes the month from the ledger's table.
ALTER TABLE token_ledger_events DETACH PARTITION {leaf}

-- name: drop_month
-- Drops the detached month.
DROP TABLE {leaf}

-- name: delete_old_duplicates
-- Deletes duplicates of dropped calls.
DELETE FROM token_ledger_duplicates WHERE timestamp < %(horizon)s

-- name: delete_old_parents
-- Deletes parent links of dropped calls.
DELETE FROM token_ledger_parents WHERE recorded_at < %(horizon)s

-- name: columns
-- Columns of a month and their types, in order.
SELECT attname AS name, format_type(atttypid, NULL) AS kind
FROM pg_attribute
WHERE attrelid = %(leaf)s::regclass::oid AND attnum > 0 AND NOT attisdropped
ORDER BY attnum

-- name: copy_month
-- Exports a month as CSV.
COPY (SELECT * FROM {leaf} ORDER BY timestamp, event_id) TO STDOUT (FORMAT CSV, HEADER)

-- name: read_month
-- Rows of a month; types that Parquet cannot store exactly are text.
SELECT {columns} FROM {leaf} ORDER BY timestamp, event_id

-- name: is_owner
-- Whether this user may detach a month.
SELECT pg_has_role(relowner, 'USAGE') AS is_owner
FROM pg_class
WHERE oid = 'token_ledger_events'::regclass::oid
