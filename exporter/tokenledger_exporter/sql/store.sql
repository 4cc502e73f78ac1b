-- Statements that store calls. `{leaf}` is a monthly partition, `{columns}` are the row's columns.

-- name: copy_rows
-- The fast path copies into the partition, because row-level security refuses COPY into the parent.
COPY {leaf} ({columns}) FROM STDIN (FORMAT BINARY)

-- name: known_keys
-- Which of these rows are stored already, with their billing content and attribution.
SELECT event_id, usage_hash, cost_status, {columns}
FROM {leaf}
WHERE event_id = ANY(%(event_ids)s)

-- name: drop_unmeasured
-- Deletes rows that only say a call was sent, because the measured report has arrived. Writers may not
-- delete, so a function does it in the partition that has such a row.
SELECT dropped.started_at
FROM (
    SELECT DISTINCT tableoid
    FROM {leaf}
    WHERE event_id = ANY(%(event_ids)s) AND cost_status = 'unmeasured'
) AS partitions
CROSS JOIN LATERAL token_ledger_drop_unmeasured(
    partitions.tableoid::pg_catalog.regclass, %(event_ids)s::uuid[]
) AS dropped (started_at)

-- name: add_partition
-- Creates the month of a row, if the keeper has not created it yet.
SELECT token_ledger_add_partitions(%(month)s, %(month)s)

-- name: add_conflict
-- Stores a row whose event_id is in the ledger with other billing content.
INSERT INTO token_ledger_conflicts (event_id, usage_hash, event)
VALUES (%(event_id)s, %(usage_hash)s, %(event)s::jsonb)
ON CONFLICT DO NOTHING

-- name: add_rejected
-- Stores a row that the ledger cannot accept, with the reason.
INSERT INTO token_ledger_rejected (event_id, reason, event)
VALUES (%(event_id)s, %(reason)s, %(event)s::jsonb)
ON CONFLICT DO NOTHING

-- name: count_loss
-- Counts records that are known to be lost.
INSERT INTO token_ledger_losses (app_name, reason, records, organization_id)
VALUES (%(app_name)s, %(reason)s, %(records)s, %(organization_id)s)

-- name: horizon
-- The first timestamp that retention does not drop.
SELECT token_ledger_horizon()

-- name: months_ahead
-- How many of this month and the next three have no partition.
SELECT count(*) AS missing
FROM generate_series(0, 3) AS ahead
WHERE to_regclass(
    'token_ledger_events_'
    || to_char((now() AT TIME ZONE 'UTC') + ahead::double precision * interval '1 month', 'YYYY_MM')
) IS NULL

-- name: add_months
-- Creates the partitions of this month and the next three.
SELECT token_ledger_add_partitions(
    (now() AT TIME ZONE 'UTC')::date, ((now() AT TIME ZONE 'UTC') + interval '3 months')::date
)

-- name: limit_lock_wait
-- A session that waits for a lock blocks those behind it, so it gives up after two seconds.
SET LOCAL lock_timeout = '2s'

-- name: has_erasures
-- Whether anybody was erased.
SELECT token_ledger_has_erasures()

-- name: find_erased
-- Which of these ids were erased, and their pseudonyms.
SELECT id, pseudonym FROM token_ledger_find_erased(%(ids)s::bytea[])

-- name: may_insert
-- Whether the database user may insert calls, and whether the server is a replica.
SELECT
    has_table_privilege('token_ledger_events', 'INSERT') AS may_insert,
    pg_is_in_recovery() AS is_replica
