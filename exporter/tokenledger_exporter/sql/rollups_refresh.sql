-- Statements that maintain the roll-ups. `{figures}` are their columns of sums; `{sums}` sums each of
-- them, and `{named_sums}` does so under their names; `{negated}` are those of `stored` with the opposite
-- sign; `{added}` adds those of `excluded` to the stored ones. `{level}` is a roll-up table, `{columns}`
-- are the dimension columns of calls.

-- name: try_lock
-- Takes the roll-up lock: two refreshers at once would make the sums wrong permanently. It must be a
-- statement of its own, before any that counts.
SELECT token_ledger_take_lock(current_user::text, 'rollups', false) AS is_ours

-- name: lock
-- Waits for the roll-up lock.
SELECT token_ledger_take_lock(current_user::text, 'rollups', true)

-- name: raise_work_mem
-- Raises the memory limit, so that sums of many values are not written to disk.
SET LOCAL work_mem = '64MB'

-- name: mark
-- Marks slices whose calls change in this transaction.
INSERT INTO token_ledger_rollup_dirty_slices (bucket)
SELECT unnest(%(slices)s::timestamptz[])

-- name: move_on
-- Deletes slices from before the last whole hour. Their sums are in the hours.
WITH moved AS (
    UPDATE token_ledger_rollup_state
    SET hot_since = date_trunc('hour', now(), 'UTC') - interval '1 hour'
    WHERE hot_since < date_trunc('hour', now(), 'UTC') - interval '1 hour'
    RETURNING hot_since
)

DELETE FROM token_ledger_rollup_slices
USING moved
WHERE token_ledger_rollup_slices.bucket < moved.hot_since

-- name: take_hot
-- Takes dirty slices, oldest first. Transactions that commit later have marks of their own.
DELETE FROM token_ledger_rollup_dirty_slices
WHERE bucket IN (
    SELECT DISTINCT marks.bucket
    FROM token_ledger_rollup_dirty_slices AS marks
    CROSS JOIN token_ledger_rollup_state AS state
    WHERE
        marks.bucket >= state.hot_since
        AND marks.bucket >= %(since)s
        AND marks.bucket < %(until)s
        AND marks.bucket <> ALL(%(skipped)s::timestamptz[])
    ORDER BY marks.bucket
    LIMIT %(limit)s
)
RETURNING bucket

-- name: take_cold
-- Takes all marks of some hours that have no slices, newest first. Marks of calls that are not rolled up
-- or that retention dropped are deleted without a recomputation.
WITH hours AS (
    SELECT DISTINCT date_trunc('hour', marks.bucket, 'UTC') AS bucket
    FROM token_ledger_rollup_dirty_slices AS marks
    CROSS JOIN token_ledger_rollup_state AS state
    WHERE
        marks.bucket < state.hot_since
        AND marks.bucket >= %(since)s
        AND marks.bucket < %(until)s
        AND date_trunc('hour', marks.bucket, 'UTC') <> ALL(%(skipped)s::timestamptz[])
    ORDER BY 1 DESC
    LIMIT %(limit)s
),

taken AS (
    DELETE FROM token_ledger_rollup_dirty_slices
    WHERE date_trunc('hour', bucket, 'UTC') IN (SELECT hours.bucket FROM hours)
    RETURNING date_trunc('hour', bucket, 'UTC') AS bucket
)

SELECT
    taken.bucket,
    bool_and(taken.bucket >= state.since AND taken.bucket >= state.frozen_before) AS is_rolled_up
FROM taken
CROSS JOIN token_ledger_rollup_state AS state
GROUP BY taken.bucket

-- name: figures_of_calls
-- Columns of each call that are summed; the call is `events`.
events.input_tokens,
events.output_tokens,
events.total_tokens,
events.cached_tokens,
events.cost_usd,
events.status = 'error' AS is_error,
events.cost_status = 'priced' AS is_priced,
events.cost_status = 'partial' AS is_partial,
events.cost_status = 'estimated' AS is_estimated,
events.cost_status = 'unpriced' AS is_unpriced,
events.cost_status = 'unmeasured' AS is_unmeasured,
NOT events.settled AS is_not_settled,
events.cost_status = 'reported' AS is_reported,
token_ledger_cost_differs(events.reported_cost_usd, events.cost_usd) AS differs

