-- Rows that may describe the same calls as the given rows, from the ledger and from the duplicates.
WITH reports AS (
    SELECT *
    FROM unnest(
        %(response_ids)s::text[], %(id_starts)s::timestamptz[], %(id_ends)s::timestamptz[],
        %(sources)s::text[]
    ) AS reports (response_id, started_at, ended_at, source)
),

nested AS (
    SELECT pg_catalog.unnest(%(ancestors)s::uuid[]) AS event_id
    UNION
    SELECT inside.event_id
    FROM pg_catalog.unnest(%(event_ids)s::uuid[]) AS outer_spans (event_id)
    CROSS JOIN LATERAL (
        SELECT parents.event_id
        FROM token_ledger_parents AS parents
        WHERE parents.ancestor_event_id = outer_spans.event_id
        LIMIT %(most_rows)s
    ) AS inside
),

-- Each id once per source, with every hour its rows can be in. This returns each row once and not once
-- per pair, and a source that floods an id does not hide the rows of another source.
response_ids AS (
    SELECT
        reports.response_id,
        reports.source,
        pg_catalog.array_agg(DISTINCT hours.hour) AS hours,
        pg_catalog.min(reports.started_at) - interval '10 milliseconds' AS since,
        pg_catalog.max(reports.ended_at) + interval '10 milliseconds' AS until,
        pg_catalog.min(reports.started_at) - %(tolerance)s::interval AS earliest
    FROM reports
    CROSS JOIN LATERAL (
        VALUES
            (pg_catalog.date_trunc('hour', (reports.started_at - %(tolerance)s::interval) AT TIME ZONE 'UTC')),
            (pg_catalog.date_trunc('hour', (reports.started_at + %(tolerance)s::interval) AT TIME ZONE 'UTC'))
    ) AS hours (hour)
    WHERE pg_catalog.length(reports.response_id) >= 20
    GROUP BY reports.response_id, reports.source
)

SELECT "events"."event_id", "events"."timestamp", "events"."ended_at", "events"."scope", "events"."response_id", "events"."model", "events"."request_model", "events"."ancestors", "events"."cost_status", "events"."input_tokens", "events"."output_tokens", "events"."cached_tokens", "events"."cache_write_tokens", "events"."cache_write_1h_tokens", "events"."reasoning_tokens", "events"."audio_input_tokens", "events"."audio_output_tokens", "events"."image_input_tokens", "events"."image_output_tokens", "events"."web_search_requests", "events"."file_search_requests", "events"."code_execution_requests", "events"."audio_seconds", "events"."input_characters", "events"."images", "events"."cached_audio_tokens", "events"."cached_image_tokens", "events"."user_id", "events"."session_id", "events"."organization_id", "events"."project", "events"."feature", "events"."team", "events"."cost_center", "events"."agent_id", "events"."endpoint", "events"."app_name", "events"."release", "events"."environment", "events"."metadata", "events"."token_organization_id", "events"."operation", "events"."service_tier", "events"."cost_usd", "events"."reported_cost_usd", "events"."details", NULL::uuid AS winner_event_id, NULL::text[] AS copied_fields
FROM nested
INNER JOIN token_ledger_events AS events ON events.event_id = nested.event_id
WHERE
    events.timestamp >= %(since)s
    AND events.timestamp <= %(until)s
