-- Statements of reports and of `TokenLedgerQueries`.
--
-- `{calls}` is what they read, with the start of a WHERE clause: rows of token_ledger_events or sums of
-- token_ledger_sums. `{figures}`, `{states}`, `{failures}`, `{call_count}` and `{having}` aggregate
-- either. `{labels}` and `{groups}` are columns from a fixed list, `{where}` conditions over parameters.

-- name: calls_of_rows
-- The calls of a period.
token_ledger_events
WHERE timestamp >= %(since)s AND timestamp < %(until)s

-- name: calls_of_sums
-- Sums of the calls of a period by one dimension.
token_ledger_sums({dimension}, {largest_bucket}, %(since)s, %(until)s) AS sums (timestamp, day, {column})
WHERE true

-- name: calls_of_all_sums
-- Sums of all calls of a period.
token_ledger_sums({dimension}, {largest_bucket}, %(since)s, %(until)s)
WHERE true

-- name: figures_of_rows
-- Counts and money of rows.
    count(*) AS calls,
    COALESCE(sum(input_tokens), 0)::bigint AS input_tokens,
    COALESCE(sum(output_tokens), 0)::bigint AS output_tokens,
    COALESCE(sum(cached_tokens), 0)::bigint AS cached_tokens,
    COALESCE(sum(cost_usd), 0) AS cost_usd

-- name: figures_of_sums
-- Counts and money of sums.
    COALESCE(sum(calls), 0)::bigint AS calls,
    COALESCE(sum(input_tokens), 0)::bigint AS input_tokens,
    COALESCE(sum(output_tokens), 0)::bigint AS output_tokens,
    COALESCE(sum(cached_tokens), 0)::bigint AS cached_tokens,
    COALESCE(sum(cost_usd), 0) AS cost_usd

-- name: states_of_rows
-- Coverage of rows: how many have which kind of cost.
    count(*) FILTER (WHERE cost_status = 'priced') AS priced,
    count(*) FILTER (WHERE cost_status = 'partial') AS partial,
    count(*) FILTER (WHERE cost_status = 'estimated') AS estimated,
    count(*) FILTER (WHERE cost_status = 'unpriced') AS unpriced,
    count(*) FILTER (WHERE cost_status = 'unmeasured') AS unmeasured,
    count(*) FILTER (WHERE NOT settled) AS not_settled,
    count(*) FILTER (WHERE cost_status = 'reported') AS reported,
    count(*) FILTER (WHERE token_ledger_cost_differs(reported_cost_usd, cost_usd)) AS cost_differs

-- name: states_of_sums
-- Coverage of sums.
    COALESCE(sum(priced), 0)::bigint AS priced,
    COALESCE(sum(partial), 0)::bigint AS partial,
    COALESCE(sum(estimated), 0)::bigint AS estimated,
    COALESCE(sum(unpriced), 0)::bigint AS unpriced,
    COALESCE(sum(unmeasured), 0)::bigint AS unmeasured,
    COALESCE(sum(not_settled), 0)::bigint AS not_settled,
    COALESCE(sum(reported), 0)::bigint AS reported,
    COALESCE(sum(cost_differs), 0)::bigint AS cost_differs

-- name: failures_of_rows
-- Calls and errors of rows.
    count(*) AS calls,
    count(*) FILTER (WHERE status = 'error') AS errors

-- name: failures_of_sums
-- Calls and errors of sums.
    COALESCE(sum(calls), 0)::bigint AS calls,
    COALESCE(sum(errors), 0)::bigint AS errors

-- name: call_count_of_rows
-- The number of rows.
count(*)

-- name: call_count_of_sums
-- The number of calls in sums.
COALESCE(sum(calls), 0)::bigint

-- name: having_of_sums
-- A group whose sums cancel out has no calls.
HAVING sum(calls) <> 0

-- name: report
-- Money and calls by any dimensions, highest cost first.
SELECT
    {labels}
    {figures},
    {states},
    {context}
FROM {calls} {where}
{grouping}

-- name: grouping
-- Ties are broken by the labels, so that a report is the same every time.
GROUP BY {groups}
{having}
ORDER BY {order}, {groups}
LIMIT %(limit)s

-- name: order_by_tokens
-- Input and output tokens together, most first.
COALESCE(sum(input_tokens), 0) + COALESCE(sum(output_tokens), 0) DESC