-- name: summed_calls
-- Sums of `calls` by every dimension at once.
SELECT
    bucket,
    {dimension} AS dimension,
    {value} AS value,
    COALESCE(provider, '') AS provider,
    COALESCE(model, '') AS model,
    count(*) AS calls,
    COALESCE(sum(input_tokens), 0) AS input_tokens,
    COALESCE(sum(output_tokens), 0) AS output_tokens,
    COALESCE(sum(total_tokens), 0) AS total_tokens,
    COALESCE(sum(cached_tokens), 0) AS cached_tokens,
    COALESCE(sum(cost_usd), 0) AS cost_usd,
    count(*) FILTER (WHERE is_error) AS errors,
    count(*) FILTER (WHERE is_priced) AS priced,
    count(*) FILTER (WHERE is_partial) AS partial,
    count(*) FILTER (WHERE is_estimated) AS estimated,
    count(*) FILTER (WHERE is_unpriced) AS unpriced,
    count(*) FILTER (WHERE is_unmeasured) AS unmeasured,
    count(*) FILTER (WHERE is_not_settled) AS not_settled,
    count(*) FILTER (WHERE is_reported) AS reported,
    count(*) FILTER (WHERE differs) AS cost_differs
FROM calls
GROUP BY GROUPING SETS (
    {sets}
)

-- name: recompute
-- Adds the difference between the calls of some buckets and their roll-up to every level. It is one
-- statement, so both are from one snapshot.
WITH calls AS MATERIALIZED (
    SELECT
        buckets.bucket,
        {columns},
        {figures_of_calls}
    FROM unnest(%(buckets)s::timestamptz[]) AS buckets (bucket)
    CROSS JOIN LATERAL (
        SELECT *
        FROM token_ledger_events
        WHERE
            timestamp >= buckets.bucket
            AND timestamp < buckets.bucket + %(length)s::interval
        OFFSET 0
    ) AS events
),

sums_of_calls AS (
    {summed_calls}
),

difference AS MATERIALIZED (
    SELECT
        bucket, dimension, value, provider, model,
        {named_sums}
    FROM (
        SELECT
            bucket, dimension, value, provider, model,
            {figures}
        FROM sums_of_calls
        UNION ALL
        SELECT
            bucket, dimension, value, provider, model,
            {negated}
        FROM {level} AS stored
        WHERE stored.bucket = ANY(%(buckets)s::timestamptz[]) AND NOT %(add)s::boolean
    ) AS both_sides
    GROUP BY bucket, dimension, value, provider, model
    HAVING
        (
            {sums}
        ) <> (
            {zeros}
        )
),

{other_level},

add_to_hours AS (
    INSERT INTO token_ledger_rollup_hours AS stored (
        bucket, dimension, value, provider, model,
        {figures}
    )
    SELECT
        date_trunc('hour', bucket, 'UTC') AS hour, dimension, value, provider, model,
        {sums}
    FROM difference
    GROUP BY hour, dimension, value, provider, model
    ON CONFLICT (bucket, dimension, value, provider, model) DO UPDATE
    SET
        {added}
),

add_to_days AS (
    INSERT INTO token_ledger_rollup_days AS stored (
        bucket, dimension, value, provider, model,
        {figures}
    )
    SELECT
        (bucket AT TIME ZONE 'UTC')::date AS day, dimension, value, provider, model,
        {sums}
    FROM difference
    GROUP BY day, dimension, value, provider, model
    ON CONFLICT (dimension, bucket, value, provider, model) DO UPDATE
    SET
        {added}
)

SELECT count(*) AS changed, count(*) FILTER (WHERE calls < 0::numeric) AS with_fewer_calls FROM difference

-- name: add_to_slices
-- The level below hours, for buckets that are slices.
add_to_slices AS (
    INSERT INTO token_ledger_rollup_slices AS stored (
        bucket, dimension, value, provider, model,
        {figures}
    )
    SELECT
        bucket, dimension, value, provider, model,
        {figures}
    FROM difference
    ON CONFLICT (bucket, dimension, value, provider, model) DO UPDATE
    SET
        {added}
)

-- name: add_to_weeks
-- The level above days, for buckets that are hours. Days that have slices are not in their week yet.
add_to_weeks AS (
    INSERT INTO token_ledger_rollup_weeks AS stored (
        bucket, dimension, value, provider, model,
        {figures}
    )
    SELECT
        date_trunc('week', bucket AT TIME ZONE 'UTC')::date AS week,
        dimension,
        value,
        provider,
        model,
        {sums}
    FROM difference
    WHERE
        (bucket AT TIME ZONE 'UTC')::date
        < (SELECT state.weeks_until FROM token_ledger_rollup_state AS state)
    GROUP BY week, dimension, value, provider, model
    ON CONFLICT (dimension, bucket, value, provider, model) DO UPDATE
    SET
        {added}
)

-- name: close_days
-- Adds days without slices to their week, one week at a time. From then on a change of such a day is
-- added to its week, too.
WITH next_days AS (
    SELECT
        state.weeks_until AS since,
        LEAST(
            (LEAST(state.hot_since, now()) AT TIME ZONE 'UTC')::date,
            date_trunc('week', first.bucket::timestamp)::date + 7
        ) AS until
    FROM token_ledger_rollup_state AS state
    CROSS JOIN LATERAL (
        SELECT min(days.bucket) AS bucket
        FROM token_ledger_rollup_days AS days
        WHERE days.dimension = '' AND days.bucket >= state.weeks_until
    ) AS first
    WHERE first.bucket < (LEAST(state.hot_since, now()) AT TIME ZONE 'UTC')::date
),

