-- Roll-ups: sums by slice, hour, day and week that equal the calls in every snapshot, and the function
-- that reads them.

-- The format is long: one row per dimension and value, so the number of rows is the sum of the
-- dimensions' values and not their product. All levels have the same columns; a level is the sum of
-- the level below.
CREATE TABLE token_ledger_rollup_slices (
    bucket timestamptz NOT NULL,
    dimension text NOT NULL,
    value text NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    calls bigint NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    total_tokens bigint NOT NULL,
    cached_tokens bigint NOT NULL,
    cost_usd numeric NOT NULL,
    errors bigint NOT NULL,
    priced bigint NOT NULL,
    partial bigint NOT NULL,
    estimated bigint NOT NULL,
    unpriced bigint NOT NULL,
    unmeasured bigint NOT NULL,
    not_settled bigint NOT NULL,
    PRIMARY KEY (bucket, dimension, value, provider, model)
) WITH (fillfactor = 80);
COMMENT ON TABLE token_ledger_rollup_slices IS 'Sums by two seconds of the last one to two hours; the keeper recomputes a slice when its calls change';
COMMENT ON COLUMN token_ledger_rollup_slices.bucket IS 'Start of the slice';
COMMENT ON COLUMN token_ledger_rollup_slices.dimension IS 'Name of the dimension; empty for all calls of a provider and model';
COMMENT ON COLUMN token_ledger_rollup_slices.value IS 'Value of the dimension';
COMMENT ON COLUMN token_ledger_rollup_slices.provider IS 'Who bills; empty if dimension is user, which is not split by provider';
COMMENT ON COLUMN token_ledger_rollup_slices.model IS 'Model that answered; empty if dimension is user';
COMMENT ON COLUMN token_ledger_rollup_slices.calls IS 'Model calls';
COMMENT ON COLUMN token_ledger_rollup_slices.input_tokens IS 'Input tokens, including cached ones';
COMMENT ON COLUMN token_ledger_rollup_slices.output_tokens IS 'Output tokens, including reasoning';
COMMENT ON COLUMN token_ledger_rollup_slices.total_tokens IS 'Input and output tokens, as the calls report them';
COMMENT ON COLUMN token_ledger_rollup_slices.cached_tokens IS 'Input tokens read from a cache';
COMMENT ON COLUMN token_ledger_rollup_slices.cost_usd IS 'Known cost, US dollars';
COMMENT ON COLUMN token_ledger_rollup_slices.errors IS 'Calls that failed';
COMMENT ON COLUMN token_ledger_rollup_slices.priced IS 'Calls whose cost_status is priced';
COMMENT ON COLUMN token_ledger_rollup_slices.partial IS 'Calls whose cost_status is partial';
COMMENT ON COLUMN token_ledger_rollup_slices.estimated IS 'Calls whose cost_status is estimated';
COMMENT ON COLUMN token_ledger_rollup_slices.unpriced IS 'Calls whose cost_status is unpriced';
COMMENT ON COLUMN token_ledger_rollup_slices.unmeasured IS 'Calls whose cost_status is unmeasured';
COMMENT ON COLUMN token_ledger_rollup_slices.not_settled IS 'Calls that were not checked for duplicates yet';

CREATE TABLE token_ledger_rollup_hours (
    LIKE token_ledger_rollup_slices INCLUDING COMMENTS,
    PRIMARY KEY (bucket, dimension, value, provider, model)
) WITH (fillfactor = 80);
COMMENT ON TABLE token_ledger_rollup_hours IS 'Sums by hour, UTC; they stay when retention drops the calls';
COMMENT ON COLUMN token_ledger_rollup_hours.bucket IS 'Start of the hour';

CREATE TABLE token_ledger_rollup_days (
    LIKE token_ledger_rollup_slices INCLUDING COMMENTS,
    PRIMARY KEY (dimension, bucket, value, provider, model)
) WITH (fillfactor = 80);
ALTER TABLE token_ledger_rollup_days ALTER COLUMN bucket TYPE date;
COMMENT ON TABLE token_ledger_rollup_days IS 'Sums by day, UTC; they stay when retention drops the calls';
COMMENT ON COLUMN token_ledger_rollup_days.bucket IS 'The day';
-- One value over many days.
CREATE INDEX token_ledger_rollup_days_value ON token_ledger_rollup_days (dimension, value, bucket);

