-- A cost that only the provider reports: a status of its own, and whether it differs from ours.

ALTER TABLE token_ledger_events DROP CONSTRAINT cost_status_is_known;
ALTER TABLE token_ledger_events ADD CONSTRAINT cost_status_is_known
CHECK (cost_status IN ('priced', 'reported', 'partial', 'estimated', 'unpriced', 'unmeasured'));
ALTER TABLE token_ledger_events ADD CONSTRAINT reported_cost_is_the_cost
CHECK (cost_status <> 'reported' OR (reported_cost_usd IS NOT NULL AND cost_usd = reported_cost_usd));
COMMENT ON COLUMN token_ledger_events.cost_usd IS 'Cost of the call, US dollars, exact; the reported cost if cost_status is reported; NULL if unpriced or unmeasured';
COMMENT ON COLUMN token_ledger_events.cost_status IS 'priced, reported (the provider''s own figure), partial (something billed has no known count or price), estimated, unpriced or unmeasured';
COMMENT ON COLUMN token_ledger_events.reported_cost_usd IS 'Cost as the provider reported it, US dollars; it is cost_usd only if cost_status is reported. details has its source';

-- Providers whose reported cost is the cost. Whoever may read the prices may read this.
CREATE TABLE token_ledger_reported_cost_providers (
    provider text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    recorded_by text NOT NULL DEFAULT session_user,
    PRIMARY KEY (provider),
    CONSTRAINT provider_is_short CHECK (length(provider) BETWEEN 1 AND 64)
);
COMMENT ON TABLE token_ledger_reported_cost_providers IS 'Providers whose reported cost is preferred to the price list; see tokenledger prices prefer-reported';
COMMENT ON COLUMN token_ledger_reported_cost_providers.provider IS 'Who bills the call';
COMMENT ON COLUMN token_ledger_reported_cost_providers.recorded_at IS 'When it was set';
COMMENT ON COLUMN token_ledger_reported_cost_providers.recorded_by IS 'The database user who set it';

-- Providers round what they report. Two costs differ if they are more than 1 % apart, and more than
-- half a unit of the last decimal of the reported one (of four decimals if it has fewer).
CREATE FUNCTION token_ledger_cost_differs(reported_usd numeric, cost_usd numeric) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN reported_usd IS NULL OR cost_usd IS NULL OR reported_usd = cost_usd THEN false
    ELSE abs(reported_usd - cost_usd) > GREATEST(
        0.01 * reported_usd,
        0.01 * cost_usd,
        0.5 * power(10::numeric, -GREATEST(scale(reported_usd), 4)::numeric)
    )
END;
COMMENT ON FUNCTION token_ledger_cost_differs(numeric, numeric) IS
'Whether a reported cost differs from ours by more than rounding; false if one of them is not known';

DO $$
DECLARE
    level text;
BEGIN
    FOREACH level IN ARRAY ARRAY['slices', 'hours', 'days', 'weeks'] LOOP
        -- The default is for the sums that exist: no call had this status before.
        EXECUTE format(
            'ALTER TABLE token_ledger_rollup_%1$s '
            'ADD COLUMN reported bigint NOT NULL DEFAULT 0, '
            'ADD COLUMN cost_differs bigint NOT NULL DEFAULT 0',
            level
        );
        EXECUTE format(
            'ALTER TABLE token_ledger_rollup_%1$s '
            'ALTER COLUMN reported DROP DEFAULT, ALTER COLUMN cost_differs DROP DEFAULT',
            level
        );
        EXECUTE format(
            'COMMENT ON COLUMN token_ledger_rollup_%1$s.reported IS %2$L',
            level, 'Calls whose cost_status is reported'
        );
        EXECUTE format(
            'COMMENT ON COLUMN token_ledger_rollup_%1$s.cost_differs IS %2$L',
            level, 'Calls whose reported cost differs from cost_usd by more than rounding'
        );
    END LOOP;
END
$$;

-- Calls that differ already are summed again.
INSERT INTO token_ledger_rollup_dirty_slices (bucket)
SELECT DISTINCT token_ledger_slice(timestamp)
FROM token_ledger_events
WHERE token_ledger_cost_differs(reported_cost_usd, cost_usd);

-- The functions of 0005_rollups with two more columns. A function's columns cannot be changed, so each
-- gets another name until the views no longer need the old one.