added AS (
    INSERT INTO token_ledger_rollup_weeks AS stored (
        bucket, dimension, value, provider, model,
        {figures}
    )
    SELECT
        date_trunc('week', days.bucket::timestamp)::date AS week,
        days.dimension,
        days.value,
        days.provider,
        days.model,
        {sums}
    FROM next_days
    INNER JOIN token_ledger_rollup_days AS days
        ON days.bucket >= next_days.since AND days.bucket < next_days.until
    WHERE days.dimension = ANY(%(dimensions)s::text[])
    GROUP BY week, days.dimension, days.value, days.provider, days.model
    ORDER BY days.dimension, week, days.value, days.provider, days.model
    ON CONFLICT (dimension, bucket, value, provider, model) DO UPDATE
    SET
        {added}
)

UPDATE token_ledger_rollup_state
SET weeks_until = next_days.until
FROM next_days

-- name: delete_empty
-- Deletes sums of groups that have no calls left.
WITH empty_slices AS (
    DELETE FROM token_ledger_rollup_slices
    WHERE bucket = ANY(%(buckets)s::timestamptz[]) AND calls = 0
),

empty_hours AS (
    DELETE FROM token_ledger_rollup_hours
    WHERE
        calls = 0
        AND bucket IN (
            SELECT date_trunc('hour', changed, 'UTC') FROM unnest(%(buckets)s::timestamptz[]) AS changed
        )
),

empty_weeks AS (
    DELETE FROM token_ledger_rollup_weeks
    WHERE
        calls = 0
        AND bucket IN (
            SELECT date_trunc('week', changed AT TIME ZONE 'UTC')::date
            FROM unnest(%(buckets)s::timestamptz[]) AS changed
        )
)

DELETE FROM token_ledger_rollup_days
WHERE
    calls = 0
    AND bucket IN (
        SELECT (changed AT TIME ZONE 'UTC')::date FROM unnest(%(buckets)s::timestamptz[]) AS changed
    )

-- name: newest_not_rolled_up
-- The newest call that is not rolled up, if there is one.
SELECT max(events.timestamp) AS newest
FROM token_ledger_events AS events
WHERE events.timestamp < (SELECT state.since FROM token_ledger_rollup_state AS state)

-- name: begin
-- Starts to roll up a ledger's past, if it has not started: slices begin with the last whole hour.
UPDATE token_ledger_rollup_state
SET hot_since = date_trunc('hour', now(), 'UTC') - interval '1 hour'
WHERE since = 'infinity'
RETURNING hot_since

-- name: take_day
-- Takes the marks of the hours that are built next, and with the first of them those of all slices. Marks
-- of other hours stay and are recomputed later.
DELETE FROM token_ledger_rollup_dirty_slices
USING token_ledger_rollup_state AS state
WHERE
    (
        bucket >= date_trunc('day', %(newest)s::timestamptz, 'UTC')
        AND bucket < date_trunc('day', %(newest)s::timestamptz, 'UTC') + interval '1 day'
        AND bucket < state.hot_since
    )
    OR (state.since = 'infinity' AND bucket >= state.hot_since)

-- name: hours_of_day
-- The hours to build: those without slices, of the day of the newest call that is not rolled up.
SELECT hours.bucket
FROM token_ledger_rollup_state AS state
CROSS JOIN LATERAL generate_series(
    date_trunc('day', %(newest)s::timestamptz, 'UTC'),
    date_trunc('day', %(newest)s::timestamptz, 'UTC') + interval '23 hours',
    interval '1 hour'
) AS hours (bucket)
WHERE hours.bucket < state.hot_since

-- name: buckets_of
-- Slices with calls in a period, and hours with calls where there are no slices.
SELECT DISTINCT
    events.timestamp >= state.hot_since AS is_hot,
    CASE
        WHEN events.timestamp >= state.hot_since THEN token_ledger_slice(events.timestamp)
        ELSE date_trunc('hour', events.timestamp, 'UTC')
    END AS bucket
FROM token_ledger_events AS events
CROSS JOIN token_ledger_rollup_state AS state
WHERE events.timestamp >= %(since)s AND events.timestamp < %(until)s

-- name: set_built
-- Records that a day is rolled up.
UPDATE token_ledger_rollup_state
SET since = date_trunc('day', %(newest)s::timestamptz, 'UTC')

-- name: set_all_built
-- Records that all calls are rolled up.
UPDATE token_ledger_rollup_state
SET
    since = '-infinity',
    hot_since = CASE
        WHEN hot_since = 'infinity' THEN date_trunc('hour', now(), 'UTC') ELSE hot_since
    END
