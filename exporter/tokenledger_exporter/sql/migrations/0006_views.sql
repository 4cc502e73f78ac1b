-- Views: cost by day and dimension, the coverage that says what is missing, and suspected duplicates.
--
-- security_invoker applies row-level security through the views (Postgres 15 and later). Days are UTC.
-- cost_usd sums the known costs; calls_without_cost counts the calls that add nothing to it.

CREATE VIEW token_ledger_daily_costs WITH (security_invoker = true) AS
SELECT
    day,
    provider,
    model,
    sum(calls)::bigint AS calls,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(cached_tokens) AS cached_tokens,
    sum(cost_usd) AS cost_usd,
    sum(unpriced + unmeasured)::bigint AS calls_without_cost,
    sum(priced)::bigint AS priced,
    sum(partial)::bigint AS partial,
    sum(estimated)::bigint AS estimated,
    sum(unpriced)::bigint AS unpriced,
    sum(unmeasured)::bigint AS unmeasured,
    sum(not_settled)::bigint AS not_settled
FROM token_ledger_sums('', 'day', '-infinity', 'infinity')
GROUP BY day, provider, model
HAVING sum(calls) <> 0;
COMMENT ON VIEW token_ledger_daily_costs IS 'Cost by day, provider and model';
COMMENT ON COLUMN token_ledger_daily_costs.provider IS 'Who bills';
COMMENT ON COLUMN token_ledger_daily_costs.model IS 'Model that answered';

CREATE VIEW token_ledger_model_costs WITH (security_invoker = true) AS
SELECT
    day,
    provider,
    model,
    sum(calls)::bigint AS calls,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(cached_tokens) AS cached_tokens,
    sum(cost_usd) AS cost_usd,
    sum(unpriced + unmeasured)::bigint AS calls_without_cost,
    sum(priced)::bigint AS priced,
    sum(partial)::bigint AS partial,
    sum(estimated)::bigint AS estimated,
    sum(unpriced)::bigint AS unpriced,
    sum(unmeasured)::bigint AS unmeasured,
    sum(not_settled)::bigint AS not_settled
FROM token_ledger_sums('', 'day', '-infinity', 'infinity')
GROUP BY day, provider, model
HAVING sum(calls) <> 0;
COMMENT ON VIEW token_ledger_model_costs IS 'Cost by day and model';
COMMENT ON COLUMN token_ledger_model_costs.provider IS 'Who bills';
COMMENT ON COLUMN token_ledger_model_costs.model IS 'Model that answered';

CREATE VIEW token_ledger_user_costs WITH (security_invoker = true) AS
SELECT
    day,
    value AS user_id,
    sum(calls)::bigint AS calls,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(cached_tokens) AS cached_tokens,
    sum(cost_usd) AS cost_usd,
    sum(unpriced + unmeasured)::bigint AS calls_without_cost,
    sum(priced)::bigint AS priced,
    sum(partial)::bigint AS partial,
    sum(estimated)::bigint AS estimated,
    sum(unpriced)::bigint AS unpriced,
    sum(unmeasured)::bigint AS unmeasured,
    sum(not_settled)::bigint AS not_settled
FROM token_ledger_sums('user', 'day', '-infinity', 'infinity')
GROUP BY day, value
HAVING sum(calls) <> 0;
COMMENT ON VIEW token_ledger_user_costs IS 'Cost by day and user';
COMMENT ON COLUMN token_ledger_user_costs.user_id IS 'User; empty if the call has none';

CREATE VIEW token_ledger_feature_costs WITH (security_invoker = true) AS
SELECT
    day,
    value AS feature,
    sum(calls)::bigint AS calls,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(cached_tokens) AS cached_tokens,
    sum(cost_usd) AS cost_usd,
    sum(unpriced + unmeasured)::bigint AS calls_without_cost,
    sum(priced)::bigint AS priced,
    sum(partial)::bigint AS partial,
    sum(estimated)::bigint AS estimated,
    sum(unpriced)::bigint AS unpriced,
    sum(unmeasured)::bigint AS unmeasured,
    sum(not_settled)::bigint AS not_settled
