-- Statements that keep the roll-ups. `{figures}` are the columns of sums, `{sums}` those summed
-- and `{named_sums}` under their names, `{negated}` those of `stored` with the other sign, `{added}` those of `excluded` added to what is there.
-- `{level}` is a table of sums, `{keys}` the columns of it a question reads beside the sums, `{columns}` the
-- same of calls.

-- name: try_lock
-- One refresher at a time: two go wrong for ever. In a statement of its own, before any that counts.
SELECT pg_try_advisory_xact_lock(
    hashtextextended('token_ledger_rollups ' || current_schema(), 0)
) AS is_ours

-- name: lock
-- The same, waiting for whoever holds it.
SELECT pg_advisory_xact_lock(hashtextextended('token_ledger_rollups ' || current_schema(), 0))

-- name: room
-- Sums of many values at once stay in memory.
SET LOCAL work_mem = '64MB'

-- name: mark
-- Slices whose calls change in this transaction.
INSERT INTO token_ledger_rollup_marks (bucket)
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
DELETE FROM token_ledger_rollup_marks
WHERE bucket IN (
    SELECT DISTINCT marks.bucket
    FROM token_ledger_rollup_marks AS marks
    CROSS JOIN token_ledger_rollup_state AS state
    WHERE
        marks.bucket >= state.hot_since
        AND marks.bucket >= %(since)s
        AND marks.bucket < %(until)s
    ORDER BY marks.bucket
    LIMIT %(limit)s
)
RETURNING bucket

-- name: take_cold
-- All marks of some hours that have no slices, the newest first. Marks of calls that are not rolled
-- up, or whose roll-up is all there is, go without a recomputation.
WITH hours AS (
    SELECT DISTINCT date_trunc('hour', marks.bucket, 'UTC') AS bucket
    FROM token_ledger_rollup_marks AS marks
    CROSS JOIN token_ledger_rollup_state AS state
    WHERE
        marks.bucket < state.hot_since
        AND marks.bucket >= %(since)s
        AND marks.bucket < %(until)s
    ORDER BY 1 DESC
    LIMIT %(limit)s
),

taken AS (
    DELETE FROM token_ledger_rollup_marks
    WHERE date_trunc('hour', bucket, 'UTC') IN (SELECT hours.bucket FROM hours)
    RETURNING date_trunc('hour', bucket, 'UTC') AS bucket
)

SELECT
    taken.bucket,
    bool_and(taken.bucket >= state.since AND taken.bucket >= state.frozen_before) AS is_rolled_up
FROM taken
CROSS JOIN token_ledger_rollup_state AS state
GROUP BY taken.bucket