UNION ALL
SELECT "events"."event_id", "events"."timestamp", "events"."ended_at", "events"."scope", "events"."response_id", "events"."model", "events"."request_model", "events"."ancestors", "events"."cost_status", "events"."input_tokens", "events"."output_tokens", "events"."cached_tokens", "events"."cache_write_tokens", "events"."cache_write_1h_tokens", "events"."reasoning_tokens", "events"."audio_input_tokens", "events"."audio_output_tokens", "events"."image_input_tokens", "events"."image_output_tokens", "events"."web_search_requests", "events"."file_search_requests", "events"."code_execution_requests", "events"."audio_seconds", "events"."input_characters", "events"."images", "events"."cached_audio_tokens", "events"."cached_image_tokens", "events"."user_id", "events"."session_id", "events"."organization_id", "events"."project", "events"."feature", "events"."team", "events"."cost_center", "events"."agent_id", "events"."endpoint", "events"."app_name", "events"."release", "events"."environment", "events"."metadata", "events"."token_organization_id", "events"."operation", "events"."service_tier", "events"."cost_usd", "events"."reported_cost_usd", "events"."details", NULL, NULL
FROM response_ids
CROSS JOIN LATERAL (
    SELECT *
    FROM token_ledger_events AS candidates
    WHERE
        pg_catalog.date_trunc('hour', candidates.timestamp AT TIME ZONE 'UTC') = ANY(response_ids.hours)
        AND candidates.response_id COLLATE "C" = response_ids.response_id
        AND pg_catalog.length(candidates.response_id) >= 20
        AND candidates.timestamp >= %(since)s
        AND candidates.timestamp <= %(until)s
        AND candidates.timestamp <= response_ids.until
        AND candidates.ended_at >= response_ids.since
        AND candidates.token_organization_id = response_ids.source
    LIMIT %(most_rows)s
) AS events
UNION ALL
SELECT "events"."event_id", "events"."timestamp", "events"."ended_at", "events"."scope", "events"."response_id", "events"."model", "events"."request_model", "events"."ancestors", "events"."cost_status", "events"."input_tokens", "events"."output_tokens", "events"."cached_tokens", "events"."cache_write_tokens", "events"."cache_write_1h_tokens", "events"."reasoning_tokens", "events"."audio_input_tokens", "events"."audio_output_tokens", "events"."image_input_tokens", "events"."image_output_tokens", "events"."web_search_requests", "events"."file_search_requests", "events"."code_execution_requests", "events"."audio_seconds", "events"."input_characters", "events"."images", "events"."cached_audio_tokens", "events"."cached_image_tokens", "events"."user_id", "events"."session_id", "events"."organization_id", "events"."project", "events"."feature", "events"."team", "events"."cost_center", "events"."agent_id", "events"."endpoint", "events"."app_name", "events"."release", "events"."environment", "events"."metadata", "events"."token_organization_id", "events"."operation", "events"."service_tier", "events"."cost_usd", "events"."reported_cost_usd", "events"."details", duplicates.winner_event_id, duplicates.copied_fields
FROM token_ledger_duplicates AS duplicates
CROSS JOIN LATERAL pg_catalog.jsonb_populate_record(NULL::token_ledger_events, duplicates.event) AS events
WHERE
    duplicates.event_id = ANY(%(event_ids)s::uuid[])
    OR duplicates.event_id = ANY(ARRAY(SELECT event_id FROM nested))
    OR duplicates.winner_event_id = ANY(%(event_ids)s::uuid[])
UNION ALL
SELECT "events"."event_id", "events"."timestamp", "events"."ended_at", "events"."scope", "events"."response_id", "events"."model", "events"."request_model", "events"."ancestors", "events"."cost_status", "events"."input_tokens", "events"."output_tokens", "events"."cached_tokens", "events"."cache_write_tokens", "events"."cache_write_1h_tokens", "events"."reasoning_tokens", "events"."audio_input_tokens", "events"."audio_output_tokens", "events"."image_input_tokens", "events"."image_output_tokens", "events"."web_search_requests", "events"."file_search_requests", "events"."code_execution_requests", "events"."audio_seconds", "events"."input_characters", "events"."images", "events"."cached_audio_tokens", "events"."cached_image_tokens", "events"."user_id", "events"."session_id", "events"."organization_id", "events"."project", "events"."feature", "events"."team", "events"."cost_center", "events"."agent_id", "events"."endpoint", "events"."app_name", "events"."release", "events"."environment", "events"."metadata", "events"."token_organization_id", "events"."operation", "events"."service_tier", "events"."cost_usd", "events"."reported_cost_usd", "events"."details", duplicates.winner_event_id, duplicates.copied_fields
FROM response_ids
CROSS JOIN LATERAL (
    SELECT *
    FROM token_ledger_duplicates AS duplicates
    WHERE
        duplicates.response_id COLLATE "C" = response_ids.response_id
        AND pg_catalog.length(duplicates.response_id) >= 20
        AND duplicates.timestamp >= response_ids.earliest
        AND duplicates.timestamp <= response_ids.until
        AND COALESCE(duplicates.event ->> 'token_organization_id'::text, '') = response_ids.source
    LIMIT %(most_rows)s
) AS duplicates
CROSS JOIN LATERAL pg_catalog.jsonb_populate_record(NULL::token_ledger_events, duplicates.event) AS events
