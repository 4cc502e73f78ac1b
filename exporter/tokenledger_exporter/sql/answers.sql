-- Statements of `TokenLedgerQueries`. Braces as in read.sql; `{metrics}` are sums from a fixed list,
-- `{counted}` the number of calls and `{having}` what keeps groups without calls out.

-- name: days
-- Money and calls by calendar day of a time zone.
SELECT
    (timestamp AT TIME ZONE %(zone)s::text)::date AS bucket,
    {figures},
    {states}
FROM {calls} {where}
GROUP BY 1
{having}

-- name: hours
-- Money and calls by hour as the clocks of a time zone show it; an hour shown twice is two.
SELECT
    date_trunc('hour', timestamp, %(zone)s::text) AS bucket,
    {figures},
    {states}
FROM {calls} {where}
GROUP BY 1
{having}

-- name: errors
-- How many calls ended how.
SELECT
    {failures},
    {states}
FROM {calls} {where}

-- name: failures
-- What is summed of calls for it.
    count(*) AS calls,
    count(*) FILTER (WHERE status = 'error') AS errors

-- name: top_errors
-- The commonest failures.
SELECT
    error_type,
    provider,
    model,
    {figures},
    {states}
FROM token_ledger_events
WHERE timestamp >= %(since)s AND timestamp < %(until)s AND status = 'error' {where}
GROUP BY error_type, provider, model
ORDER BY calls DESC, error_type, provider, model
LIMIT %(limit)s

-- name: latency
-- How long answers took, and how long their first token did.
SELECT
    count(*) AS calls,
    count(duration_ms) AS durations,
    avg(duration_ms) AS duration_average,
    percentile_cont(ARRAY[0.5, 0.9, 0.95, 0.99]) WITHIN GROUP (ORDER BY duration_ms)
        AS duration_percentiles,
    count(time_to_first_token_ms) AS first_tokens,
    avg(time_to_first_token_ms) AS first_token_average,
    percentile_cont(ARRAY[0.5, 0.9, 0.95, 0.99]) WITHIN GROUP (ORDER BY time_to_first_token_ms)
        AS first_token_percentiles,
    {states}
FROM token_ledger_events
WHERE timestamp >= %(since)s AND timestamp < %(until)s {where}

-- name: cached_by_sheet
-- Cached tokens by the price sheet of their calls and by the band of it the call's length is in.
SELECT
    events.price_id,
    COALESCE(band.above_input_tokens, 0) AS above_input_tokens,
    sum(
        COALESCE(events.cached_tokens, 0)
        - COALESCE(events.cached_audio_tokens, 0)
        - COALESCE(events.cached_image_tokens, 0)
    )::bigint AS text_tokens,
    COALESCE(sum(events.cached_audio_tokens), 0)::bigint AS audio_tokens,
    COALESCE(sum(events.cached_image_tokens), 0)::bigint AS image_tokens,
    COALESCE(sum(events.cached_cost_usd), 0) AS cached_cost_usd
FROM token_ledger_events AS events
LEFT JOIN LATERAL (
    SELECT prices.above_input_tokens
    FROM token_ledger_prices AS prices
    WHERE
        prices.price_id = events.price_id
        AND prices.above_input_tokens < events.input_tokens
    ORDER BY prices.above_input_tokens DESC
    LIMIT 1
) AS band ON true
WHERE
    events.timestamp >= %(since)s
    AND events.timestamp < %(until)s
    AND events.cached_tokens > 0 {where}
GROUP BY 1, 2
ORDER BY 1, 2

-- name: cache_totals
-- All input, and how much of it came from a cache.
SELECT
    COALESCE(sum(input_tokens), 0)::bigint AS input_tokens,
    COALESCE(sum(cached_tokens), 0)::bigint AS cached_tokens,
    {states}
FROM token_ledger_events
WHERE timestamp >= %(since)s AND timestamp < %(until)s {where}

-- name: sheets
-- The price sheets with these ids.
SELECT
    price_id, kind, above_input_tokens, provider, model, model_pattern, match_order, tier,
    usd, per, valid_from, valid_to, daily_from, daily_to, source
FROM token_ledger_prices
WHERE price_id = ANY(%(price_ids)s::text[])

-- name: page
-- The next calls after a place in the order of time.
SELECT {columns}
FROM token_ledger_events
WHERE true {where} {after}
ORDER BY timestamp, event_id
LIMIT {limit}

-- name: page_since
-- Where a page begins at the earliest.
AND timestamp >= %(since)s

-- name: page_until
-- Where it ends at the latest.
AND timestamp < %(until)s

-- name: after
-- The place a page ended at.
AND (timestamp, event_id) > (%(after_timestamp)s::timestamptz, %(after_event_id)s::uuid)

-- name: aggregate
-- Sums, counts and averages by any dimensions, in the order of the groups.
SELECT
    {labels}
    {metrics},
    {states}
FROM {calls} {where}
{grouping}

-- name: by_groups
-- How an aggregate is grouped.
GROUP BY {groups}
{having}
ORDER BY {groups}

-- name: metrics
-- Every metric of an aggregate.
COALESCE(sum(input_tokens), 0)::bigint AS sum_input,
COALESCE(sum(output_tokens), 0)::bigint AS sum_output,
COALESCE(sum(total_tokens), 0)::bigint AS sum_total,
COALESCE(sum(cost_usd), 0) AS sum_cost,
{counted} AS count_requests
