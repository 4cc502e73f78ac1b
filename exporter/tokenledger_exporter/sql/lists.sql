-- Statements of lists that people page through: calls, runs, and who spends most.
--
-- `{columns}` are columns of the calls, `{column}` is the one that a list is about, `{where}` conditions
-- over parameters, `{rank}` is what calls are sorted by, and `{ranking}` the same with its direction. `{calls}`,
-- `{figures}`, `{states}`, `{errors}` and `{having}` are as in queries.sql.

-- name: calls_page
-- Single calls from a position on, in either direction of an order; by time, `{ranking}` is empty.
SELECT {columns}
FROM token_ledger_events
WHERE
    timestamp >= %(since)s
    AND timestamp < %(until)s
    AND (%(status)s::text = '' OR status = %(status)s::text)
    AND (%(cost_status)s::text = '' OR cost_status = %(cost_status)s::text) {where} {position}
ORDER BY {ranking} timestamp {direction}, event_id {direction}
LIMIT %(limit)s

-- name: cost_rank
-- The place of a call among all by cost; one without a known cost comes last.
COALESCE(cost_usd, '-Infinity'::numeric)

-- name: duration_rank
-- The place of a call among all by duration; one without a known duration comes last.
COALESCE(duration_ms, '-Infinity'::double precision)

-- name: ranked_after
-- The calls that follow the last one of a page; of equal ones, newer calls come first.
AND ({rank}, timestamp, event_id) < (%(rank)s, %(timestamp)s::timestamptz, %(event_id)s::uuid)

-- name: ranked_before
-- The calls that precede the first one of a page.
AND ({rank}, timestamp, event_id) > (%(rank)s, %(timestamp)s::timestamptz, %(event_id)s::uuid)

-- name: older_than
-- The calls that began before the last one of a page.
AND (timestamp, event_id) < (%(timestamp)s::timestamptz, %(event_id)s::uuid)

-- name: newer_than
-- The calls that began after the first one of a page.
AND (timestamp, event_id) > (%(timestamp)s::timestamptz, %(event_id)s::uuid)

-- name: call
-- One call, with all that is known of it.
SELECT {columns}
FROM token_ledger_events
WHERE event_id = %(event_id)s

-- name: calls_of_trace
-- Calls of a trace around the time of one of them.
SELECT {columns}
FROM token_ledger_events
WHERE timestamp >= %(since)s AND timestamp < %(until)s AND trace_id = %(trace_id)s
ORDER BY timestamp, event_id
LIMIT %(limit)s

-- name: start_of_newest
-- The time before which a list does not read: so many calls of the period are newer.
SELECT timestamp
FROM token_ledger_events
WHERE timestamp >= %(since)s AND timestamp < %(until)s {where}
ORDER BY timestamp DESC
OFFSET %(calls)s
LIMIT 1

-- name: runs
-- Traces or sessions with their figures, and the total of all. Rows of one span are one step.
WITH steps AS (
    SELECT
        {column} AS run_id,
        min(timestamp) AS started_at,
        max(COALESCE(ended_at, timestamp)) AS ended_at,
        min(NULLIF(user_id, '')) AS first_user_id,
        max(NULLIF(user_id, '')) AS last_user_id,
        min(NULLIF(feature, '')) AS first_feature,
        max(NULLIF(feature, '')) AS last_feature,
        count(*) FILTER (WHERE status = 'error') AS errors,
        {figures},
        {states}
    FROM token_ledger_events
    WHERE timestamp >= %(since)s AND timestamp < %(until)s AND {column} <> '' {where}
    GROUP BY
        {column}, trace_id, span_id, timestamp, token_organization_id,
        CASE WHEN span_id = '' THEN event_id END
),

runs AS MATERIALIZED (
    SELECT
        run_id,
        min(started_at) AS started_at,
        max(ended_at) AS ended_at,
        min(first_user_id) AS first_user_id,
        max(last_user_id) AS last_user_id,
        min(first_feature) AS first_feature,
        max(last_feature) AS last_feature,
        count(*) AS steps,
        sum(errors)::bigint AS errors,
        {sums},
        {states_of_sums}
    FROM steps
    GROUP BY run_id
),

page AS (
    SELECT * FROM runs
    ORDER BY {order} DESC, run_id
    LIMIT %(limit)s OFFSET %(skipped)s
)

SELECT
    false AS is_total,
    1::bigint AS runs,
    page.*
FROM page
UNION ALL
SELECT
    true AS is_total,
    count(*) AS runs,
    '' AS run_id,
    min(started_at) AS started_at,
    max(ended_at) AS ended_at,
    min(first_user_id) AS first_user_id,
    max(last_user_id) AS last_user_id,
    min(first_feature) AS first_feature,
    max(last_feature) AS last_feature,
    COALESCE(sum(steps), 0)::bigint AS steps,
    COALESCE(sum(errors), 0)::bigint AS errors,
    {sums},
    {states_of_sums}
FROM runs
ORDER BY is_total, {order} DESC, run_id

-- name: spenders
-- The values of one dimension with their figures, highest first, and the total of all.
WITH spenders AS MATERIALIZED (
    SELECT
        {column} AS name,
        {errors} AS errors,
        {figures},
        {states}
    FROM {calls} {where}
    AND starts_with({column}, %(search)s::text)
    GROUP BY {column}
    {having}
),

page AS (
    SELECT * FROM spenders
    ORDER BY {order} DESC, name
    LIMIT %(limit)s OFFSET %(skipped)s
)

SELECT
    false AS is_total,
    1::bigint AS names,
    page.*
FROM page
UNION ALL
SELECT
    true AS is_total,
    count(*) AS names,
    '' AS name,
    COALESCE(sum(errors), 0)::bigint AS errors,
    {sums},
    {states_of_sums}
FROM spenders
ORDER BY is_total, {order} DESC, name

-- name: errors_of_rows
-- The number of rows of calls that failed.
count(*) FILTER (WHERE status = 'error')

-- name: errors_of_sums
-- The number of failed calls in sums.
COALESCE(sum(errors), 0)::bigint

-- name: spenders_by_name
-- Figures of some values of one dimension, for a comparison.
SELECT
    {column} AS name,
    {figures},
    {states}
FROM {calls} {where}
AND {column} = ANY(%(names)s::text[])
GROUP BY {column}
{having}

-- name: seen
-- The first and the last call of each value in a period: two look-ups of an index for each.
SELECT
    names.name,
    seen.first_at,
    seen.last_at
FROM unnest(%(names)s::text[]) AS names (name)
CROSS JOIN LATERAL (
    SELECT
        min(timestamp) AS first_at,
        max(timestamp) AS last_at
    FROM token_ledger_events
    WHERE
        {column} = names.name
        AND timestamp >= %(since)s
        AND timestamp < %(until)s
) AS seen
ORDER BY names.name
