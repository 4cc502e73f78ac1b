-- Statements that keep the roll-ups. `{figures}` are the columns of sums, `{sums}` those summed and
-- `{named_sums}` under their names, `{negated}` those of `stored` with the other sign, `{added}` those of
-- `excluded` added to what is there. `{level}` is a table of sums, `{columns}` the columns of calls
-- that are dimensions.

-- name: try_lock
-- One refresher at a time: two go wrong for ever. In a statement of its own, before any that counts.
-- A row that only writers and keepers may lock.
SELECT token_ledger_take_lock(current_user::text, 'rollups', false) AS is_ours

-- name: lock
-- The same, waiting for whoever holds it.
SELECT token_ledger_take_lock(current_user::text, 'rollups', true)

-- name: room
-- Sums of many values at once stay in memory.
SET LOCAL work_mem = '64MB'

-- name: mark
-- Slices whose calls change in this transaction.
INSERT INTO token_ledger_rollup_dirty_slices (bucket)
SELECT unnest(%(slices)s::timestamptz[])

-- name: move_on
-- Slices of before the last whole hour are in the hours, and from now on found there.
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
-- Marked slices, the oldest first; whoever commits after this has marks of their own.
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
-- All marks of some hours that have no slices, the newest first. Marks of calls that are not rolled
-- up, or whose roll-up is all there is, go without a recomputation.
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
-- What is summed of each call, found as `found`.
found.input_tokens,
found.output_tokens,
found.total_tokens,
found.cached_tokens,
found.cost_usd,
found.status = 'error' AS is_error,
found.cost_status = 'priced' AS is_priced,
found.cost_status = 'partial' AS is_partial,
found.cost_status = 'estimated' AS is_estimated,
found.cost_status = 'unpriced' AS is_unpriced,
found.cost_status = 'unmeasured' AS is_unmeasured,
NOT found.settled AS is_not_settled

-- name: summed_calls
-- The sums of `calls`, by every dimension at once.
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
    count(*) FILTER (WHERE is_not_settled) AS not_settled
FROM calls
GROUP BY GROUPING SETS ({sets})

-- name: recompute
-- The difference between the calls of some buckets and their roll-up is added to every level: one
-- statement, so both are of one snapshot.
WITH calls AS MATERIALIZED (
    SELECT
        asked.bucket,
        {columns},
        {figures_of_calls}
    FROM unnest(%(buckets)s::timestamptz[]) AS asked (bucket)
    CROSS JOIN LATERAL (
        SELECT *
        FROM token_ledger_events AS events
        WHERE
            events.timestamp >= asked.bucket
            AND events.timestamp < asked.bucket + %(length)s::interval
        OFFSET 0
    ) AS found
),

fresh AS (
    {summed_calls}
),

difference AS MATERIALIZED (
    SELECT bucket, dimension, value, provider, model, {named_sums}
    FROM (
        SELECT bucket, dimension, value, provider, model, {figures} FROM fresh
        UNION ALL
        SELECT bucket, dimension, value, provider, model, {negated}
        FROM {level} AS stored
        WHERE stored.bucket = ANY(%(buckets)s::timestamptz[]) AND NOT %(add)s::boolean
    ) AS both_sides
    GROUP BY bucket, dimension, value, provider, model
    HAVING ({sums}) <> ({zeros})
),

{beside_hours},

of_hours AS (
    INSERT INTO token_ledger_rollup_hours AS kept (
        bucket, dimension, value, provider, model, {figures}
    )
    SELECT date_trunc('hour', bucket, 'UTC') AS hour, dimension, value, provider, model, {sums}
    FROM difference
    GROUP BY hour, dimension, value, provider, model
    ON CONFLICT (bucket, dimension, value, provider, model) DO UPDATE SET {added}
),

of_days AS (
    INSERT INTO token_ledger_rollup_days AS kept (
        bucket, dimension, value, provider, model, {figures}
    )
    SELECT (bucket AT TIME ZONE 'UTC')::date AS day, dimension, value, provider, model, {sums}
    FROM difference
    GROUP BY day, dimension, value, provider, model
    ON CONFLICT (dimension, bucket, value, provider, model) DO UPDATE SET {added}
)

SELECT count(*) AS changed, count(*) FILTER (WHERE calls < 0::numeric) AS fewer FROM difference

-- name: add_to_slices
-- The same for the level below hours, where there are slices.
of_slices AS (
    INSERT INTO token_ledger_rollup_slices AS kept (
        bucket, dimension, value, provider, model, {figures}
    )
    SELECT bucket, dimension, value, provider, model, {figures}
    FROM difference
    ON CONFLICT (bucket, dimension, value, provider, model) DO UPDATE SET {added}
)