-- Stored sums of a period, less those that are out of date.
--
-- by_dimension is a name as in the column dimension. largest_bucket is the largest bucket the caller
-- can use: 'hour' or 'day' if it groups by them, 'week' if it does not group by time. Both are
-- constants in every caller, so Postgres removes the parts that do not apply.
CREATE FUNCTION token_ledger_stored_sums_new(
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
    not_settled bigint,
    reported bigint,
    cost_differs bigint
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
        weeks.not_settled,
        weeks.reported,
        weeks.cost_differs
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
        ranges.sign * days.not_settled,
        ranges.sign * days.reported,
        ranges.sign * days.cost_differs
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
        days.not_settled,
        days.reported,
        days.cost_differs
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
        hours.not_settled,
        hours.reported,
        hours.cost_differs
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
        hours.not_settled,
        hours.reported,
        hours.cost_differs
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
        -slices.not_settled,
        -slices.reported,
        -slices.cost_differs
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
        -hours.not_settled,
        -hours.reported,
        -hours.cost_differs
    FROM stale
    INNER JOIN token_ledger_rollup_hours AS hours ON hours.bucket = stale.bucket
    WHERE NOT stale.is_hot AND hours.dimension = by_dimension;
END;
COMMENT ON FUNCTION token_ledger_stored_sums_new(text, text, timestamptz, timestamptz) IS
'Roll-ups of a period by one dimension, less those that are out of date';

-- Calls of a period that the stored sums do not hold: calls of stale periods, of hours that are only
-- partly in the period, and from before the roll-ups begin (all calls for a session that may not see
-- the roll-ups). They are read in one pass, because planning for a partitioned table is slow. Grouping
-- by cost_status and settled is faster than testing them for each call.
CREATE FUNCTION token_ledger_unsummed_calls_new(
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
    not_settled bigint,
    reported bigint,
    cost_differs bigint
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
        CASE WHEN sums.settled THEN 0 ELSE periods.sign * sums.calls END,
        CASE sums.cost_status WHEN 'reported' THEN periods.sign * sums.calls ELSE 0 END,
        periods.sign * sums.cost_differs
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
            count(*) FILTER (WHERE calls.status = 'error') AS errors,
            count(*) FILTER (
                WHERE token_ledger_cost_differs(calls.reported_cost_usd, calls.cost_usd)
            ) AS cost_differs
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
                events.reported_cost_usd,
                events.status
            FROM token_ledger_events AS events
            WHERE events.timestamp >= periods.since AND events.timestamp < periods.until
            OFFSET 0
        ) AS calls
        GROUP BY
            calls.bucket, calls.value, calls.provider, calls.model, calls.cost_status, calls.settled
    ) AS sums;
END;
COMMENT ON FUNCTION token_ledger_unsummed_calls_new(text, text, timestamptz, timestamptz) IS
'Calls of a period that token_ledger_stored_sums does not hold, grouped by one dimension';

-- The rule that makes reports exact: stored sums, minus stale sums, plus the calls themselves.
CREATE FUNCTION token_ledger_sums_new(
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
    not_settled bigint,
    reported bigint,
    cost_differs bigint
)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT * FROM token_ledger_stored_sums_new(by_dimension, largest_bucket, period_start, period_end)
    UNION ALL
    SELECT * FROM token_ledger_unsummed_calls_new(by_dimension, largest_bucket, period_start, period_end);
END;
COMMENT ON FUNCTION token_ledger_sums_new(text, text, timestamptz, timestamptz) IS
'Sums of the calls of a period by one dimension, exact in every snapshot; rows of a group add up to its sum';

-- The roles that may call the old functions may call the new ones, and no others.
DO $$
DECLARE
    permission record;
