-- Adds the difference between the calls of some buckets and their roll-up to every level. It is one
-- statement, so both are from one snapshot.
WITH calls AS MATERIALIZED (
    SELECT
        buckets.bucket,
        provider, model, operation, user_id, organization_id, project, feature, team,
        cost_center, agent_id, endpoint, app_name, release, environment,
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
    FROM pg_catalog.unnest(%(buckets)s::timestamptz[]) AS buckets (bucket)
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
    SELECT
        bucket,
        CASE
            WHEN GROUPING(operation) = 0 THEN 'operation'
            WHEN GROUPING(user_id) = 0 THEN 'user'
            WHEN GROUPING(organization_id) = 0 THEN 'organization'
            WHEN GROUPING(project) = 0 THEN 'project'
            WHEN GROUPING(feature) = 0 THEN 'feature'
            WHEN GROUPING(team) = 0 THEN 'team'
            WHEN GROUPING(cost_center) = 0 THEN 'cost_center'
            WHEN GROUPING(agent_id) = 0 THEN 'agent'
            WHEN GROUPING(endpoint) = 0 THEN 'endpoint'
            WHEN GROUPING(app_name) = 0 THEN 'app'
            WHEN GROUPING(release) = 0 THEN 'release'
            WHEN GROUPING(environment) = 0 THEN 'environment'
            ELSE ''
        END AS dimension,
        CASE
            WHEN GROUPING(operation) = 0 THEN operation
            WHEN GROUPING(user_id) = 0 THEN user_id
            WHEN GROUPING(organization_id) = 0 THEN organization_id
            WHEN GROUPING(project) = 0 THEN project
            WHEN GROUPING(feature) = 0 THEN feature
            WHEN GROUPING(team) = 0 THEN team
            WHEN GROUPING(cost_center) = 0 THEN cost_center
            WHEN GROUPING(agent_id) = 0 THEN agent_id
            WHEN GROUPING(endpoint) = 0 THEN endpoint
            WHEN GROUPING(app_name) = 0 THEN app_name
            WHEN GROUPING(release) = 0 THEN release
            WHEN GROUPING(environment) = 0 THEN environment
            ELSE ''
        END AS value,
        COALESCE(provider, '') AS provider,
        COALESCE(model, '') AS model,
        pg_catalog.count(*) AS calls,
        COALESCE(pg_catalog.sum(input_tokens), 0) AS input_tokens,
        COALESCE(pg_catalog.sum(output_tokens), 0) AS output_tokens,
        COALESCE(pg_catalog.sum(total_tokens), 0) AS total_tokens,
        COALESCE(pg_catalog.sum(cached_tokens), 0) AS cached_tokens,
        COALESCE(pg_catalog.sum(cost_usd), 0) AS cost_usd,
        pg_catalog.count(*) FILTER (WHERE is_error) AS errors,
        pg_catalog.count(*) FILTER (WHERE is_priced) AS priced,
        pg_catalog.count(*) FILTER (WHERE is_partial) AS partial,
        pg_catalog.count(*) FILTER (WHERE is_estimated) AS estimated,
        pg_catalog.count(*) FILTER (WHERE is_unpriced) AS unpriced,
        pg_catalog.count(*) FILTER (WHERE is_unmeasured) AS unmeasured,
        pg_catalog.count(*) FILTER (WHERE is_not_settled) AS not_settled,
        pg_catalog.count(*) FILTER (WHERE is_reported) AS reported,
        pg_catalog.count(*) FILTER (WHERE differs) AS cost_differs
    FROM calls
    GROUP BY GROUPING SETS (
        (bucket, provider, model),
        (bucket, operation, provider, model),
        (bucket, user_id),
        (bucket, organization_id, provider, model),
        (bucket, project, provider, model),
        (bucket, feature, provider, model),
        (bucket, team, provider, model),
        (bucket, cost_center, provider, model),
        (bucket, agent_id, provider, model),
        (bucket, endpoint, provider, model),
        (bucket, app_name, provider, model),
        (bucket, release, provider, model),
        (bucket, environment, provider, model)
    )
),

