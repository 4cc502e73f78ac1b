-- Statements that compare the roll-ups with the calls. `{figures}` are their columns of sums, `{sums}` sums
-- each of them, `{negated}` are those of `stored` with the opposite sign.

-- name: days_to_check
-- Days with calls or sums that are rolled up and whose calls were not dropped.
SELECT DISTINCT day
FROM (
    SELECT date_trunc('day', timestamp, 'UTC') AS day FROM token_ledger_events
    UNION
    SELECT date_trunc('day', bucket, 'UTC') FROM token_ledger_rollup_hours
    UNION
    SELECT bucket::timestamp AT TIME ZONE 'UTC' FROM token_ledger_rollup_days
) AS days
CROSS JOIN token_ledger_rollup_state AS state
WHERE days.day >= state.since AND days.day >= state.frozen_before
ORDER BY day

-- name: both_sides
-- What the sums should be, and what is stored.
    COALESCE(sum(calls) FILTER (WHERE side = 1), 0)::bigint AS right_calls,
    COALESCE(sum(cost_usd) FILTER (WHERE side = 1), 0) AS right_usd,
    COALESCE(-sum(calls) FILTER (WHERE side = -1), 0)::bigint AS stored_calls,
    COALESCE(-sum(cost_usd) FILTER (WHERE side = -1), 0) AS stored_usd

-- name: compare
-- Sums of a day that differ from its calls, and levels that differ from the sum of the level below. The
-- sums of an hour with a mark are known to be out of date: only its levels are compared.
WITH calls AS (
    SELECT
        date_trunc('hour', timestamp, 'UTC') AS bucket,
        {columns},
        {figures_of_calls}
    FROM token_ledger_events AS events
    WHERE timestamp >= %(since)s AND timestamp < %(until)s
),

sums_of_calls AS (
    {summed_calls}
),

sides AS (
    SELECT 'hour' AS level, bucket, dimension, value, provider, model, 1 AS side, {figures}
    FROM sums_of_calls
    WHERE bucket NOT IN (SELECT date_trunc('hour', marks.bucket, 'UTC') FROM token_ledger_rollup_dirty_slices AS marks)
    UNION ALL
    SELECT 'hour', bucket, dimension, value, provider, model, -1, {negated}
    FROM token_ledger_rollup_hours AS stored
    WHERE
        bucket >= %(since)s
        AND bucket < %(until)s
        AND bucket NOT IN (SELECT date_trunc('hour', marks.bucket, 'UTC') FROM token_ledger_rollup_dirty_slices AS marks)
    UNION ALL
    SELECT
        'slices of hour', date_trunc('hour', bucket, 'UTC'), dimension, value, provider, model, 1,
        {figures}
    FROM token_ledger_rollup_slices
    WHERE bucket >= %(since)s AND bucket < %(until)s
    UNION ALL
    SELECT 'slices of hour', bucket, dimension, value, provider, model, -1, {negated}
    FROM token_ledger_rollup_hours AS stored
    WHERE
        bucket >= %(since)s
        AND bucket < %(until)s
        AND bucket >= (SELECT state.hot_since FROM token_ledger_rollup_state AS state)
    UNION ALL
    SELECT
        'day', date_trunc('day', bucket, 'UTC'), dimension, value, provider, model, 1, {figures}
    FROM token_ledger_rollup_hours
    WHERE bucket >= %(since)s AND bucket < %(until)s
    UNION ALL
    SELECT
        'day', bucket::timestamp AT TIME ZONE 'UTC', dimension, value, provider, model, -1,
        {negated}
    FROM token_ledger_rollup_days AS stored
    WHERE bucket = (%(since)s::timestamptz AT TIME ZONE 'UTC')::date
)

SELECT
    level,
    bucket,
    dimension,
    value,
    provider,
    model,
{both_sides}
FROM sides
GROUP BY level, bucket, dimension, value, provider, model
HAVING ({sums}) <> ({zeros})
ORDER BY bucket, level, dimension, value, provider, model

-- name: compare_weeks
-- Weeks that differ from the sum of their days.
SELECT
    'week' AS level,
    bucket::timestamp AT TIME ZONE 'UTC' AS bucket,
    dimension,
    value,
    provider,
    model,
{both_sides}
FROM (
    SELECT
        date_trunc('week', bucket::timestamp)::date AS bucket,
        dimension,
        value,
        provider,
        model,
        1 AS side,
        {figures}
    FROM token_ledger_rollup_days
    WHERE bucket < (SELECT state.weeks_until FROM token_ledger_rollup_state AS state)
    UNION ALL
    SELECT bucket, dimension, value, provider, model, -1, {negated}
    FROM token_ledger_rollup_weeks AS stored
) AS sides
GROUP BY bucket, dimension, value, provider, model
HAVING ({sums}) <> ({zeros})
ORDER BY bucket, dimension, value, provider, model

-- name: delete_week
-- Deletes a week's sums, before they are computed again.
DELETE FROM token_ledger_rollup_weeks
WHERE bucket = date_trunc('week', %(day)s::timestamptz AT TIME ZONE 'UTC')::date

-- name: rebuild_week
-- Computes a week's sums from its days before weeks_until.
INSERT INTO token_ledger_rollup_weeks (bucket, dimension, value, provider, model, {figures})
SELECT
    date_trunc('week', days.bucket::timestamp)::date AS week,
    days.dimension,
    days.value,
    days.provider,
    days.model,
    {sums}
FROM token_ledger_rollup_days AS days
CROSS JOIN token_ledger_rollup_state AS state
WHERE
    days.bucket < state.weeks_until
    AND days.bucket >= date_trunc('week', %(day)s::timestamptz AT TIME ZONE 'UTC')::date
    AND days.bucket < date_trunc('week', %(day)s::timestamptz AT TIME ZONE 'UTC')::date + 7
GROUP BY week, days.dimension, days.value, days.provider, days.model

-- name: delete_marks
-- Deletes the marks of a day that is rebuilt.
DELETE FROM token_ledger_rollup_dirty_slices
WHERE bucket >= %(since)s AND bucket < %(until)s

-- name: delete_sums
-- Deletes the sums of a day that is rebuilt.
WITH deleted_slices AS (
    DELETE FROM token_ledger_rollup_slices WHERE bucket >= %(since)s AND bucket < %(until)s
),

deleted_hours AS (
    DELETE FROM token_ledger_rollup_hours WHERE bucket >= %(since)s AND bucket < %(until)s
)

DELETE FROM token_ledger_rollup_days
WHERE bucket = (%(since)s::timestamptz AT TIME ZONE 'UTC')::date
