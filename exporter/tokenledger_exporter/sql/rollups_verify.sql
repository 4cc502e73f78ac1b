-- Statements that hold the roll-ups against the calls. `{figures}` are the columns of sums, `{sums}` those
-- summed, `{negated}` those of `stored` with the other sign.

-- name: days_to_check
-- Every day with calls or sums, of those that are rolled up and still have their calls.
SELECT DISTINCT day
FROM (
    SELECT date_trunc('day', timestamp, 'UTC') AS day FROM token_ledger_events
    UNION
    SELECT date_trunc('day', bucket, 'UTC') FROM token_ledger_rollup_hours
    UNION
    SELECT bucket::timestamp AT TIME ZONE 'UTC' FROM token_ledger_rollup_days
) AS known
CROSS JOIN token_ledger_rollup_state AS state
WHERE known.day >= state.since AND known.day >= state.frozen_before
ORDER BY day

-- name: compare
-- Sums of a day that are not those of its calls, and levels that are not the sum of the level below. An
-- hour with a mark is out of date and says so: only its levels are compared.
WITH calls AS (
    SELECT
        date_trunc('hour', timestamp, 'UTC') AS bucket,
        {columns},
        {figures_of_calls}
    FROM token_ledger_events AS found
    WHERE timestamp >= %(since)s AND timestamp < %(until)s
),

fresh AS (
    {summed_calls}
),

sides AS (
    SELECT 'hour' AS level, bucket, dimension, value, provider, model, 1 AS side, {figures}
    FROM fresh
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
    COALESCE(sum(calls) FILTER (WHERE side = 1), 0)::bigint AS right_calls,
    COALESCE(sum(cost_usd) FILTER (WHERE side = 1), 0) AS right_usd,
    COALESCE(-sum(calls) FILTER (WHERE side = -1), 0)::bigint AS stored_calls,
    COALESCE(-sum(cost_usd) FILTER (WHERE side = -1), 0) AS stored_usd
FROM sides
GROUP BY level, bucket, dimension, value, provider, model
HAVING ({sums}) <> ({zeros})
ORDER BY bucket, level, dimension, value, provider, model

-- name: compare_weeks
-- Weeks that are not the sum of their days.
SELECT
    'week' AS level,
    bucket::timestamp AT TIME ZONE 'UTC' AS bucket,
    dimension,
    value,
    provider,
    model,
    COALESCE(sum(calls) FILTER (WHERE side = 1), 0)::bigint AS right_calls,
    COALESCE(sum(cost_usd) FILTER (WHERE side = 1), 0) AS right_usd,
    COALESCE(-sum(calls) FILTER (WHERE side = -1), 0)::bigint AS stored_calls,
    COALESCE(-sum(cost_usd) FILTER (WHERE side = -1), 0) AS stored_usd
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

-- name: forget_week
-- A week's sums, before they are made of its days anew.
DELETE FROM token_ledger_rollup_weeks
WHERE bucket = date_trunc('week', %(day)s::timestamptz AT TIME ZONE 'UTC')::date

-- name: remake_week
-- They, of its days that are over.
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

-- name: forget_marks
-- Marks of a day that is built anew.
DELETE FROM token_ledger_rollup_dirty_slices
WHERE bucket >= %(since)s AND bucket < %(until)s

-- name: forget_sums
-- What is rolled up of it.
WITH of_slices AS (
    DELETE FROM token_ledger_rollup_slices WHERE bucket >= %(since)s AND bucket < %(until)s
),

of_hours AS (
    DELETE FROM token_ledger_rollup_hours WHERE bucket >= %(since)s AND bucket < %(until)s
)

DELETE FROM token_ledger_rollup_days
WHERE bucket = (%(since)s::timestamptz AT TIME ZONE 'UTC')::date