difference AS MATERIALIZED (
    SELECT
        bucket, dimension, value, provider, model,
        sum(calls) AS calls, sum(input_tokens) AS input_tokens,
        sum(output_tokens) AS output_tokens, sum(total_tokens) AS total_tokens,
        sum(cached_tokens) AS cached_tokens, sum(cost_usd) AS cost_usd, sum(errors) AS errors,
        sum(priced) AS priced, sum(partial) AS partial, sum(estimated) AS estimated,
        sum(unpriced) AS unpriced, sum(unmeasured) AS unmeasured,
        sum(not_settled) AS not_settled, sum(reported) AS reported,
        sum(cost_differs) AS cost_differs
    FROM (
        SELECT
            bucket, dimension, value, provider, model,
            calls, input_tokens, output_tokens, total_tokens, cached_tokens, cost_usd, errors,
            priced, partial, estimated, unpriced, unmeasured, not_settled, reported, cost_differs
        FROM sums_of_calls
        UNION ALL
        SELECT
            bucket, dimension, value, provider, model,
            -stored.calls, -stored.input_tokens, -stored.output_tokens, -stored.total_tokens,
            -stored.cached_tokens, -stored.cost_usd, -stored.errors, -stored.priced, -stored.partial,
            -stored.estimated, -stored.unpriced, -stored.unmeasured, -stored.not_settled,
            -stored.reported, -stored.cost_differs
        FROM token_ledger_rollup_slices AS stored
        WHERE stored.bucket = ANY(%(buckets)s::timestamptz[]) AND NOT %(add)s::boolean
    ) AS both_sides
    GROUP BY bucket, dimension, value, provider, model
    HAVING
        (
            sum(calls), sum(input_tokens), sum(output_tokens), sum(total_tokens), sum(cached_tokens),
            sum(cost_usd), sum(errors), sum(priced), sum(partial), sum(estimated), sum(unpriced),
            sum(unmeasured), sum(not_settled), sum(reported), sum(cost_differs)
        ) <> (
            0::numeric, 0::numeric, 0::numeric, 0::numeric, 0::numeric, 0::numeric, 0::numeric,
            0::numeric, 0::numeric, 0::numeric, 0::numeric, 0::numeric, 0::numeric, 0::numeric,
            0::numeric
        )
),

add_to_slices AS (
    INSERT INTO token_ledger_rollup_slices AS stored (
        bucket, dimension, value, provider, model,
        calls, input_tokens, output_tokens, total_tokens, cached_tokens, cost_usd, errors,
        priced, partial, estimated, unpriced, unmeasured, not_settled, reported, cost_differs
    )
    SELECT
        bucket, dimension, value, provider, model,
        calls, input_tokens, output_tokens, total_tokens, cached_tokens, cost_usd, errors,
        priced, partial, estimated, unpriced, unmeasured, not_settled, reported, cost_differs
    FROM difference
    ON CONFLICT (bucket, dimension, value, provider, model) DO UPDATE
    SET
        calls = stored.calls + excluded.calls,
        input_tokens = stored.input_tokens + excluded.input_tokens,
        output_tokens = stored.output_tokens + excluded.output_tokens,
        total_tokens = stored.total_tokens + excluded.total_tokens,
        cached_tokens = stored.cached_tokens + excluded.cached_tokens,
        cost_usd = stored.cost_usd + excluded.cost_usd, errors = stored.errors + excluded.errors,
        priced = stored.priced + excluded.priced, partial = stored.partial + excluded.partial,
        estimated = stored.estimated + excluded.estimated,
        unpriced = stored.unpriced + excluded.unpriced,
        unmeasured = stored.unmeasured + excluded.unmeasured,
        not_settled = stored.not_settled + excluded.not_settled,
        reported = stored.reported + excluded.reported,
        cost_differs = stored.cost_differs + excluded.cost_differs
),