CREATE TABLE token_ledger_rollup_weeks (
    LIKE token_ledger_rollup_days INCLUDING COMMENTS,
    PRIMARY KEY (dimension, bucket, value, provider, model)
) WITH (fillfactor = 80);
COMMENT ON TABLE token_ledger_rollup_weeks IS 'Sums by week, UTC, of its days before weeks_until; they stay when retention drops the calls';
COMMENT ON COLUMN token_ledger_rollup_weeks.bucket IS 'The week''s Monday';
-- One value over many weeks.
CREATE INDEX token_ledger_rollup_weeks_value ON token_ledger_rollup_weeks (dimension, value, bucket);

-- A session that cannot see this row or the roll-ups reads the calls themselves.
CREATE TABLE token_ledger_rollup_state (
    is_one boolean NOT NULL DEFAULT true,
    since timestamptz NOT NULL,
    hot_since timestamptz NOT NULL,
    frozen_before timestamptz NOT NULL DEFAULT '-infinity',
    weeks_until date NOT NULL DEFAULT '-infinity',
    PRIMARY KEY (is_one),
    CONSTRAINT only_one_row CHECK (is_one)
);
COMMENT ON TABLE token_ledger_rollup_state IS 'Which calls are in the roll-ups, in one row';
COMMENT ON COLUMN token_ledger_rollup_state.is_one IS 'Always true; limits the table to one row';
COMMENT ON COLUMN token_ledger_rollup_state.since IS 'Calls from here on are rolled up, earlier ones are read from token_ledger_events; start of a day, UTC';
COMMENT ON COLUMN token_ledger_rollup_state.hot_since IS 'Slices exist from here on; start of an hour. A change before it recomputes the whole hour';
COMMENT ON COLUMN token_ledger_rollup_state.frozen_before IS 'Retention dropped the calls before this, so their roll-ups are never recomputed';
COMMENT ON COLUMN token_ledger_rollup_state.weeks_until IS 'Days before this are in the weeks, later ones are not yet';
-- An empty ledger is rolled up from its first call on.
INSERT INTO token_ledger_rollup_state (since, hot_since)
VALUES ('-infinity', date_trunc('hour', now(), 'UTC'));

-- No primary key: a unique row would make concurrent writers wait for each other. A transaction that
-- changes calls also marks their slices, so that every snapshot has both changes or neither.
CREATE TABLE token_ledger_rollup_dirty_slices (
    bucket timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT bucket_is_plausible CHECK (bucket BETWEEN '2015-01-01Z' AND '2200-01-01Z')
);
COMMENT ON TABLE token_ledger_rollup_dirty_slices IS 'Slices whose roll-up is out of date; read from the calls until the keeper has recomputed it';
COMMENT ON COLUMN token_ledger_rollup_dirty_slices.bucket IS 'Start of the slice of two seconds';
COMMENT ON COLUMN token_ledger_rollup_dirty_slices.recorded_at IS 'When the calls changed';