FROM token_ledger_sums('feature', 'day', '-infinity', 'infinity')
GROUP BY day, value
HAVING sum(calls) <> 0;
COMMENT ON VIEW token_ledger_feature_costs IS 'Cost by day and feature';
COMMENT ON COLUMN token_ledger_feature_costs.feature IS 'Feature; empty if the call has none';

CREATE VIEW token_ledger_team_costs WITH (security_invoker = true) AS
SELECT
    day,
    value AS team,
    sum(calls)::bigint AS calls,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(cached_tokens) AS cached_tokens,
    sum(cost_usd) AS cost_usd,
    sum(unpriced + unmeasured)::bigint AS calls_without_cost,
    sum(priced)::bigint AS priced,
    sum(partial)::bigint AS partial,
    sum(estimated)::bigint AS estimated,
    sum(unpriced)::bigint AS unpriced,
    sum(unmeasured)::bigint AS unmeasured,
    sum(not_settled)::bigint AS not_settled
FROM token_ledger_sums('team', 'day', '-infinity', 'infinity')
GROUP BY day, value
HAVING sum(calls) <> 0;
COMMENT ON VIEW token_ledger_team_costs IS 'Cost by day and team';
COMMENT ON COLUMN token_ledger_team_costs.team IS 'Team; empty if the call has none';

CREATE VIEW token_ledger_project_costs WITH (security_invoker = true) AS
SELECT
    day,
    value AS project,
    sum(calls)::bigint AS calls,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(cached_tokens) AS cached_tokens,
    sum(cost_usd) AS cost_usd,
    sum(unpriced + unmeasured)::bigint AS calls_without_cost,
    sum(priced)::bigint AS priced,
    sum(partial)::bigint AS partial,
    sum(estimated)::bigint AS estimated,
    sum(unpriced)::bigint AS unpriced,
    sum(unmeasured)::bigint AS unmeasured,
    sum(not_settled)::bigint AS not_settled
FROM token_ledger_sums('project', 'day', '-infinity', 'infinity')
GROUP BY day, value
HAVING sum(calls) <> 0;
COMMENT ON VIEW token_ledger_project_costs IS 'Cost by day and project';
COMMENT ON COLUMN token_ledger_project_costs.project IS 'Project; empty if the call has none';

CREATE VIEW token_ledger_cost_center_costs WITH (security_invoker = true) AS
SELECT
    day,
    value AS cost_center,
    sum(calls)::bigint AS calls,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(cached_tokens) AS cached_tokens,
    sum(cost_usd) AS cost_usd,
    sum(unpriced + unmeasured)::bigint AS calls_without_cost,
    sum(priced)::bigint AS priced,
    sum(partial)::bigint AS partial,
    sum(estimated)::bigint AS estimated,
    sum(unpriced)::bigint AS unpriced,
    sum(unmeasured)::bigint AS unmeasured,
    sum(not_settled)::bigint AS not_settled
FROM token_ledger_sums('cost_center', 'day', '-infinity', 'infinity')
GROUP BY day, value
HAVING sum(calls) <> 0;
COMMENT ON VIEW token_ledger_cost_center_costs IS 'Cost by day and cost center';
COMMENT ON COLUMN token_ledger_cost_center_costs.cost_center IS 'Cost center; empty if the call has none';

CREATE VIEW token_ledger_agent_costs WITH (security_invoker = true) AS
SELECT
    day,
    value AS agent_id,
    sum(calls)::bigint AS calls,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(cached_tokens) AS cached_tokens,
    sum(cost_usd) AS cost_usd,
    sum(unpriced + unmeasured)::bigint AS calls_without_cost,
    sum(priced)::bigint AS priced,
    sum(partial)::bigint AS partial,
    sum(estimated)::bigint AS estimated,
    sum(unpriced)::bigint AS unpriced,
    sum(unmeasured)::bigint AS unmeasured,
    sum(not_settled)::bigint AS not_settled
FROM token_ledger_sums('agent', 'day', '-infinity', 'infinity')
GROUP BY day, value
HAVING sum(calls) <> 0;
COMMENT ON VIEW token_ledger_agent_costs IS 'Cost by day and agent';
COMMENT ON COLUMN token_ledger_agent_costs.agent_id IS 'Agent; empty if the call has none';