BEGIN
    FOR permission IN
        SELECT functions.proname
        FROM pg_proc AS functions
        WHERE
            functions.pronamespace = current_schema()::regnamespace
            AND functions.proname IN (
                'token_ledger_stored_sums', 'token_ledger_unsummed_calls', 'token_ledger_sums'
            )
            AND functions.proacl IS NOT NULL
            AND NOT EXISTS (
                SELECT FROM aclexplode(functions.proacl) AS entries WHERE entries.grantee = 0
            )
    LOOP
        EXECUTE format(
            'REVOKE ALL ON FUNCTION %I (text, text, timestamptz, timestamptz) FROM PUBLIC',
            permission.proname || '_new'
        );
    END LOOP;
    FOR permission IN
        SELECT
            functions.proname,
            entries.grantee,
            entries.is_grantable
        FROM pg_proc AS functions
        CROSS JOIN LATERAL aclexplode(functions.proacl) AS entries
        WHERE
            functions.pronamespace = current_schema()::regnamespace
            AND functions.proname IN (
                'token_ledger_stored_sums', 'token_ledger_unsummed_calls', 'token_ledger_sums'
            )
            AND entries.grantee <> 0
    LOOP
        EXECUTE format(
            'GRANT EXECUTE ON FUNCTION %I (text, text, timestamptz, timestamptz) TO %s %s',
            permission.proname || '_new',
            permission.grantee::regrole,
            CASE WHEN permission.is_grantable THEN 'WITH GRANT OPTION' ELSE '' END
        );
    END LOOP;
    FOR permission IN
        SELECT DISTINCT entries.grantee
        FROM pg_class AS tables
        CROSS JOIN LATERAL aclexplode(tables.relacl) AS entries
        WHERE
            tables.oid = 'token_ledger_prices'::regclass
            AND entries.privilege_type = 'SELECT'
            AND entries.grantee <> 0
    LOOP
        EXECUTE format(
            'GRANT SELECT ON token_ledger_reported_cost_providers TO %s', permission.grantee::regrole
        );
    END LOOP;
END
$$;

DO $$
DECLARE
    view_row record;
BEGIN
    FOR view_row IN
        SELECT *
        FROM (
            VALUES
                ('token_ledger_daily_costs', '', 'provider, model', 'provider, model'),
                ('token_ledger_model_costs', '', 'provider, model', 'provider, model'),
                ('token_ledger_user_costs', 'user', 'value AS user_id', 'value'),
                ('token_ledger_feature_costs', 'feature', 'value AS feature', 'value'),
                ('token_ledger_team_costs', 'team', 'value AS team', 'value'),
                ('token_ledger_project_costs', 'project', 'value AS project', 'value'),
                ('token_ledger_cost_center_costs', 'cost_center', 'value AS cost_center', 'value'),
                ('token_ledger_agent_costs', 'agent', 'value AS agent_id', 'value'),
                ('token_ledger_endpoint_costs', 'endpoint', 'value AS endpoint', 'value'),
                ('token_ledger_organization_costs', 'organization', 'value AS organization_id', 'value')
        ) AS views (name, dimension, labels, grouping_columns)
    LOOP
        EXECUTE format(
            $view$
            CREATE OR REPLACE VIEW %1$I WITH (security_invoker = true) AS
            SELECT
                day,
                %2$s,
                sum(calls)::bigint AS calls,
                sum(input_tokens) AS input_tokens,
                sum(output_tokens) AS output_tokens,
                sum(cached_tokens) AS cached_tokens,
                CASE WHEN sum(priced + reported + partial + estimated) > 0 THEN sum(cost_usd) END
                    AS cost_usd,
                sum(unpriced + unmeasured)::bigint AS calls_without_cost,
                sum(priced)::bigint AS priced,
                sum(partial)::bigint AS partial,
                sum(estimated)::bigint AS estimated,
                sum(unpriced)::bigint AS unpriced,
                sum(unmeasured)::bigint AS unmeasured,
                sum(not_settled)::bigint AS not_settled,
                sum(reported)::bigint AS reported,
                sum(cost_differs)::bigint AS cost_differs
            FROM token_ledger_sums_new(%3$L, 'day', '-infinity', 'infinity')
            GROUP BY day, %4$s
            HAVING sum(calls) <> 0
            $view$,
            view_row.name, view_row.labels, view_row.dimension, view_row.grouping_columns
        );
        EXECUTE format(
            'COMMENT ON COLUMN %I.reported IS %L', view_row.name, 'Calls whose cost_status is reported'
        );
        EXECUTE format(
            'COMMENT ON COLUMN %I.cost_differs IS %L',
            view_row.name,
            'Calls whose reported cost differs from cost_usd by more than rounding'
        );
    END LOOP;
END
$$;

