-- Statements that answer questions. `{groups}` and `{labels}` are columns from a fixed list.

-- name: report
-- Money and calls by any dimensions, dearest first.
SELECT
    {labels}
    count(*) AS calls,
    COALESCE(sum(input_tokens), 0)::bigint AS input_tokens,
    COALESCE(sum(output_tokens), 0)::bigint AS output_tokens,
    COALESCE(sum(cached_tokens), 0)::bigint AS cached_tokens,
    COALESCE(sum(cost_usd), 0) AS cost_usd,
    count(*) FILTER (WHERE cost_status = 'priced') AS priced,
    count(*) FILTER (WHERE cost_status = 'partial') AS partial,
    count(*) FILTER (WHERE cost_status = 'estimated') AS estimated,
    count(*) FILTER (WHERE cost_status = 'unpriced') AS unpriced,
    count(*) FILTER (WHERE cost_status = 'unmeasured') AS unmeasured
FROM token_ledger_events
WHERE timestamp >= %(since)s AND timestamp < %(until)s
{grouping}

-- name: grouping
-- Ties are broken by the labels, so that a report is the same every time.
GROUP BY {groups}
ORDER BY cost_usd DESC, {groups}
LIMIT %(limit)s

-- name: losses
-- Records known to be gone in a stretch of time.
SELECT COALESCE(sum(records), 0)::bigint
FROM token_ledger_losses
WHERE recorded_at >= %(since)s AND recorded_at < %(until)s

-- name: privileges
-- Whether this user may write a row, and remove one: doctor's own must not stay.
SELECT
    has_table_privilege('token_ledger_events', 'INSERT'),
    has_table_privilege('token_ledger_events', 'DELETE')

-- name: probe_row
-- What became of doctor's own span.
SELECT cost_usd, cost_status FROM token_ledger_events WHERE trace_id = %(trace_id)s

-- name: remove_probe
-- Doctor leaves nothing behind.
DELETE FROM token_ledger_events WHERE trace_id = %(trace_id)s

-- name: price_age
-- When the price book was last compared with its source.
SELECT max(checked_on) FROM token_ledger_prices
