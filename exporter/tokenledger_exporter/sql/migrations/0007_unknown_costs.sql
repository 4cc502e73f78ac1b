-- Views: a sum of costs is NULL, not 0, if the cost of none of its calls is known.

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
                CASE WHEN sum(priced + partial + estimated) > 0 THEN sum(cost_usd) END AS cost_usd,
                sum(unpriced + unmeasured)::bigint AS calls_without_cost,
                sum(priced)::bigint AS priced,
                sum(partial)::bigint AS partial,
                sum(estimated)::bigint AS estimated,
                sum(unpriced)::bigint AS unpriced,
                sum(unmeasured)::bigint AS unmeasured,
                sum(not_settled)::bigint AS not_settled
            FROM token_ledger_sums(%3$L, 'day', '-infinity', 'infinity')
            GROUP BY day, %4$s
            HAVING sum(calls) <> 0
            $view$,
            view_row.name, view_row.labels, view_row.dimension, view_row.grouping_columns
        );
        EXECUTE format(
            'COMMENT ON COLUMN %I.cost_usd IS %L',
            view_row.name,
            'Known cost, US dollars; NULL if it is not known for any of the calls'
        );
    END LOOP;
END
$$;

CREATE OR REPLACE VIEW token_ledger_suspected_duplicates WITH (security_invoker = true) AS
SELECT
    response_id,
    count(*) AS rows,
    array_agg(event_id ORDER BY timestamp, event_id) AS event_ids,
    min(timestamp) AS first_at,
    max(timestamp) AS last_at,
    array_agg(DISTINCT scope) AS scopes,
    sum(cost_usd) AS cost_usd
FROM token_ledger_events
WHERE response_id <> ''
GROUP BY response_id
HAVING count(*) > 1;
COMMENT ON COLUMN token_ledger_suspected_duplicates.cost_usd IS 'Their known cost, US dollars; NULL if it is not known for any of them';
