-- Statements of the commands that watch the ledger. `{columns}` are columns of the calls, `{where}`
-- conditions over parameters.

-- name: position
-- The time of this snapshot, and the oldest transaction that was running when it was taken.
SELECT now() AS taken_at, pg_snapshot_xmin(pg_current_snapshot())::xid::text AS oldest_xid

-- name: recorded_ids
-- Calls that this snapshot has and a later one may return again.
SELECT event_id, recorded_at
FROM token_ledger_events
WHERE timestamp >= %(since)s AND recorded_at >= %(recorded_since)s {where}

-- name: written_since
-- Rows that were inserted or changed by a transaction that an earlier snapshot could not see yet. Its
-- number is at least that of the oldest transaction that was running then, also for a subtransaction.
-- A number is compared by its age, which is right for the recent rows that recorded_at selects.
SELECT {columns}, recorded_at
FROM token_ledger_events
WHERE
    timestamp >= %(since)s
    AND recorded_at >= %(recorded_since)s
    AND age(xmin) <= age(%(oldest_xid)s::text::xid) {where}
ORDER BY timestamp, event_id

-- name: runs_beginning_with
-- Traces or sessions whose id begins with a text; the id that equals it comes first.
SELECT {column} AS run_id
FROM token_ledger_events
WHERE
    timestamp >= %(since)s
    AND timestamp < %(until)s
    AND starts_with({column}, %(text)s::text)
GROUP BY {column}
ORDER BY {column} <> %(text)s::text, max(timestamp) DESC, {column}
LIMIT %(limit)s

-- name: rows_of_run
-- The rows of a trace or session by time.
SELECT {columns}, token_ledger_cost_differs(reported_cost_usd, cost_usd) AS cost_differs
FROM token_ledger_events
WHERE timestamp >= %(since)s AND timestamp < %(until)s AND {column} = %(run_id)s
ORDER BY timestamp, event_id

-- name: limit_statement_time
-- A prompt waits for these statements: they give up after two seconds.
SET LOCAL statement_timeout = '2s'