-- name: report_of_top_users
-- Money and calls of the top users, and the total of all. There are many users: the top ones are chosen
-- by one sum, and only their other figures are added up. Calls without a sum are read once.
WITH unsummed AS MATERIALIZED (
    SELECT
        value, calls, input_tokens, output_tokens, cached_tokens, cost_usd, priced, partial,
        estimated, unpriced, unmeasured, not_settled, reported, cost_differs
    FROM token_ledger_unsummed_calls('user', 'week', %(since)s, %(until)s)
),

user_sums AS NOT MATERIALIZED (
    SELECT
        value AS user_id, calls, input_tokens, output_tokens, cached_tokens, cost_usd, priced,
        partial, estimated, unpriced, unmeasured, not_settled, reported, cost_differs
    FROM token_ledger_stored_sums('user', 'week', %(since)s, %(until)s)
    UNION ALL
    SELECT * FROM unsummed
),

total_sums AS NOT MATERIALIZED (
    SELECT
        calls, input_tokens, output_tokens, cached_tokens, cost_usd, priced, partial, estimated,
        unpriced, unmeasured, not_settled, reported, cost_differs
    FROM token_ledger_stored_sums('', 'week', %(since)s, %(until)s)
    UNION ALL
    SELECT
        calls, input_tokens, output_tokens, cached_tokens, cost_usd, priced, partial, estimated,
        unpriced, unmeasured, not_settled, reported, cost_differs
    FROM unsummed
),

top_users AS MATERIALIZED (
    SELECT user_id
    FROM user_sums
    GROUP BY user_id
    {having}
    ORDER BY COALESCE(sum({order}), 0) DESC, user_id
    LIMIT %(limit)s
)

SELECT
    false AS is_total,
    user_id AS label_0,
    {figures},
    {states},
    {context}
FROM user_sums
-- An index can find each of an array's values.
WHERE user_id = ANY((SELECT array_agg(user_id) FROM top_users)::text[])
GROUP BY user_id
UNION ALL
SELECT
    true AS is_total,
    '' AS label_0,
    {figures},
    {states},
    {context}
FROM total_sums
ORDER BY is_total, {order} DESC, label_0

-- name: report_as_of
-- The report as it was at an earlier time: rows recorded by then, at the cost they had then. The next
-- repricing after that time says the cost before it.
SELECT
    {labels}
    count(*) AS calls,
    COALESCE(sum(input_tokens), 0)::bigint AS input_tokens,
    COALESCE(sum(output_tokens), 0)::bigint AS output_tokens,
    COALESCE(sum(cached_tokens), 0)::bigint AS cached_tokens,
    COALESCE(sum(earlier_cost_usd), 0) AS cost_usd,
    count(*) FILTER (WHERE earlier_cost_status = 'priced') AS priced,
    count(*) FILTER (WHERE earlier_cost_status = 'partial') AS partial,
    count(*) FILTER (WHERE earlier_cost_status = 'estimated') AS estimated,
    count(*) FILTER (WHERE earlier_cost_status = 'unpriced') AS unpriced,
    count(*) FILTER (WHERE earlier_cost_status = 'unmeasured') AS unmeasured,
    count(*) FILTER (WHERE NOT settled) AS not_settled,
    count(*) FILTER (WHERE earlier_cost_status = 'reported') AS reported,
    count(*) FILTER (WHERE token_ledger_cost_differs(reported_cost_usd, earlier_cost_usd))
        AS cost_differs,
    {context}
FROM (
    SELECT
        events.*,
        CASE
            WHEN next_repricing.old_cost_status IS NULL THEN events.cost_usd
            ELSE next_repricing.old_cost_usd
        END AS earlier_cost_usd,
        COALESCE(next_repricing.old_cost_status, events.cost_status) AS earlier_cost_status
    FROM token_ledger_events AS events
    LEFT JOIN LATERAL (
        SELECT repricings.old_cost_usd, repricings.old_cost_status
        FROM token_ledger_repricings AS repricings
        WHERE
            repricings.event_id = events.event_id
            AND repricings.recorded_at > %(as_of)s
        ORDER BY repricings.recorded_at
        LIMIT 1
    ) AS next_repricing ON true
    WHERE events.recorded_at <= %(as_of)s
) AS rows_then
WHERE timestamp >= %(since)s AND timestamp < %(until)s {where}
{grouping}