-- The body is inlined, so no search path can be set for it: every name and type in it is exact.
CREATE FUNCTION token_ledger_slice(instant timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT pg_catalog.date_bin(interval '2 seconds', instant, timestamptz '2000-01-01 00:00:00+00')
$$;
COMMENT ON FUNCTION token_ledger_slice(timestamptz) IS 'Start of the slice that a timestamp is in';

-- As in 0001_calls: the body names the ledger's schema (HOME), and the search path holds none.
DO $migration$
BEGIN
    EXECUTE pg_catalog.replace($create$
        -- Writers COPY into a partition, which has no trigger, and mark the slices themselves. The
        -- function runs as the tables' owner: a role that may change calls needs no right on marks.
        CREATE FUNCTION HOME.token_ledger_mark_dirty_slices() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        BEGIN
            IF TG_OP IN ('DELETE', 'UPDATE') THEN
                INSERT INTO HOME.token_ledger_rollup_dirty_slices (bucket)
                SELECT DISTINCT HOME.token_ledger_slice(old_rows.timestamp) FROM old_rows;
            END IF;
            IF TG_OP IN ('INSERT', 'UPDATE') THEN
                INSERT INTO HOME.token_ledger_rollup_dirty_slices (bucket)
                SELECT DISTINCT HOME.token_ledger_slice(new_rows.timestamp) FROM new_rows;
            END IF;
            IF TG_OP = 'TRUNCATE' THEN
                INSERT INTO HOME.token_ledger_rollup_dirty_slices (bucket)
                SELECT bucket FROM HOME.token_ledger_rollup_slices
                UNION
                SELECT bucket FROM HOME.token_ledger_rollup_hours;
            END IF;
            RETURN NULL;
        END
        $body$
    $create$, 'HOME', pg_catalog.quote_ident(pg_catalog.current_schema()::text));
END
$migration$;
COMMENT ON FUNCTION token_ledger_mark_dirty_slices() IS 'Marks the slices whose calls a statement changed';
REVOKE ALL ON FUNCTION token_ledger_mark_dirty_slices() FROM PUBLIC;
CREATE TRIGGER token_ledger_mark_inserted AFTER INSERT ON token_ledger_events
REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION token_ledger_mark_dirty_slices();
CREATE TRIGGER token_ledger_mark_updated AFTER UPDATE ON token_ledger_events
REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION token_ledger_mark_dirty_slices();
CREATE TRIGGER token_ledger_mark_deleted AFTER DELETE ON token_ledger_events
REFERENCING OLD TABLE AS old_rows
FOR EACH STATEMENT EXECUTE FUNCTION token_ledger_mark_dirty_slices();
CREATE TRIGGER token_ledger_mark_truncated AFTER TRUNCATE ON token_ledger_events
FOR EACH STATEMENT EXECUTE FUNCTION token_ledger_mark_dirty_slices();

CREATE VIEW token_ledger_rollup_stale WITH (security_invoker = true) AS
SELECT DISTINCT
    CASE
        WHEN marks.bucket >= state.hot_since THEN marks.bucket
        ELSE date_trunc('hour', marks.bucket, 'UTC')
    END AS bucket,
    CASE
        WHEN marks.bucket >= state.hot_since THEN marks.bucket + interval '2 seconds'
        ELSE date_trunc('hour', marks.bucket, 'UTC') + interval '1 hour'
    END AS until,
    marks.bucket >= state.hot_since AS is_hot
FROM token_ledger_rollup_dirty_slices AS marks
CROSS JOIN token_ledger_rollup_state AS state
WHERE marks.bucket >= state.since AND marks.bucket >= state.frozen_before;
COMMENT ON VIEW token_ledger_rollup_stale IS 'Periods whose roll-up is out of date; token_ledger_sums reads their calls instead';
COMMENT ON COLUMN token_ledger_rollup_stale.bucket IS 'Start of the slice, or of the hour if the hour has no slices';
COMMENT ON COLUMN token_ledger_rollup_stale.until IS 'Its end, not included';
COMMENT ON COLUMN token_ledger_rollup_stale.is_hot IS 'True for a slice, false for an hour';

-- Which whole hours, days and weeks of a period are read as sums. All functions below are inlined into
-- the statement that calls them, and their names are resolved here, once.
--
-- A period that ends now is read to the end of its day, and the few later calls are subtracted: that
-- avoids reading all calls of the current hour. The weeks are those whose Mondays are nearest, and the
-- days outside of the period are subtracted.
CREATE FUNCTION token_ledger_period_edges(period_start timestamptz, period_end timestamptz)
RETURNS TABLE (
    first_hour timestamptz,
    end_hour timestamptz,
    first_day date,
    end_day date,
    first_week date,
    end_week date
)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT
        days.first_hour,
        days.end_hour,
        (days.first_day AT TIME ZONE 'UTC')::date,
        (days.end_day AT TIME ZONE 'UTC')::date,
        CASE
            WHEN days.first_week < days.end_week THEN days.first_week AT TIME ZONE 'UTC'
            ELSE days.first_day AT TIME ZONE 'UTC'
        END::date,
        CASE
            WHEN days.first_week < days.end_week THEN days.end_week AT TIME ZONE 'UTC'
            ELSE days.first_day AT TIME ZONE 'UTC'
        END::date
    FROM (
        SELECT
            hours.first_hour,
            hours.end_hour,
            hours.first_day,
            GREATEST(hours.first_day, hours.end_day) AS end_day,
            date_trunc('week', hours.first_day + interval '84 hours', 'UTC') AS first_week,
            date_trunc(
                'week',
                GREATEST(hours.first_day, hours.end_day)
                + CASE
                    WHEN period_end < now() THEN interval '84 hours'
                    ELSE interval '168 hours' - interval '1 microsecond'
                END,
                'UTC'
            ) AS end_week
        FROM (
            SELECT
                date_trunc(
                    'hour', period_start + interval '1 hour' - interval '1 microsecond', 'UTC'
                ) AS first_hour,
                date_trunc(
                    'day', period_start + interval '24 hours' - interval '1 microsecond', 'UTC'
                ) AS first_day,
                CASE
                    WHEN period_end < now() THEN date_trunc('hour', period_end, 'UTC')
                    ELSE date_trunc(
                        'day', period_end + interval '24 hours' - interval '1 microsecond', 'UTC'
                    )
                END AS end_hour,
                CASE
                    WHEN period_end < now() THEN date_trunc('day', period_end, 'UTC')
                    ELSE date_trunc(
                        'day', period_end + interval '24 hours' - interval '1 microsecond', 'UTC'
                    )
                END AS end_day
        ) AS hours
    ) AS days;
END;
COMMENT ON FUNCTION token_ledger_period_edges(timestamptz, timestamptz) IS
'The whole hours, days and weeks, UTC, of a period that are read from the roll-ups';

-- Stored sums of a period, less those that are out of date.
--
-- by_dimension is a name as in the column dimension. largest_bucket is the largest bucket the caller
-- can use: 'hour' or 'day' if it groups by them, 'week' if it does not group by time. Both are
-- constants in every caller, so Postgres removes the parts that do not apply.
CREATE FUNCTION token_ledger_stored_sums(
    by_dimension text, largest_bucket text, period_start timestamptz, period_end timestamptz
)
RETURNS TABLE (
    "timestamp" timestamptz,
    day date,
    value text,
    provider text,
    model text,
    calls bigint,
    input_tokens bigint,
    output_tokens bigint,
    total_tokens bigint,
    cached_tokens bigint,
    cost_usd numeric,
    errors bigint,
    priced bigint,
    partial bigint,
    estimated bigint,
    unpriced bigint,
    unmeasured bigint,
    not_settled bigint
)
LANGUAGE sql STABLE
BEGIN ATOMIC
    WITH edges AS MATERIALIZED (
        SELECT * FROM token_ledger_period_edges(period_start, period_end)
    ),

    stale AS MATERIALIZED (
        SELECT periods.bucket, periods.is_hot
        FROM edges
        INNER JOIN token_ledger_rollup_stale AS periods
            ON periods.bucket >= edges.first_hour AND periods.bucket < edges.end_hour
    )

    -- Whole weeks. A week holds its days before weeks_until.
    SELECT
        weeks.bucket::timestamp AT TIME ZONE 'UTC',
        weeks.bucket,
        weeks.value,
        weeks.provider,
        weeks.model,
        weeks.calls,
        weeks.input_tokens,
        weeks.output_tokens,
        weeks.total_tokens,
        weeks.cached_tokens,
        weeks.cost_usd,
        weeks.errors,
        weeks.priced,
        weeks.partial,
        weeks.estimated,
        weeks.unpriced,
        weeks.unmeasured,
        weeks.not_settled
    FROM token_ledger_rollup_weeks AS weeks
    WHERE
        largest_bucket = 'week'
        AND weeks.dimension = by_dimension
        AND weeks.bucket >= (SELECT edges.first_week FROM edges)
        AND weeks.bucket < (SELECT edges.end_week FROM edges)
        AND EXISTS (SELECT FROM token_ledger_rollup_state)
    UNION ALL
    -- Plus whole days that are in none of those weeks, minus days of those weeks that are outside of the
    -- period. OFFSET 0 makes Postgres use the index: there are few such days.
    SELECT
        days.bucket::timestamp AT TIME ZONE 'UTC',
        days.bucket,
        days.value,
        days.provider,
        days.model,
        ranges.sign * days.calls,
        ranges.sign * days.input_tokens,
        ranges.sign * days.output_tokens,
        ranges.sign * days.total_tokens,
        ranges.sign * days.cached_tokens,
        ranges.sign * days.cost_usd,
        ranges.sign * days.errors,
        ranges.sign * days.priced,
        ranges.sign * days.partial,
        ranges.sign * days.estimated,
        ranges.sign * days.unpriced,
        ranges.sign * days.unmeasured,
        ranges.sign * days.not_settled
    FROM edges
    CROSS JOIN token_ledger_rollup_state AS state
    CROSS JOIN LATERAL (
        VALUES
            (edges.first_day, edges.first_week, 1),
            (
                GREATEST(edges.first_week, edges.first_day, LEAST(state.weeks_until, edges.end_week)),
                edges.end_day,
                1
            ),
            (edges.first_week, LEAST(edges.first_day, state.weeks_until), -1),
            (edges.end_day, LEAST(edges.end_week, state.weeks_until), -1)
    ) AS ranges (since, until, sign)
    CROSS JOIN LATERAL (
        SELECT *
        FROM token_ledger_rollup_days AS stored
        WHERE
            stored.dimension = by_dimension
            AND stored.bucket >= ranges.since
            AND stored.bucket < ranges.until
        OFFSET 0
    ) AS days
    WHERE largest_bucket = 'week'
    UNION ALL
    -- Whole days, for callers that group by day.
    SELECT
        days.bucket::timestamp AT TIME ZONE 'UTC',
        days.bucket,
        days.value,
        days.provider,
        days.model,
        days.calls,
        days.input_tokens,
        days.output_tokens,
        days.total_tokens,
        days.cached_tokens,
        days.cost_usd,
        days.errors,
        days.priced,
        days.partial,
        days.estimated,
        days.unpriced,
        days.unmeasured,
        days.not_settled
    FROM token_ledger_rollup_days AS days
    WHERE
        largest_bucket = 'day'
        AND days.dimension = by_dimension
        AND days.bucket >= (SELECT edges.first_day FROM edges)
        AND days.bucket < (SELECT edges.end_day FROM edges)
        AND EXISTS (SELECT FROM token_ledger_rollup_state)
    UNION ALL
    -- Whole hours before the first whole day, or all of them for callers that group by hour.
    SELECT
        hours.bucket,
        (hours.bucket AT TIME ZONE 'UTC')::date,
        hours.value,
        hours.provider,
        hours.model,
        hours.calls,
        hours.input_tokens,
        hours.output_tokens,
        hours.total_tokens,
        hours.cached_tokens,
        hours.cost_usd,
        hours.errors,
        hours.priced,
        hours.partial,
        hours.estimated,
        hours.unpriced,
        hours.unmeasured,
        hours.not_settled
    FROM token_ledger_rollup_hours AS hours
    WHERE
        hours.dimension = by_dimension
        AND hours.bucket >= (SELECT edges.first_hour FROM edges)
        AND hours.bucket < (
            SELECT
                CASE
                    WHEN largest_bucket = 'hour' THEN edges.end_hour
                    ELSE LEAST(edges.end_hour, edges.first_day::timestamp AT TIME ZONE 'UTC')
                END
            FROM edges
        )
        AND EXISTS (SELECT FROM token_ledger_rollup_state)
    UNION ALL
    -- Whole hours after the last whole day.
    SELECT
        hours.bucket,
        (hours.bucket AT TIME ZONE 'UTC')::date,
        hours.value,
        hours.provider,
        hours.model,
        hours.calls,
        hours.input_tokens,
        hours.output_tokens,
        hours.total_tokens,
        hours.cached_tokens,
        hours.cost_usd,
        hours.errors,
        hours.priced,
        hours.partial,
        hours.estimated,
        hours.unpriced,
        hours.unmeasured,
        hours.not_settled
    FROM token_ledger_rollup_hours AS hours
    WHERE
        largest_bucket <> 'hour'
        AND hours.dimension = by_dimension
        AND hours.bucket >= (SELECT edges.end_day::timestamp AT TIME ZONE 'UTC' FROM edges)
        AND hours.bucket < (SELECT edges.end_hour FROM edges)
        AND EXISTS (SELECT FROM token_ledger_rollup_state)
    UNION ALL
    -- Minus the slices that are out of date.
    SELECT
        slices.bucket,
        (slices.bucket AT TIME ZONE 'UTC')::date,
        slices.value,
        slices.provider,
        slices.model,
        -slices.calls,
        -slices.input_tokens,
        -slices.output_tokens,
        -slices.total_tokens,
        -slices.cached_tokens,
        -slices.cost_usd,
        -slices.errors,
        -slices.priced,
        -slices.partial,
        -slices.estimated,
        -slices.unpriced,
        -slices.unmeasured,
        -slices.not_settled
    FROM stale
    INNER JOIN token_ledger_rollup_slices AS slices ON slices.bucket = stale.bucket
    WHERE stale.is_hot AND slices.dimension = by_dimension
    UNION ALL
    -- Minus the hours without slices that are out of date.
    SELECT
        hours.bucket,
        (hours.bucket AT TIME ZONE 'UTC')::date,
        hours.value,
        hours.provider,
        hours.model,
        -hours.calls,
        -hours.input_tokens,
        -hours.output_tokens,
        -hours.total_tokens,
        -hours.cached_tokens,
        -hours.cost_usd,
        -hours.errors,
        -hours.priced,
        -hours.partial,
        -hours.estimated,
        -hours.unpriced,
        -hours.unmeasured,
        -hours.not_settled
    FROM stale
    INNER JOIN token_ledger_rollup_hours AS hours ON hours.bucket = stale.bucket
    WHERE NOT stale.is_hot AND hours.dimension = by_dimension;
END;
COMMENT ON FUNCTION token_ledger_stored_sums(text, text, timestamptz, timestamptz) IS
'Roll-ups of a period by one dimension, less those that are out of date';

-- Calls of a period that the stored sums do not hold: calls of stale periods, of hours that are only
-- partly in the period, and from before the roll-ups begin (all calls for a session that may not see
-- the roll-ups). They are read in one pass, because planning for a partitioned table is slow. Grouping
-- by cost_status and settled is faster than testing them for each call.
CREATE FUNCTION token_ledger_unsummed_calls(
    by_dimension text, largest_bucket text, period_start timestamptz, period_end timestamptz
)
RETURNS TABLE (
    "timestamp" timestamptz,
    day date,
    value text,
    provider text,
    model text,
    calls bigint,
    input_tokens bigint,
    output_tokens bigint,
    total_tokens bigint,
    cached_tokens bigint,
    cost_usd numeric,
    errors bigint,
    priced bigint,
    partial bigint,
    estimated bigint,
    unpriced bigint,
    unmeasured bigint,
    not_settled bigint
)
LANGUAGE sql STABLE
BEGIN ATOMIC
    WITH edges AS MATERIALIZED (
        SELECT * FROM token_ledger_period_edges(period_start, period_end)
    )

    SELECT
        sums.bucket,
        (sums.bucket AT TIME ZONE 'UTC')::date,
        sums.value,
        sums.provider,
        sums.model,
        periods.sign * sums.calls,
        (periods.sign * sums.input_tokens)::bigint,
        (periods.sign * sums.output_tokens)::bigint,
        (periods.sign * sums.total_tokens)::bigint,
        (periods.sign * sums.cached_tokens)::bigint,
        periods.sign * sums.cost_usd,
        periods.sign * sums.errors,
        CASE sums.cost_status WHEN 'priced' THEN periods.sign * sums.calls ELSE 0 END,
        CASE sums.cost_status WHEN 'partial' THEN periods.sign * sums.calls ELSE 0 END,
        CASE sums.cost_status WHEN 'estimated' THEN periods.sign * sums.calls ELSE 0 END,
        CASE sums.cost_status WHEN 'unpriced' THEN periods.sign * sums.calls ELSE 0 END,
        CASE sums.cost_status WHEN 'unmeasured' THEN periods.sign * sums.calls ELSE 0 END,
        CASE WHEN sums.settled THEN 0 ELSE periods.sign * sums.calls END
    FROM (
        SELECT stale.bucket AS since, stale.until, 1 AS sign
        FROM edges
        INNER JOIN token_ledger_rollup_stale AS stale
            ON stale.bucket >= edges.first_hour AND stale.bucket < edges.end_hour
        UNION ALL
        SELECT parts.since, parts.until, parts.sign
        FROM edges
        CROSS JOIN LATERAL (
            VALUES
                (period_start, edges.first_hour, 1),
                (edges.end_hour, period_end, 1),
                (period_end, edges.end_hour, -1),
                (
                    edges.first_hour,
                    LEAST(
                        edges.end_hour,
                        COALESCE(
                            (SELECT state.since FROM token_ledger_rollup_state AS state), 'infinity'
                        )
                    ),
                    1
                )
        ) AS parts (since, until, sign)
        WHERE parts.since < parts.until
    ) AS periods
    CROSS JOIN LATERAL (
        SELECT
            calls.bucket,
            calls.value,
            calls.provider,
            calls.model,
            calls.cost_status,
            calls.settled,
            count(*) AS calls,
            COALESCE(sum(calls.input_tokens), 0) AS input_tokens,
            COALESCE(sum(calls.output_tokens), 0) AS output_tokens,
            COALESCE(sum(calls.total_tokens), 0) AS total_tokens,
            COALESCE(sum(calls.cached_tokens), 0) AS cached_tokens,
            COALESCE(sum(calls.cost_usd), 0) AS cost_usd,
            count(*) FILTER (WHERE calls.status = 'error') AS errors
        FROM (
            SELECT
                CASE largest_bucket
                    WHEN 'hour'
                        THEN date_bin(interval '1 hour', events.timestamp, timestamptz '2000-01-01 00:00:00+00')
                    WHEN 'day'
                        THEN date_bin(interval '1 day', events.timestamp, timestamptz '2000-01-01 00:00:00+00')
                END AS bucket,
                CASE by_dimension
                    WHEN 'operation' THEN events.operation
                    WHEN 'user' THEN events.user_id
                    WHEN 'organization' THEN events.organization_id
                    WHEN 'project' THEN events.project
                    WHEN 'feature' THEN events.feature
                    WHEN 'team' THEN events.team
                    WHEN 'cost_center' THEN events.cost_center
                    WHEN 'agent' THEN events.agent_id
                    WHEN 'endpoint' THEN events.endpoint
                    WHEN 'app' THEN events.app_name
                    WHEN 'release' THEN events.release
                    WHEN 'environment' THEN events.environment
                    ELSE ''
                END AS value,
                events.provider,
                events.model,
                events.cost_status,
                events.settled,
                events.input_tokens,
                events.output_tokens,
                events.total_tokens,
                events.cached_tokens,
                events.cost_usd,
                events.status
            FROM token_ledger_events AS events
            WHERE events.timestamp >= periods.since AND events.timestamp < periods.until
            OFFSET 0
        ) AS calls
        GROUP BY
            calls.bucket, calls.value, calls.provider, calls.model, calls.cost_status, calls.settled
    ) AS sums;
END;
COMMENT ON FUNCTION token_ledger_unsummed_calls(text, text, timestamptz, timestamptz) IS
'Calls of a period that token_ledger_stored_sums does not hold, grouped by one dimension';

-- The rule that makes reports exact: stored sums, minus stale sums, plus the calls themselves.
CREATE FUNCTION token_ledger_sums(
    by_dimension text, largest_bucket text, period_start timestamptz, period_end timestamptz
)
RETURNS TABLE (
    "timestamp" timestamptz,
    day date,
    value text,
    provider text,
    model text,
    calls bigint,
    input_tokens bigint,
    output_tokens bigint,
    total_tokens bigint,
    cached_tokens bigint,
    cost_usd numeric,
    errors bigint,
    priced bigint,
    partial bigint,
    estimated bigint,
    unpriced bigint,
    unmeasured bigint,
    not_settled bigint
)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT * FROM token_ledger_stored_sums(by_dimension, largest_bucket, period_start, period_end)
    UNION ALL
    SELECT * FROM token_ledger_unsummed_calls(by_dimension, largest_bucket, period_start, period_end);
END;
COMMENT ON FUNCTION token_ledger_sums(text, text, timestamptz, timestamptz) IS
'Sums of the calls of a period by one dimension, exact in every snapshot; rows of a group add up to its sum';