CREATE VIEW token_ledger_endpoint_costs WITH (security_invoker = true) AS
SELECT
    day,
    value AS endpoint,
    sum(calls)::bigint AS calls,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(cached_tokens) AS cached_tokens,
    sum(cost_usd) AS cost_usd,
    sum(unpriced + unmeasured)::bigint AS calls_without_cost,
    sum(priced)::bigint AS priced,
    sum(partial)::bigint AS partial,
    sum(estimated)::bigint AS estimated,
    sum(unpriced)::bigint AS unpriced,
    sum(unmeasured)::bigint AS unmeasured,
    sum(not_settled)::bigint AS not_settled
FROM token_ledger_sums('endpoint', 'day', '-infinity', 'infinity')
GROUP BY day, value
HAVING sum(calls) <> 0;
COMMENT ON VIEW token_ledger_endpoint_costs IS 'Cost by day and endpoint';
COMMENT ON COLUMN token_ledger_endpoint_costs.endpoint IS 'Endpoint; empty if the call has none';

CREATE VIEW token_ledger_organization_costs WITH (security_invoker = true) AS
SELECT
    day,
    value AS organization_id,
    sum(calls)::bigint AS calls,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(cached_tokens) AS cached_tokens,
    sum(cost_usd) AS cost_usd,
    sum(unpriced + unmeasured)::bigint AS calls_without_cost,
    sum(priced)::bigint AS priced,
    sum(partial)::bigint AS partial,
    sum(estimated)::bigint AS estimated,
    sum(unpriced)::bigint AS unpriced,
    sum(unmeasured)::bigint AS unmeasured,
    sum(not_settled)::bigint AS not_settled
FROM token_ledger_sums('organization', 'day', '-infinity', 'infinity')
GROUP BY day, value
HAVING sum(calls) <> 0;
COMMENT ON VIEW token_ledger_organization_costs IS 'Cost by day and organization';
COMMENT ON COLUMN token_ledger_organization_costs.organization_id IS 'Organization; empty if the call has none';

-- The columns that every view above has.
DO $$
DECLARE
    view_name text;
    documented record;
BEGIN
    FOREACH view_name IN ARRAY ARRAY[
        'token_ledger_daily_costs', 'token_ledger_model_costs', 'token_ledger_user_costs',
        'token_ledger_feature_costs', 'token_ledger_team_costs', 'token_ledger_project_costs',
        'token_ledger_cost_center_costs', 'token_ledger_agent_costs', 'token_ledger_endpoint_costs',
        'token_ledger_organization_costs'
    ] LOOP
        FOR documented IN
            SELECT *
            FROM (
                VALUES
                    ('day', 'Day, UTC'),
                    ('calls', 'Model calls'),
                    ('input_tokens', 'Input tokens, including cached ones'),
                    ('output_tokens', 'Output tokens, including reasoning'),
                    ('cached_tokens', 'Input tokens read from a cache'),
                    ('cost_usd', 'Known cost, US dollars'),
                    (
                        'calls_without_cost',
                        'Calls that are unpriced or unmeasured and add nothing to cost_usd'
                    ),
                    ('priced', 'Calls whose cost_status is priced'),
                    ('partial', 'Calls whose cost_status is partial'),
                    ('estimated', 'Calls whose cost_status is estimated'),
                    ('unpriced', 'Calls whose cost_status is unpriced'),
                    ('unmeasured', 'Calls whose cost_status is unmeasured'),
                    ('not_settled', 'Calls that were not checked for duplicates yet')
            ) AS comments (column_name, text)
        LOOP
            EXECUTE format('COMMENT ON COLUMN %I.%I IS %L', view_name, documented.column_name, documented.text);
        END LOOP;
    END LOOP;
END
$$;

CREATE VIEW token_ledger_coverage WITH (security_invoker = true) AS
SELECT
    day,
    sum(calls)::bigint AS calls,
    sum(priced)::bigint AS priced,
    sum(partial)::bigint AS partial,
    sum(estimated)::bigint AS estimated,
    sum(unpriced)::bigint AS unpriced,
    sum(unmeasured)::bigint AS unmeasured,
    sum(not_settled)::bigint AS not_settled,
    sum(lost)::bigint AS lost