-- name: recompute
-- The difference between the calls of some buckets and their roll-up is added to every level: one
-- statement, so both are of one snapshot.
WITH calls AS MATERIALIZED (
    SELECT
        asked.bucket,
        {columns},
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

SELECT count(*) AS changed, count(*) FILTER (WHERE calls < 0) AS fewer FROM difference

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
DELETE FROM token_ledger_rollup_marks
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
SELECT now() - min(recorded_at) AS waited FROM token_ledger_rollup_marks

-- name: may_refresh
-- Whether this user may keep the roll-ups.
SELECT bool_and(has_table_privilege(name, privilege)) AS may
FROM (
    VALUES
        ('token_ledger_events', 'SELECT'), ('token_ledger_rollup_marks', 'DELETE'),
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

-- name: of_days
-- Whole days.
SELECT (bucket::timestamp AT TIME ZONE 'UTC') AS timestamp, {keys} {figures}
FROM token_ledger_rollup_days
WHERE
    dimension = {dimension}
    AND bucket >= %(first_day)s::date
    AND bucket < %(end_day)s::date
    AND EXISTS (SELECT FROM token_ledger_rollup_state)

-- name: of_weeks
-- Whole weeks, of which the days that are over are in there.
SELECT (bucket::timestamp AT TIME ZONE 'UTC') AS timestamp, {keys} {figures}
FROM token_ledger_rollup_weeks
WHERE
    dimension = {dimension}
    AND bucket >= %(first_week)s::date
    AND bucket < %(end_week)s::date
    AND EXISTS (SELECT FROM token_ledger_rollup_state)

-- name: beside_weeks
-- Whole days before the first and after the last week, and those that are not in their week yet: found
-- by the index, few as they are, and not by a walk over all days.
SELECT (days.bucket::timestamp AT TIME ZONE 'UTC') AS timestamp, {keys} {figures}
FROM token_ledger_rollup_state AS state
CROSS JOIN LATERAL (
    VALUES
        (%(first_day)s::date, %(first_week)s::date),
        (
            GREATEST(%(first_week)s, %(first_day)s, LEAST(state.weeks_until, %(end_week)s)),
            %(end_day)s
        )
) AS edges (since, until)
CROSS JOIN LATERAL (
    SELECT *
    FROM token_ledger_rollup_days AS found
    WHERE
        found.dimension = {dimension}
        AND found.bucket >= edges.since
        AND found.bucket < edges.until
    OFFSET 0
) AS days

-- name: off_weeks
-- Less the days of the first and the last week that are not in the stretch.
SELECT (stored.bucket::timestamp AT TIME ZONE 'UTC') AS timestamp, {keys} {negated}
FROM token_ledger_rollup_state AS state
CROSS JOIN LATERAL (
    VALUES
        (%(first_week)s::date, LEAST(%(first_day)s::date, state.weeks_until)),
        (%(end_day)s, LEAST(%(end_week)s, state.weeks_until))
) AS edges (since, until)
CROSS JOIN LATERAL (
    SELECT *
    FROM token_ledger_rollup_days AS found
    WHERE
        found.dimension = {dimension}
        AND found.bucket >= edges.since
        AND found.bucket < edges.until
    OFFSET 0
) AS stored

-- name: of_hours
-- Whole hours before the first and after the last whole day.
SELECT bucket AS timestamp, {keys} {figures}
FROM token_ledger_rollup_hours
WHERE
    dimension = {dimension}
    AND bucket >= {since}
    AND bucket < {until}
    AND EXISTS (SELECT FROM token_ledger_rollup_state)

-- name: off_slices
-- Less what is out of date of the slices.
SELECT stored.bucket AS timestamp, {keys} {negated}
FROM stale
INNER JOIN token_ledger_rollup_slices AS stored ON stored.bucket = stale.bucket
WHERE stale.is_hot AND stored.dimension = {dimension}

-- name: off_hours
-- Less what is out of date of the hours that have no slices.
SELECT stored.bucket AS timestamp, {keys} {negated}
FROM stale
INNER JOIN token_ledger_rollup_hours AS stored ON stored.bucket = stale.bucket
WHERE NOT stale.is_hot AND stored.dimension = {dimension}

-- name: of_calls
-- Calls, summed by the hour: of what is out of date; of hours that are in the stretch in part; of before
-- the roll-ups begin, which are all of them for whoever sees no roll-up. One walk for all of it: a
-- partitioned table takes long to plan for. Each state of a cost is a group of its own, and not asked of
-- every call.
SELECT
    calls.hour AS timestamp,
    {columns}
    stretches.sign * calls.calls AS calls,
    (stretches.sign * calls.input_tokens)::bigint AS input_tokens,
    (stretches.sign * calls.output_tokens)::bigint AS output_tokens,
    (stretches.sign * calls.total_tokens)::bigint AS total_tokens,
    (stretches.sign * calls.cached_tokens)::bigint AS cached_tokens,
    stretches.sign * calls.cost_usd AS cost_usd,
    stretches.sign * calls.errors AS errors,
    CASE calls.cost_status WHEN 'priced' THEN stretches.sign * calls.calls ELSE 0 END AS priced,
    CASE calls.cost_status WHEN 'partial' THEN stretches.sign * calls.calls ELSE 0 END AS partial,
    CASE calls.cost_status WHEN 'estimated' THEN stretches.sign * calls.calls ELSE 0 END AS estimated,
    CASE calls.cost_status WHEN 'unpriced' THEN stretches.sign * calls.calls ELSE 0 END AS unpriced,
    CASE calls.cost_status WHEN 'unmeasured' THEN stretches.sign * calls.calls ELSE 0 END AS unmeasured,
    CASE WHEN calls.settled THEN 0 ELSE stretches.sign * calls.calls END AS not_settled
FROM (
    SELECT bucket AS since, until, 1 AS sign FROM stale
    UNION ALL
    SELECT since, until, sign
    FROM (
        VALUES
            (%(since)s::timestamptz, %(first_hour)s::timestamptz, 1),
            (%(end_hour)s, %(until)s, 1),
            (%(until)s, %(end_hour)s, -1),
            (
                %(first_hour)s,
                LEAST(
                    %(end_hour)s::timestamptz,
                    COALESCE(
                        (SELECT state.since FROM token_ledger_rollup_state AS state), 'infinity'
                    )
                ),
                1
            )
    ) AS edges (since, until, sign)
    WHERE since < until
) AS stretches
CROSS JOIN LATERAL (
    SELECT
        hour,
        {columns}
        count(*) AS calls,
        COALESCE(sum(input_tokens), 0) AS input_tokens,
        COALESCE(sum(output_tokens), 0) AS output_tokens,
        COALESCE(sum(total_tokens), 0) AS total_tokens,
        COALESCE(sum(cached_tokens), 0) AS cached_tokens,
        COALESCE(sum(cost_usd), 0) AS cost_usd,
        {errors} AS errors,
        cost_status,
        settled
    FROM (
        SELECT
            {hour} AS hour,
            {columns}
            found.input_tokens,
            found.output_tokens,
            found.total_tokens,
            found.cached_tokens,
            found.cost_usd,
            found.status,
            found.cost_status,
            found.settled
        FROM token_ledger_events AS found
        WHERE found.timestamp >= stretches.since AND found.timestamp < stretches.until
        OFFSET 0
    ) AS found
    GROUP BY {columns} hour, cost_status, settled
) AS calls

-- name: errors_of_calls
-- How many calls failed, for questions that ask: the column is far to the right, and costs a fifth of a read.
count(*) FILTER (WHERE status = 'error')

-- name: errors_unasked
-- The same for questions that do not.
0::bigint

-- name: hour_of_a_call
-- The hour of a call, for questions that ask of hours, days or months.
date_bin(interval '1 hour', found.timestamp, timestamptz '2000-01-01 00:00:00+00')

-- name: any_hour
-- The same for questions that do not.
NULL::timestamptz

-- name: told
-- All parts, as the calls are told of elsewhere.
(
    WITH stale AS MATERIALIZED (
        SELECT bucket, until, is_hot
        FROM token_ledger_rollup_stale
        WHERE bucket >= %(first_hour)s AND bucket < %(end_hour)s
    )

    {parts}
) AS rolled_up
WHERE true

-- name: told_twice
-- The same for a statement that reads them twice, and sums of all values beside them: calls are summed once.
WITH stale AS MATERIALIZED (
    SELECT bucket, until, is_hot
    FROM token_ledger_rollup_stale
    WHERE bucket >= %(first_hour)s AND bucket < %(end_hour)s
),

fresh AS MATERIALIZED (
    {of_calls}
),

told AS NOT MATERIALIZED (
    {sums}
    UNION ALL
    SELECT timestamp, {columns} {figures} FROM fresh
),

overall AS NOT MATERIALIZED (
    {overall}
    UNION ALL
    SELECT timestamp, {figures} FROM fresh
)

-- name: figures
-- What is summed of sums, as of calls.
    COALESCE(sum(calls), 0)::bigint AS calls,
    COALESCE(sum(input_tokens), 0)::bigint AS input_tokens,
    COALESCE(sum(output_tokens), 0)::bigint AS output_tokens,
    COALESCE(sum(cached_tokens), 0)::bigint AS cached_tokens,
    COALESCE(sum(cost_usd), 0) AS cost_usd

-- name: failures
-- The same for how calls ended.
    COALESCE(sum(calls), 0)::bigint AS calls,
    COALESCE(sum(errors), 0)::bigint AS errors

-- name: states
-- The same for what sums rest on.
    COALESCE(sum(priced), 0)::bigint AS priced,
    COALESCE(sum(partial), 0)::bigint AS partial,
    COALESCE(sum(estimated), 0)::bigint AS estimated,
    COALESCE(sum(unpriced), 0)::bigint AS unpriced,
    COALESCE(sum(unmeasured), 0)::bigint AS unmeasured,
    COALESCE(sum(not_settled), 0)::bigint AS not_settled

-- name: counted
-- The same for the number of calls.
COALESCE(sum(calls), 0)::bigint

-- name: having
-- A group whose parts cancel out has no call.
HAVING sum(calls) <> 0

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
        input_tokens,
        output_tokens,
        total_tokens,
        cached_tokens,
        cost_usd,
        status,
        cost_status,
        settled
    FROM token_ledger_events
    WHERE timestamp >= %(since)s AND timestamp < %(until)s
),

fresh AS (
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
        count(*) FILTER (WHERE status = 'error') AS errors,
        count(*) FILTER (WHERE cost_status = 'priced') AS priced,
        count(*) FILTER (WHERE cost_status = 'partial') AS partial,
        count(*) FILTER (WHERE cost_status = 'estimated') AS estimated,
        count(*) FILTER (WHERE cost_status = 'unpriced') AS unpriced,
        count(*) FILTER (WHERE cost_status = 'unmeasured') AS unmeasured,
        count(*) FILTER (WHERE NOT settled) AS not_settled
    FROM calls
    GROUP BY GROUPING SETS ({sets})
),

sides AS (
    SELECT 'hour' AS level, bucket, dimension, value, provider, model, 1 AS side, {figures}
    FROM fresh
    WHERE bucket NOT IN (SELECT date_trunc('hour', marks.bucket, 'UTC') FROM token_ledger_rollup_marks AS marks)
    UNION ALL
    SELECT 'hour', bucket, dimension, value, provider, model, -1, {negated}
    FROM token_ledger_rollup_hours AS stored
    WHERE
        bucket >= %(since)s
        AND bucket < %(until)s
        AND bucket NOT IN (SELECT date_trunc('hour', marks.bucket, 'UTC') FROM token_ledger_rollup_marks AS marks)
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
DELETE FROM token_ledger_rollup_marks
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
