-- Statements that answer from the roll-ups. `{figures}` are the columns of sums and `{negated}` those of
-- `stored` with the other sign; `{keys}` are the columns a question reads beside the sums, `{columns}` the
-- same of calls.

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
