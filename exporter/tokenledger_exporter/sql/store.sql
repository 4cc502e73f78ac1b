-- Statements of the write path. `{leaf}` is a monthly partition, `{columns}` the row's columns.

-- name: copy_rows
-- The fast path: straight into the partition, which row-level security on the parent allows.
COPY {leaf} ({columns}) FROM STDIN (FORMAT BINARY)

-- name: known_keys
-- Which of these rows are there already, with what billing content, and for whom.
SELECT event_id, usage_hash, cost_status, {columns}
FROM {leaf}
WHERE event_id = ANY(%(event_ids)s)

-- name: drop_unmeasured
-- Rows of calls that were only known to have been sent, and whose measured report is here now.
-- Writers may not delete: a function does it, in the partition that holds such a row.
SELECT dropped.moment
FROM (
    SELECT DISTINCT tableoid
    FROM {leaf}
    WHERE event_id = ANY(%(event_ids)s) AND cost_status = 'unmeasured'
) AS known
CROSS JOIN LATERAL token_ledger_drop_unmeasured(
    known.tableoid::pg_catalog.regclass, %(event_ids)s::uuid[]
) AS dropped (moment)

-- name: add_partition
-- The month a row belongs to, where the keeper has not made it yet.
SELECT token_ledger_add_partitions(%(month)s, %(month)s)

-- name: keep_conflict
-- Same identity, other billing content.
INSERT INTO token_ledger_conflicts (event_id, usage_hash, event)
VALUES (%(event_id)s, %(usage_hash)s, %(event)s::jsonb)
ON CONFLICT DO NOTHING

-- name: keep_rejected
-- A row the ledger cannot take, with the reason.
INSERT INTO token_ledger_rejected (event_id, reason, event)
VALUES (%(event_id)s, %(reason)s, %(event)s::jsonb)
ON CONFLICT DO NOTHING

-- name: may_settle
-- Whether this user may do the keeper's work.
SELECT bool_and(has_table_privilege(name, privilege))
FROM (
    VALUES
        ('token_ledger_events', 'SELECT'), ('token_ledger_events', 'INSERT'),
        ('token_ledger_events', 'UPDATE'), ('token_ledger_events', 'DELETE'),
        ('token_ledger_duplicates', 'SELECT'), ('token_ledger_duplicates', 'INSERT'),
        ('token_ledger_duplicates', 'UPDATE'), ('token_ledger_duplicates', 'DELETE'),
        ('token_ledger_conflicts', 'INSERT'), ('token_ledger_dirty_minutes', 'SELECT'),
        ('token_ledger_dirty_minutes', 'DELETE')
) AS needed (name, privilege)

-- name: count_loss
-- Records known to be gone.
INSERT INTO token_ledger_losses (app_name, reason, records, organization_id)
VALUES (%(app_name)s, %(reason)s, %(records)s, %(organization_id)s)