FROM (
    SELECT day, calls, priced, partial, estimated, unpriced, unmeasured, not_settled, 0::bigint AS lost
    FROM token_ledger_sums('', 'day', '-infinity', 'infinity')
    UNION ALL
    SELECT (recorded_at AT TIME ZONE 'UTC')::date, 0, 0, 0, 0, 0, 0, 0, records
    FROM token_ledger_losses
    -- One tenant's losses must not change another's coverage.
    WHERE organization_id = ''
) AS counts
GROUP BY day
HAVING sum(calls) <> 0 OR sum(lost) <> 0;
COMMENT ON VIEW token_ledger_coverage IS 'How many calls of each day have a cost, by cost_status, and how many are known to be lost';
COMMENT ON COLUMN token_ledger_coverage.day IS 'Day, UTC';
COMMENT ON COLUMN token_ledger_coverage.calls IS 'Model calls';
COMMENT ON COLUMN token_ledger_coverage.priced IS 'Calls whose cost_status is priced';
COMMENT ON COLUMN token_ledger_coverage.partial IS 'Calls whose cost_status is partial';
COMMENT ON COLUMN token_ledger_coverage.estimated IS 'Calls whose cost_status is estimated';
COMMENT ON COLUMN token_ledger_coverage.unpriced IS 'Calls whose cost_status is unpriced';
COMMENT ON COLUMN token_ledger_coverage.unmeasured IS 'Calls whose cost_status is unmeasured';
COMMENT ON COLUMN token_ledger_coverage.not_settled IS 'Calls that were not checked for duplicates yet';
COMMENT ON COLUMN token_ledger_coverage.lost IS 'Records that the operator''s own sources lost that day; they are in no other column';

CREATE VIEW token_ledger_organization_losses WITH (security_invoker = true) AS
SELECT
    (recorded_at AT TIME ZONE 'UTC')::date AS day,
    organization_id,
    sum(records)::bigint AS lost
FROM token_ledger_losses
WHERE organization_id <> ''
GROUP BY (recorded_at AT TIME ZONE 'UTC')::date, organization_id;
COMMENT ON VIEW token_ledger_organization_losses IS 'Records that each organization''s senders lost, by day';
COMMENT ON COLUMN token_ledger_organization_losses.day IS 'Day, UTC';
COMMENT ON COLUMN token_ledger_organization_losses.organization_id IS 'Organization whose reports were lost';
COMMENT ON COLUMN token_ledger_organization_losses.lost IS 'How many records were lost';

CREATE VIEW token_ledger_suspected_duplicates WITH (security_invoker = true) AS
SELECT
    response_id,
    count(*) AS rows,
    array_agg(event_id ORDER BY timestamp, event_id) AS event_ids,
    min(timestamp) AS first_at,
    max(timestamp) AS last_at,
    array_agg(DISTINCT scope) AS scopes,
    COALESCE(sum(cost_usd), 0) AS cost_usd
FROM token_ledger_events
WHERE response_id <> ''
GROUP BY response_id
HAVING count(*) > 1;
COMMENT ON VIEW token_ledger_suspected_duplicates IS 'Rows that share a response id but were not merged, because their times or counts say they are different calls';
COMMENT ON COLUMN token_ledger_suspected_duplicates.response_id IS 'The shared id';
COMMENT ON COLUMN token_ledger_suspected_duplicates.rows IS 'How many rows share it';
COMMENT ON COLUMN token_ledger_suspected_duplicates.event_ids IS 'The rows, by time';
COMMENT ON COLUMN token_ledger_suspected_duplicates.first_at IS 'When the first call started';
COMMENT ON COLUMN token_ledger_suspected_duplicates.last_at IS 'When the last call started';
COMMENT ON COLUMN token_ledger_suspected_duplicates.scopes IS 'Instrumentation scopes that reported them';
COMMENT ON COLUMN token_ledger_suspected_duplicates.cost_usd IS 'Their total cost, US dollars';