CREATE OR REPLACE VIEW token_ledger_coverage WITH (security_invoker = true) AS
SELECT
    day,
    sum(calls)::bigint AS calls,
    sum(priced)::bigint AS priced,
    sum(partial)::bigint AS partial,
    sum(estimated)::bigint AS estimated,
    sum(unpriced)::bigint AS unpriced,
    sum(unmeasured)::bigint AS unmeasured,
    sum(not_settled)::bigint AS not_settled,
    sum(lost)::bigint AS lost,
    sum(reported)::bigint AS reported,
    sum(cost_differs)::bigint AS cost_differs
FROM (
    SELECT
        day, calls, priced, partial, estimated, unpriced, unmeasured, not_settled, 0::bigint AS lost,
        reported, cost_differs
    FROM token_ledger_sums_new('', 'day', '-infinity', 'infinity')
    UNION ALL
    SELECT (recorded_at AT TIME ZONE 'UTC')::date, 0, 0, 0, 0, 0, 0, 0, records, 0, 0
    FROM token_ledger_losses
    -- One tenant's losses must not change another's coverage.
    WHERE organization_id = ''
) AS counts
GROUP BY day
HAVING sum(calls) <> 0 OR sum(lost) <> 0;
COMMENT ON COLUMN token_ledger_coverage.reported IS 'Calls whose cost_status is reported';
COMMENT ON COLUMN token_ledger_coverage.cost_differs IS 'Calls whose reported cost differs from cost_usd by more than rounding; they are also in the column of their cost_status';

DROP FUNCTION token_ledger_sums(text, text, timestamptz, timestamptz);
DROP FUNCTION token_ledger_unsummed_calls(text, text, timestamptz, timestamptz);
DROP FUNCTION token_ledger_stored_sums(text, text, timestamptz, timestamptz);
ALTER FUNCTION token_ledger_stored_sums_new(text, text, timestamptz, timestamptz)
RENAME TO token_ledger_stored_sums;
ALTER FUNCTION token_ledger_unsummed_calls_new(text, text, timestamptz, timestamptz)
RENAME TO token_ledger_unsummed_calls;
ALTER FUNCTION token_ledger_sums_new(text, text, timestamptz, timestamptz)
RENAME TO token_ledger_sums;

CREATE VIEW token_ledger_cost_differences WITH (security_invoker = true) AS
SELECT
    event_id,
    timestamp,
    provider,
    model,
    cost_status,
    cost_usd,
    reported_cost_usd,
    reported_cost_usd - cost_usd AS difference_usd,
    details ->> 'tokenledger.cost.source' AS reported_cost_source
FROM token_ledger_events
WHERE token_ledger_cost_differs(reported_cost_usd, cost_usd);
COMMENT ON VIEW token_ledger_cost_differences IS 'Calls whose provider reports another cost than ours, by more than rounding';
COMMENT ON COLUMN token_ledger_cost_differences.event_id IS 'Identity of the call';
COMMENT ON COLUMN token_ledger_cost_differences.timestamp IS 'When the call started';
COMMENT ON COLUMN token_ledger_cost_differences.provider IS 'Who bills the call';
COMMENT ON COLUMN token_ledger_cost_differences.model IS 'Model that answered';
COMMENT ON COLUMN token_ledger_cost_differences.cost_status IS 'How much of cost_usd is known';
COMMENT ON COLUMN token_ledger_cost_differences.cost_usd IS 'Our cost, US dollars';
COMMENT ON COLUMN token_ledger_cost_differences.reported_cost_usd IS 'The cost that the provider reported, US dollars';
COMMENT ON COLUMN token_ledger_cost_differences.difference_usd IS 'The reported cost minus ours, US dollars';
COMMENT ON COLUMN token_ledger_cost_differences.reported_cost_source IS 'The field that reported it';
-- Whoever may read the coverage may read which calls differ.
DO $$
DECLARE
    reader record;
BEGIN
    FOR reader IN
        SELECT DISTINCT entries.grantee
        FROM pg_class AS views
        CROSS JOIN LATERAL aclexplode(views.relacl) AS entries
        WHERE
            views.oid = 'token_ledger_coverage'::regclass
            AND entries.privilege_type = 'SELECT'
            AND entries.grantee <> 0
    LOOP
        EXECUTE format('GRANT SELECT ON token_ledger_cost_differences TO %s', reader.grantee::regrole);
    END LOOP;
END
$$;