WHERE since > '-infinity'

-- name: freeze
-- Records that the calls before a timestamp are dropped, so their roll-ups are final.
UPDATE token_ledger_rollup_state
SET frozen_before = GREATEST(frozen_before, %(until)s)

-- name: is_frozen
-- Whether the calls before a timestamp were dropped earlier.
SELECT frozen_before >= %(until)s AS is_frozen FROM token_ledger_rollup_state

-- name: hours_between
-- Hours of a period that have calls.
SELECT DISTINCT date_trunc('hour', timestamp, 'UTC') AS bucket
FROM token_ledger_events
WHERE timestamp >= %(since)s AND timestamp < %(until)s
ORDER BY bucket

-- name: delete_slices
-- Deletes the slices of a period whose calls are dropped.
DELETE FROM token_ledger_rollup_slices
WHERE bucket >= %(since)s AND bucket < %(until)s

-- name: may_refresh
-- Whether this user may refresh the roll-ups.
SELECT bool_and(has_table_privilege(name, privilege)) AS may
FROM (
    VALUES
        ('token_ledger_events', 'SELECT'), ('token_ledger_rollup_dirty_slices', 'DELETE'),
        ('token_ledger_rollup_slices', 'DELETE'), ('token_ledger_rollup_hours', 'DELETE'),
        ('token_ledger_rollup_days', 'UPDATE'), ('token_ledger_rollup_state', 'UPDATE')
) AS needed (name, privilege)

-- name: rename_user
-- Moves a user's sums to a pseudonym and adds them to its sums.
WITH renamed AS (
    DELETE FROM {level}
    WHERE dimension = 'user' AND value = %(user)s
    RETURNING *
)

INSERT INTO {level} AS stored (bucket, dimension, value, provider, model, {figures})
SELECT bucket, dimension, %(pseudonym)s, provider, model, {figures}
FROM renamed
ON CONFLICT (bucket, dimension, value, provider, model) DO UPDATE
    SET
        {added}

-- name: count_final_sums
-- Counts sums by one dimension of months whose calls were dropped.
SELECT count(*) AS rows
FROM token_ledger_rollup_hours AS hours
INNER JOIN token_ledger_rollup_state AS state ON hours.bucket < state.frozen_before
WHERE hours.bucket >= %(since)s AND hours.bucket <= %(until)s::timestamptz - interval '1 hour' {where}

-- name: delete_final_sums
-- Deletes those sums and subtracts them from their days and weeks.
WITH deleted AS (
    DELETE FROM token_ledger_rollup_hours AS hours
    USING token_ledger_rollup_state AS state
    WHERE
        hours.bucket < state.frozen_before
        AND hours.bucket >= %(since)s
        AND hours.bucket <= %(until)s::timestamptz - interval '1 hour' {where}
    RETURNING hours.*
),

subtract_from_days AS (
    UPDATE token_ledger_rollup_days AS stored
    SET {subtracted}
    FROM (
        SELECT
            (bucket AT TIME ZONE 'UTC')::date AS day, dimension, value, provider, model,
            {named_sums}
        FROM deleted
        GROUP BY day, dimension, value, provider, model
    ) AS removed
    WHERE
        stored.bucket = removed.day
        AND stored.dimension = removed.dimension
        AND stored.value = removed.value
        AND stored.provider = removed.provider
        AND stored.model = removed.model
),

subtract_from_weeks AS (
    UPDATE token_ledger_rollup_weeks AS stored
    SET {subtracted}
    FROM (
        SELECT
            date_trunc('week', bucket AT TIME ZONE 'UTC')::date AS week,
            dimension,
            value,
            provider,
            model,
            {named_sums}
        FROM deleted
        WHERE
            (bucket AT TIME ZONE 'UTC')::date
            < (SELECT state.weeks_until FROM token_ledger_rollup_state AS state)
        GROUP BY week, dimension, value, provider, model
    ) AS removed
    WHERE
        stored.bucket = removed.week
        AND stored.dimension = removed.dimension
        AND stored.value = removed.value
        AND stored.provider = removed.provider
        AND stored.model = removed.model
)

SELECT count(*) AS rows FROM deleted

-- name: delete_empty_days
-- Deletes days and weeks that have no calls left.
WITH empty_weeks AS (
    DELETE FROM token_ledger_rollup_weeks
    USING token_ledger_rollup_state AS state
    WHERE calls = 0 AND bucket < (state.frozen_before AT TIME ZONE 'UTC')::date
)

DELETE FROM token_ledger_rollup_days
USING token_ledger_rollup_state AS state
WHERE calls = 0 AND bucket < (state.frozen_before AT TIME ZONE 'UTC')::date
