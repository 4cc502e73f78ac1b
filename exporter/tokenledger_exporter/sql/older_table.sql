-- Statements that import an older tracker's table.

-- name: exists
-- Whether an older tracker's table was set aside here.
SELECT to_regclass('token_ledger_events_v0') IS NOT NULL

-- name: add_partitions
-- Months of the older rows.
SELECT token_ledger_add_partitions(min(timestamp)::date, max(timestamp)::date)
FROM token_ledger_events_v0
HAVING count(*) > 0

-- name: copy_rows
-- Rows as JSON, because older releases' tables differ in their columns.
INSERT INTO token_ledger_events (
    event_id, timestamp, scope, provider, model, input_tokens, output_tokens, total_tokens,
    cached_tokens, cost_usd, cost_status, cost_note, user_id, session_id, organization_id,
    feature, team, project, cost_center, app_name, environment, status, duration_ms, metadata
)
SELECT
    (older ->> 'event_id')::uuid,
    (older ->> 'timestamp')::timestamptz,
    'import.token_ledger_events_v0',
    COALESCE(older ->> 'provider', ''),
    COALESCE(older ->> 'model', ''),
    (older ->> 'input_tokens')::bigint,
    (older ->> 'output_tokens')::bigint,
    (older ->> 'total_tokens')::bigint,
    (older ->> 'cached_tokens')::bigint,
    -- A negative cost was a fault of the older tracker: it is no known cost.
    CASE WHEN (older ->> 'cost_usd')::numeric >= 0 THEN (older ->> 'cost_usd')::numeric END,
    CASE WHEN (older ->> 'cost_usd')::numeric >= 0 THEN 'priced' ELSE 'unpriced' END,
    'cost as an older tracker stored it: ' || COALESCE(older ->> 'cost_usd', 'none'),
    COALESCE(older ->> 'user_id', ''),
    COALESCE(older ->> 'session_id', ''),
    COALESCE(older ->> 'organization_id', ''),
    COALESCE(older ->> 'feature', older -> 'metadata' ->> 'feature', ''),
    COALESCE(older ->> 'team', older -> 'metadata' ->> 'team', ''),
    COALESCE(older ->> 'project', older -> 'metadata' ->> 'project', ''),
    COALESCE(older ->> 'cost_center', older -> 'metadata' ->> 'cost_center', ''),
    COALESCE(older ->> 'app_name', ''),
    COALESCE(older ->> 'environment', ''),
    CASE WHEN older ->> 'status' = 'error' THEN 'error' ELSE 'success' END,
    (older ->> 'duration_ms')::double precision,
    COALESCE(NULLIF(older -> 'metadata', 'null'::jsonb), '{}')
FROM (SELECT to_jsonb(v0) AS older FROM token_ledger_events_v0 AS v0) AS rows
ON CONFLICT DO NOTHING