-- name: add_to_weeks
-- And for the level above days, which days that have slices are not in.
of_weeks AS (
    INSERT INTO token_ledger_rollup_weeks AS kept (
        bucket, dimension, value, provider, model, {figures}
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
    ON CONFLICT (dimension, bucket, value, provider, model) DO UPDATE SET {added}
)

-- name: close_days
-- Days without slices go into their week, those of one week at a time; once they are there, what changes
-- of them changes there too.
WITH next AS (
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
    INSERT INTO token_ledger_rollup_weeks AS kept (
        bucket, dimension, value, provider, model, {figures}
    )
    SELECT
        date_trunc('week', days.bucket::timestamp)::date AS week,
        days.dimension,
        days.value,
        days.provider,
        days.model,
        {sums}
    FROM next
    INNER JOIN token_ledger_rollup_days AS days
        ON days.bucket >= next.since AND days.bucket < next.until
    WHERE days.dimension = ANY(%(dimensions)s::text[])
    GROUP BY week, days.dimension, days.value, days.provider, days.model
    ORDER BY days.dimension, week, days.value, days.provider, days.model
    ON CONFLICT (dimension, bucket, value, provider, model) DO UPDATE SET {added}
)

UPDATE token_ledger_rollup_state
SET weeks_until = next.until
FROM next

-- name: forget_empty
-- What has no call any more is no longer named.
WITH of_slices AS (
    DELETE FROM token_ledger_rollup_slices
    WHERE bucket = ANY(%(buckets)s::timestamptz[]) AND calls = 0
),

of_hours AS (
    DELETE FROM token_ledger_rollup_hours
    WHERE
        calls = 0
        AND bucket IN (
            SELECT date_trunc('hour', told, 'UTC') FROM unnest(%(buckets)s::timestamptz[]) AS told
        )
),

of_weeks AS (
    DELETE FROM token_ledger_rollup_weeks
    WHERE
        calls = 0
        AND bucket IN (
            SELECT date_trunc('week', told AT TIME ZONE 'UTC')::date
            FROM unnest(%(buckets)s::timestamptz[]) AS told
        )
)

DELETE FROM token_ledger_rollup_days
WHERE
    calls = 0
    AND bucket IN (
        SELECT (told AT TIME ZONE 'UTC')::date FROM unnest(%(buckets)s::timestamptz[]) AS told
    )

-- name: unbuilt
-- The newest calls that are not rolled up, where there are any.
SELECT max(events.timestamp) AS newest
FROM token_ledger_events AS events
WHERE events.timestamp < (SELECT state.since FROM token_ledger_rollup_state AS state)

-- name: begin
-- Where the building of a ledger's past begins, if it has not: slices are of the last whole hour and on.
UPDATE token_ledger_rollup_state
SET hot_since = date_trunc('hour', now(), 'UTC') - interval '1 hour'
WHERE since = 'infinity'
RETURNING hot_since

-- name: take_day
-- Marks of the hours that are built next, and with the first of them of all slices; those of other
-- hours stay, and are looked at like any.
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
-- The hours to build: of the day of the newest call that is not rolled up, all that have no slices.
SELECT hours.bucket
FROM token_ledger_rollup_state AS state
CROSS JOIN LATERAL generate_series(
    date_trunc('day', %(newest)s::timestamptz, 'UTC'),
    date_trunc('day', %(newest)s::timestamptz, 'UTC') + interval '23 hours',
    interval '1 hour'
) AS hours (bucket)
WHERE hours.bucket < state.hot_since

-- name: buckets_of
-- The slices of a stretch that has some, and the hours of one that has none, of those with calls.
SELECT DISTINCT
    events.timestamp >= state.hot_since AS is_hot,
    CASE
        WHEN events.timestamp >= state.hot_since THEN token_ledger_slice(events.timestamp)
        ELSE date_trunc('hour', events.timestamp, 'UTC')
    END AS bucket
FROM token_ledger_events AS events
CROSS JOIN token_ledger_rollup_state AS state
WHERE events.timestamp >= %(since)s AND events.timestamp < %(until)s

-- name: built
-- The day is rolled up.
UPDATE token_ledger_rollup_state
SET since = date_trunc('day', %(newest)s::timestamptz, 'UTC')

-- name: built_all
-- There are no earlier calls.
UPDATE token_ledger_rollup_state
SET
    since = '-infinity',
    hot_since = CASE
        WHEN hot_since = 'infinity' THEN date_trunc('hour', now(), 'UTC') ELSE hot_since
    END
WHERE since > '-infinity'

-- name: freeze
-- Calls before a moment are let go: what was rolled up of them is all there is.
UPDATE token_ledger_rollup_state
SET frozen_before = GREATEST(frozen_before, %(until)s)

-- name: is_frozen
-- Whether calls of before a moment were let go before.
SELECT frozen_before >= %(until)s AS is_frozen FROM token_ledger_rollup_state

-- name: hours_between
-- The hours of a stretch that have calls.
SELECT DISTINCT date_trunc('hour', timestamp, 'UTC') AS bucket
FROM token_ledger_events
WHERE timestamp >= %(since)s AND timestamp < %(until)s
ORDER BY bucket

-- name: forget_slices
-- Slices of a stretch that is let go.
DELETE FROM token_ledger_rollup_slices
WHERE bucket >= %(since)s AND bucket < %(until)s

-- name: lag
-- How long the oldest mark has waited.
SELECT now() - min(recorded_at) AS waited FROM token_ledger_rollup_dirty_slices

-- name: may_refresh
-- Whether this user may keep the roll-ups.
SELECT bool_and(has_table_privilege(name, privilege)) AS may
FROM (
    VALUES
        ('token_ledger_events', 'SELECT'), ('token_ledger_rollup_dirty_slices', 'DELETE'),
        ('token_ledger_rollup_slices', 'DELETE'), ('token_ledger_rollup_hours', 'DELETE'),
        ('token_ledger_rollup_days', 'UPDATE'), ('token_ledger_rollup_state', 'UPDATE')
) AS needed (name, privilege)

-- name: rename_user
-- A user's sums under another name, added to what is there under it.
WITH renamed AS (
    DELETE FROM {level}
    WHERE dimension = 'user' AND value = %(user)s
    RETURNING *
)

INSERT INTO {level} AS kept (bucket, dimension, value, provider, model, {figures})
SELECT bucket, dimension, %(pseudonym)s, provider, model, {figures}
FROM renamed
ON CONFLICT (bucket, dimension, value, provider, model) DO UPDATE SET {added}

-- name: count_let_go
-- Sums by one dimension of months whose calls were let go.
SELECT count(*) AS rows
FROM token_ledger_rollup_hours AS hours
INNER JOIN token_ledger_rollup_state AS state ON hours.bucket < state.frozen_before
WHERE hours.bucket >= %(since)s AND hours.bucket <= %(until)s::timestamptz - interval '1 hour' {where}

-- name: forget_let_go
-- The same sums, and out of their days.
WITH gone AS (
    DELETE FROM token_ledger_rollup_hours AS hours
    USING token_ledger_rollup_state AS state
    WHERE
        hours.bucket < state.frozen_before
        AND hours.bucket >= %(since)s
        AND hours.bucket <= %(until)s::timestamptz - interval '1 hour' {where}
    RETURNING hours.*
),

of_days AS (
    UPDATE token_ledger_rollup_days AS kept
    SET {subtracted}
    FROM (
        SELECT
            (bucket AT TIME ZONE 'UTC')::date AS day, dimension, value, provider, model,
            {named_sums}
        FROM gone
        GROUP BY day, dimension, value, provider, model
    ) AS fewer
    WHERE
        kept.bucket = fewer.day
        AND kept.dimension = fewer.dimension
        AND kept.value = fewer.value
        AND kept.provider = fewer.provider
        AND kept.model = fewer.model
),

of_weeks AS (
    UPDATE token_ledger_rollup_weeks AS kept
    SET {subtracted}
    FROM (
        SELECT
            date_trunc('week', bucket AT TIME ZONE 'UTC')::date AS week,
            dimension,
            value,
            provider,
            model,
            {named_sums}
        FROM gone
        WHERE
            (bucket AT TIME ZONE 'UTC')::date
            < (SELECT state.weeks_until FROM token_ledger_rollup_state AS state)
        GROUP BY week, dimension, value, provider, model
    ) AS fewer
    WHERE
        kept.bucket = fewer.week
        AND kept.dimension = fewer.dimension
        AND kept.value = fewer.value
        AND kept.provider = fewer.provider
        AND kept.model = fewer.model
)

SELECT count(*) AS rows FROM gone

-- name: forget_empty_days
-- Days and weeks of which nothing is left.
WITH of_weeks AS (
    DELETE FROM token_ledger_rollup_weeks
    USING token_ledger_rollup_state AS state
    WHERE calls = 0 AND bucket < (state.frozen_before AT TIME ZONE 'UTC')::date
)

DELETE FROM token_ledger_rollup_days
USING token_ledger_rollup_state AS state
WHERE calls = 0 AND bucket < (state.frozen_before AT TIME ZONE 'UTC')::date
