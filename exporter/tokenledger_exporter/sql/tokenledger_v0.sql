-- Statements that import an older tracker's table. They read its rows as JSON, because older releases'
-- tables differ in their columns.

-- name: exists
-- Whether an older tracker's table is here.
SELECT to_regclass('token_ledger_events_v0') IS NOT NULL

-- name: left_to_import
-- Whether the older table is a view of another schema, if it has rows that are neither in the ledger
-- nor rejected.
SELECT relkind = 'v'
FROM pg_class
WHERE
    oid = to_regclass('token_ledger_events_v0')::oid
    AND EXISTS (
        SELECT
        FROM (SELECT (to_jsonb(v0) ->> 'event_id')::uuid AS event_id FROM token_ledger_events_v0 AS v0) AS older
        WHERE
            NOT EXISTS (
                SELECT FROM token_ledger_events AS events WHERE events.event_id = older.event_id
            )
            AND NOT EXISTS (
                SELECT FROM token_ledger_rejected AS rejected WHERE rejected.event_id = older.event_id
            )
    )

-- name: read_as_utc
-- Reads timestamps without a zone as UTC, in this transaction only.
SELECT set_config('TimeZone', 'UTC', true)

-- name: add_partitions
-- Creates the months that occur. Absurd dates must not create thousands of them.
SELECT token_ledger_add_partitions(month, month)
FROM (
    SELECT DISTINCT date_trunc('month', started_at AT TIME ZONE 'UTC')::date AS month
    FROM (
        SELECT (to_jsonb(v0) ->> 'timestamp')::timestamptz AS started_at
        FROM token_ledger_events_v0 AS v0
    ) AS times
    WHERE started_at >= '2015-01-01 00:00:00+00' AND started_at < now() + interval '1 day'
) AS months

-- name: copy_rows
-- Copies the rows. Costs and counts that are not a finite number of at least zero become unknown. Text
-- is cut as the ledger cuts it, because an index entry is limited to 2,704 bytes.
INSERT INTO token_ledger_events (
    event_id, timestamp, scope, provider, model, input_tokens, output_tokens, total_tokens,
    cached_tokens, cost_usd, cost_status, cost_note, user_id, session_id, organization_id,
    feature, team, project, cost_center, app_name, environment, endpoint, operation, status,
    error_type, duration_ms, metadata
)
SELECT
    (older ->> 'event_id')::uuid,
    started_at,
    'import.token_ledger_events_v0',
    COALESCE(left(older ->> 'provider', 64), ''),
    COALESCE(left(older ->> 'model', 255), ''),
    CASE WHEN input_tokens >= 0 AND input_tokens <= 1e9 THEN input_tokens::bigint END,
    CASE WHEN output_tokens >= 0 AND output_tokens <= 1e9 THEN output_tokens::bigint END,
    CASE WHEN total_tokens >= 0 AND total_tokens <= 2e9 THEN total_tokens::bigint END,
    CASE WHEN cached_tokens >= 0 AND cached_tokens <= 1e9 THEN cached_tokens::bigint END,
    CASE WHEN cost_usd >= 0 AND cost_usd < 'Infinity' THEN cost_usd END,
    CASE WHEN cost_usd >= 0 AND cost_usd < 'Infinity' THEN 'priced' ELSE 'unpriced' END,
    'cost as an older tracker stored it: ' || COALESCE(older ->> 'cost_usd', 'none'),
    COALESCE(left(older ->> 'user_id', 255), ''),
    COALESCE(left(older ->> 'session_id', 255), ''),
    COALESCE(left(older ->> 'organization_id', 255), ''),
    left(COALESCE(older ->> 'feature', older -> 'metadata' ->> 'feature', ''), 255),
    left(COALESCE(older ->> 'team', older -> 'metadata' ->> 'team', ''), 255),
    left(COALESCE(older ->> 'project', older -> 'metadata' ->> 'project', ''), 255),
    left(COALESCE(older ->> 'cost_center', older -> 'metadata' ->> 'cost_center', ''), 255),
    COALESCE(left(older ->> 'app_name', 255), ''),
    COALESCE(left(older ->> 'environment', 255), ''),
    COALESCE(left(older ->> 'endpoint', 255), ''),
    CASE btrim(older ->> 'request_type', '''')
        WHEN 'embedding' THEN 'embeddings'
        WHEN 'completion' THEN 'text_completion'
        ELSE COALESCE(NULLIF(left(btrim(older ->> 'request_type', ''''), 64), ''), 'chat')
    END,
    CASE WHEN older ->> 'status' = 'error' THEN 'error' ELSE 'success' END,
    COALESCE(left(older ->> 'error_type', 255), ''),
    CASE WHEN duration_ms >= 0 AND duration_ms <= 86400000 THEN duration_ms::double precision END,
    jsonb_strip_nulls(jsonb_build_object('page', older -> 'page', 'component', older -> 'component'))
        || CASE jsonb_typeof(older -> 'metadata_extra')
            WHEN 'object' THEN older -> 'metadata_extra'
            ELSE '{}'
        END
        || CASE jsonb_typeof(older -> 'metadata') WHEN 'object' THEN older -> 'metadata' ELSE '{}' END
FROM (
    SELECT
        older,
        (older ->> 'timestamp')::timestamptz AS started_at,
        (older ->> 'input_tokens')::numeric AS input_tokens,
        (older ->> 'output_tokens')::numeric AS output_tokens,
        (older ->> 'total_tokens')::numeric AS total_tokens,
        (older ->> 'cached_tokens')::numeric AS cached_tokens,
        (older ->> 'cost_usd')::numeric AS cost_usd,
        (older ->> 'duration_ms')::numeric AS duration_ms
    FROM (SELECT to_jsonb(v0) AS older FROM token_ledger_events_v0 AS v0) AS rows
) AS figures
WHERE started_at >= '2015-01-01 00:00:00+00' AND started_at < now() + interval '1 day'
ON CONFLICT DO NOTHING

-- name: add_rejected
-- Rejects rows with impossible timestamps, which would need a partition each.
INSERT INTO token_ledger_rejected (event_id, reason, event)
SELECT
    (older ->> 'event_id')::uuid,
    'an older tracker''s row outside 2015-01-01 to tomorrow, at '
        || COALESCE(older ->> 'timestamp', 'none'),
    older
FROM (SELECT to_jsonb(v0) AS older FROM token_ledger_events_v0 AS v0) AS rows
WHERE (
    (older ->> 'timestamp')::timestamptz >= '2015-01-01 00:00:00+00'
    AND (older ->> 'timestamp')::timestamptz < now() + interval '1 day'
) IS NOT TRUE
ON CONFLICT DO NOTHING