-- name: context
-- What a report says besides its groups. It is in every row, which saves a second statement.
    (
        SELECT COALESCE(sum(losses.records), 0)::bigint
        FROM token_ledger_losses AS losses
        WHERE
            losses.recorded_at >= %(since)s
            AND losses.recorded_at < %(lost_until)s
            AND (losses.organization_id = '' OR losses.organization_id = ANY(%(organizations)s::text[]))
    ) AS lost,
    (
        SELECT COALESCE(sum(losses.records), 0)::bigint
        FROM token_ledger_losses AS losses
        WHERE
            losses.recorded_at >= %(since)s
            AND losses.recorded_at < %(lost_until)s
            AND losses.organization_id <> ''
            AND losses.organization_id <> ALL(%(organizations)s::text[])
    ) AS lost_of_tenants,
    (SELECT token_ledger_duplicate_totals(current_user::text, %(since)s, %(until)s)) AS duplicate_totals,
    COALESCE(
        (
            SELECT max(prices.checked_on)
            FROM token_ledger_prices AS prices
            WHERE prices.source LIKE 'genai-prices %%'
        ),
        (SELECT max(prices.checked_on) FROM token_ledger_prices AS prices)
    ) AS checked_on

-- name: losses
-- Records that the operator's own sources lost in a period.
SELECT COALESCE(sum(records), 0)::bigint AS records
FROM token_ledger_losses
WHERE recorded_at >= %(since)s AND recorded_at < %(until)s AND organization_id = ''

-- name: price_age
-- When the price list was last compared with its source; custom prices do not count.
SELECT COALESCE(
    (SELECT max(checked_on) FROM token_ledger_prices WHERE source LIKE 'genai-prices %%'),
    (SELECT max(checked_on) FROM token_ledger_prices)
) AS checked_on

-- name: rows_to_price
-- Every call of a period, with what its price is computed from.
SELECT
    {labels}
    {columns}
FROM token_ledger_events
WHERE timestamp >= %(since)s AND timestamp < %(until)s {where}

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
-- Money and calls by hour as the clocks of a time zone show it; an hour shown twice is two groups.
SELECT
    date_trunc('hour', timestamp, %(zone)s::text) AS bucket,
    {figures},
    {states}
FROM {calls} {where}
GROUP BY 1
{having}

-- name: errors
-- How many calls failed.
SELECT
    {failures},
    {states}
FROM {calls} {where}

-- name: top_errors
-- The most common errors.
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
-- Latency of responses and of their first tokens.
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
-- Cached tokens by the price sheet of their calls, and by the band of the sheet that applies.
SELECT
    {labels}
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
GROUP BY {groups} events.price_id, COALESCE(band.above_input_tokens, 0)
ORDER BY {groups} events.price_id, COALESCE(band.above_input_tokens, 0)

-- name: cache_totals
-- All input tokens, and how many of them came from a cache.
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
    usd, per, valid_from, valid_to, daily_from, daily_to, source, weekdays
FROM token_ledger_prices
WHERE price_id = ANY(%(price_ids)s::text[])

-- name: page
-- The next calls in time order.
SELECT {columns}
FROM token_ledger_events
WHERE true {where} {bounds}
ORDER BY timestamp, event_id
LIMIT {limit}

-- name: newest_calls
-- Single calls of a period, newest first.
SELECT {columns}
FROM token_ledger_events
WHERE timestamp >= %(since)s AND timestamp < %(until)s {where}
ORDER BY timestamp DESC, event_id DESC
LIMIT %(limit)s

-- name: has_calls
-- Whether there is any call.
SELECT EXISTS (SELECT FROM token_ledger_events)

-- name: ids_between
-- The ids that begin with the same digits.
SELECT event_id
FROM token_ledger_events
WHERE event_id >= %(first)s AND event_id <= %(last)s
ORDER BY event_id
LIMIT %(limit)s

-- name: page_since
-- Start of a page.
AND timestamp >= %(since)s

-- name: page_until
-- End of a page.
AND timestamp < %(until)s

-- name: page_after
-- The last call of the page before.
AND (timestamp, event_id) > (%(after_timestamp)s::timestamptz, %(after_event_id)s::uuid)

-- name: aggregate
-- Sums, counts and averages by any dimensions, in the order of the groups.
SELECT
    {labels}
    {metrics},
    {states}
FROM {calls} {where}
{grouping}

-- name: aggregate_grouping
-- Grouping of an aggregate.
GROUP BY {groups}
{having}
ORDER BY {groups}

-- name: metrics
-- Every metric of an aggregate.
    COALESCE(sum(input_tokens), 0)::bigint AS sum_input,
    COALESCE(sum(output_tokens), 0)::bigint AS sum_output,
    COALESCE(sum(total_tokens), 0)::bigint AS sum_total,
    COALESCE(sum(cost_usd), 0) AS sum_cost,
    {call_count} AS count_requests