add_to_hours AS (
    INSERT INTO token_ledger_rollup_hours AS stored (
        bucket, dimension, value, provider, model,
        calls, input_tokens, output_tokens, total_tokens, cached_tokens, cost_usd, errors,
        priced, partial, estimated, unpriced, unmeasured, not_settled, reported, cost_differs
    )
    SELECT
        pg_catalog.date_trunc('hour', bucket, 'UTC') AS hour, dimension, value, provider, model,
        sum(calls), sum(input_tokens), sum(output_tokens), sum(total_tokens), sum(cached_tokens),
        sum(cost_usd), sum(errors), sum(priced), sum(partial), sum(estimated), sum(unpriced),
        sum(unmeasured), sum(not_settled), sum(reported), sum(cost_differs)
    FROM difference
    GROUP BY hour, dimension, value, provider, model
    ON CONFLICT (bucket, dimension, value, provider, model) DO UPDATE
    SET
        calls = stored.calls + excluded.calls,
        input_tokens = stored.input_tokens + excluded.input_tokens,
        output_tokens = stored.output_tokens + excluded.output_tokens,
        total_tokens = stored.total_tokens + excluded.total_tokens,
        cached_tokens = stored.cached_tokens + excluded.cached_tokens,
        cost_usd = stored.cost_usd + excluded.cost_usd, errors = stored.errors + excluded.errors,
        priced = stored.priced + excluded.priced, partial = stored.partial + excluded.partial,
        estimated = stored.estimated + excluded.estimated,
        unpriced = stored.unpriced + excluded.unpriced,
        unmeasured = stored.unmeasured + excluded.unmeasured,
        not_settled = stored.not_settled + excluded.not_settled,
        reported = stored.reported + excluded.reported,
        cost_differs = stored.cost_differs + excluded.cost_differs
),

add_to_days AS (
    INSERT INTO token_ledger_rollup_days AS stored (
        bucket, dimension, value, provider, model,
        calls, input_tokens, output_tokens, total_tokens, cached_tokens, cost_usd, errors,
        priced, partial, estimated, unpriced, unmeasured, not_settled, reported, cost_differs
    )
    SELECT
        (bucket AT TIME ZONE 'UTC')::date AS day, dimension, value, provider, model,
        sum(calls), sum(input_tokens), sum(output_tokens), sum(total_tokens), sum(cached_tokens),
        sum(cost_usd), sum(errors), sum(priced), sum(partial), sum(estimated), sum(unpriced),
        sum(unmeasured), sum(not_settled), sum(reported), sum(cost_differs)
    FROM difference
    GROUP BY day, dimension, value, provider, model
    ON CONFLICT (dimension, bucket, value, provider, model) DO UPDATE
    SET
        calls = stored.calls + excluded.calls,
        input_tokens = stored.input_tokens + excluded.input_tokens,
        output_tokens = stored.output_tokens + excluded.output_tokens,
        total_tokens = stored.total_tokens + excluded.total_tokens,
        cached_tokens = stored.cached_tokens + excluded.cached_tokens,
        cost_usd = stored.cost_usd + excluded.cost_usd, errors = stored.errors + excluded.errors,
        priced = stored.priced + excluded.priced, partial = stored.partial + excluded.partial,
        estimated = stored.estimated + excluded.estimated,
        unpriced = stored.unpriced + excluded.unpriced,
        unmeasured = stored.unmeasured + excluded.unmeasured,
        not_settled = stored.not_settled + excluded.not_settled,
        reported = stored.reported + excluded.reported,
        cost_differs = stored.cost_differs + excluded.cost_differs
)

SELECT pg_catalog.count(*) AS changed, pg_catalog.count(*) FILTER (WHERE calls < 0::numeric) AS with_fewer_calls FROM difference
