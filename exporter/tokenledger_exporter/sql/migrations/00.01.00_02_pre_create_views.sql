-- Views over the ledger: money by dimension and day, and the coverage that says what is missing.
-- Release 00.01.00, step 02, safe before the new code runs.
--
-- security_invoker makes row-level security on the ledger hold through the views (Postgres 15+).
-- Days are UTC. cost_usd sums what is known; calls_without_cost counts what is not.

CREATE VIEW token_ledger_daily_costs WITH (security_invoker = true) AS
SELECT
    (timestamp AT TIME ZONE 'UTC')::date AS day,
    provider,
    model,
    count(*) AS calls,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(cached_tokens) AS cached_tokens,
    COALESCE(sum(cost_usd), 0) AS cost_usd,
    count(*) FILTER (WHERE cost_usd IS NULL) AS calls_without_cost
FROM token_ledger_events
GROUP BY 1, 2, 3;
COMMENT ON VIEW token_ledger_daily_costs IS 'Cost by day, provider and model';
COMMENT ON COLUMN token_ledger_daily_costs.day IS 'Day, UTC';
COMMENT ON COLUMN token_ledger_daily_costs.provider IS 'Who billed';
COMMENT ON COLUMN token_ledger_daily_costs.model IS 'Model that answered';
COMMENT ON COLUMN token_ledger_daily_costs.calls IS 'Model calls';
COMMENT ON COLUMN token_ledger_daily_costs.input_tokens IS 'Tokens in, cached ones included';
COMMENT ON COLUMN token_ledger_daily_costs.output_tokens IS 'Tokens out, reasoning included';
COMMENT ON COLUMN token_ledger_daily_costs.cached_tokens IS 'Input tokens served from a cache';
COMMENT ON COLUMN token_ledger_daily_costs.cost_usd IS 'Known cost, US dollars';
COMMENT ON COLUMN token_ledger_daily_costs.calls_without_cost IS 'Calls that are unpriced or unmeasured and add nothing to cost_usd';

CREATE VIEW token_ledger_user_costs WITH (security_invoker = true) AS
SELECT
    (timestamp AT TIME ZONE 'UTC')::date AS day,
    user_id,
    count(*) AS calls,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(cached_tokens) AS cached_tokens,
    COALESCE(sum(cost_usd), 0) AS cost_usd,
    count(*) FILTER (WHERE cost_usd IS NULL) AS calls_without_cost
FROM token_ledger_events
GROUP BY 1, 2;
COMMENT ON VIEW token_ledger_user_costs IS 'Cost by day and user';
COMMENT ON COLUMN token_ledger_user_costs.day IS 'Day, UTC';
COMMENT ON COLUMN token_ledger_user_costs.user_id IS 'The user; empty where none was given';
COMMENT ON COLUMN token_ledger_user_costs.calls IS 'Model calls';
COMMENT ON COLUMN token_ledger_user_costs.input_tokens IS 'Tokens in, cached ones included';
COMMENT ON COLUMN token_ledger_user_costs.output_tokens IS 'Tokens out, reasoning included';
COMMENT ON COLUMN token_ledger_user_costs.cached_tokens IS 'Input tokens served from a cache';
COMMENT ON COLUMN token_ledger_user_costs.cost_usd IS 'Known cost, US dollars';
COMMENT ON COLUMN token_ledger_user_costs.calls_without_cost IS 'Calls that are unpriced or unmeasured and add nothing to cost_usd';

CREATE VIEW token_ledger_model_costs WITH (security_invoker = true) AS
SELECT
    (timestamp AT TIME ZONE 'UTC')::date AS day,
    provider,
    model,
    count(*) AS calls,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(cached_tokens) AS cached_tokens,
    COALESCE(sum(cost_usd), 0) AS cost_usd,
    count(*) FILTER (WHERE cost_usd IS NULL) AS calls_without_cost
FROM token_ledger_events
GROUP BY 1, 2, 3;
COMMENT ON VIEW token_ledger_model_costs IS 'Cost by day and model';
COMMENT ON COLUMN token_ledger_model_costs.day IS 'Day, UTC';
COMMENT ON COLUMN token_ledger_model_costs.provider IS 'Who billed';
COMMENT ON COLUMN token_ledger_model_costs.model IS 'The model; empty where none was given';
COMMENT ON COLUMN token_ledger_model_costs.calls IS 'Model calls';
COMMENT ON COLUMN token_ledger_model_costs.input_tokens IS 'Tokens in, cached ones included';
COMMENT ON COLUMN token_ledger_model_costs.output_tokens IS 'Tokens out, reasoning included';
COMMENT ON COLUMN token_ledger_model_costs.cached_tokens IS 'Input tokens served from a cache';
COMMENT ON COLUMN token_ledger_model_costs.cost_usd IS 'Known cost, US dollars';
COMMENT ON COLUMN token_ledger_model_costs.calls_without_cost IS 'Calls that are unpriced or unmeasured and add nothing to cost_usd';

CREATE VIEW token_ledger_feature_costs WITH (security_invoker = true) AS
SELECT
    (timestamp AT TIME ZONE 'UTC')::date AS day,
    feature,
    count(*) AS calls,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(cached_tokens) AS cached_tokens,
    COALESCE(sum(cost_usd), 0) AS cost_usd,
    count(*) FILTER (WHERE cost_usd IS NULL) AS calls_without_cost
FROM token_ledger_events
GROUP BY 1, 2;
COMMENT ON VIEW token_ledger_feature_costs IS 'Cost by day and feature';
COMMENT ON COLUMN token_ledger_feature_costs.day IS 'Day, UTC';
COMMENT ON COLUMN token_ledger_feature_costs.feature IS 'The feature; empty where none was given';
COMMENT ON COLUMN token_ledger_feature_costs.calls IS 'Model calls';
COMMENT ON COLUMN token_ledger_feature_costs.input_tokens IS 'Tokens in, cached ones included';
COMMENT ON COLUMN token_ledger_feature_costs.output_tokens IS 'Tokens out, reasoning included';
COMMENT ON COLUMN token_ledger_feature_costs.cached_tokens IS 'Input tokens served from a cache';
COMMENT ON COLUMN token_ledger_feature_costs.cost_usd IS 'Known cost, US dollars';
COMMENT ON COLUMN token_ledger_feature_costs.calls_without_cost IS 'Calls that are unpriced or unmeasured and add nothing to cost_usd';

CREATE VIEW token_ledger_team_costs WITH (security_invoker = true) AS
SELECT
    (timestamp AT TIME ZONE 'UTC')::date AS day,
    team,
    count(*) AS calls,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(cached_tokens) AS cached_tokens,
    COALESCE(sum(cost_usd), 0) AS cost_usd,
    count(*) FILTER (WHERE cost_usd IS NULL) AS calls_without_cost
FROM token_ledger_events
GROUP BY 1, 2;
COMMENT ON VIEW token_ledger_team_costs IS 'Cost by day and team';
COMMENT ON COLUMN token_ledger_team_costs.day IS 'Day, UTC';
COMMENT ON COLUMN token_ledger_team_costs.team IS 'The team; empty where none was given';
COMMENT ON COLUMN token_ledger_team_costs.calls IS 'Model calls';
COMMENT ON COLUMN token_ledger_team_costs.input_tokens IS 'Tokens in, cached ones included';
COMMENT ON COLUMN token_ledger_team_costs.output_tokens IS 'Tokens out, reasoning included';
COMMENT ON COLUMN token_ledger_team_costs.cached_tokens IS 'Input tokens served from a cache';
COMMENT ON COLUMN token_ledger_team_costs.cost_usd IS 'Known cost, US dollars';
COMMENT ON COLUMN token_ledger_team_costs.calls_without_cost IS 'Calls that are unpriced or unmeasured and add nothing to cost_usd';

CREATE VIEW token_ledger_project_costs WITH (security_invoker = true) AS
SELECT
    (timestamp AT TIME ZONE 'UTC')::date AS day,
    project,
    count(*) AS calls,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(cached_tokens) AS cached_tokens,
    COALESCE(sum(cost_usd), 0) AS cost_usd,
    count(*) FILTER (WHERE cost_usd IS NULL) AS calls_without_cost
FROM token_ledger_events
GROUP BY 1, 2;
COMMENT ON VIEW token_ledger_project_costs IS 'Cost by day and project';
COMMENT ON COLUMN token_ledger_project_costs.day IS 'Day, UTC';
COMMENT ON COLUMN token_ledger_project_costs.project IS 'The project; empty where none was given';
COMMENT ON COLUMN token_ledger_project_costs.calls IS 'Model calls';
COMMENT ON COLUMN token_ledger_project_costs.input_tokens IS 'Tokens in, cached ones included';
COMMENT ON COLUMN token_ledger_project_costs.output_tokens IS 'Tokens out, reasoning included';
COMMENT ON COLUMN token_ledger_project_costs.cached_tokens IS 'Input tokens served from a cache';
COMMENT ON COLUMN token_ledger_project_costs.cost_usd IS 'Known cost, US dollars';
COMMENT ON COLUMN token_ledger_project_costs.calls_without_cost IS 'Calls that are unpriced or unmeasured and add nothing to cost_usd';

CREATE VIEW token_ledger_cost_center_costs WITH (security_invoker = true) AS
SELECT
    (timestamp AT TIME ZONE 'UTC')::date AS day,
    cost_center,
    count(*) AS calls,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(cached_tokens) AS cached_tokens,
    COALESCE(sum(cost_usd), 0) AS cost_usd,
    count(*) FILTER (WHERE cost_usd IS NULL) AS calls_without_cost
FROM token_ledger_events
GROUP BY 1, 2;
COMMENT ON VIEW token_ledger_cost_center_costs IS 'Cost by day and cost centre';
COMMENT ON COLUMN token_ledger_cost_center_costs.day IS 'Day, UTC';
COMMENT ON COLUMN token_ledger_cost_center_costs.cost_center IS 'The cost centre; empty where none was given';
COMMENT ON COLUMN token_ledger_cost_center_costs.calls IS 'Model calls';
COMMENT ON COLUMN token_ledger_cost_center_costs.input_tokens IS 'Tokens in, cached ones included';
COMMENT ON COLUMN token_ledger_cost_center_costs.output_tokens IS 'Tokens out, reasoning included';
COMMENT ON COLUMN token_ledger_cost_center_costs.cached_tokens IS 'Input tokens served from a cache';
COMMENT ON COLUMN token_ledger_cost_center_costs.cost_usd IS 'Known cost, US dollars';
COMMENT ON COLUMN token_ledger_cost_center_costs.calls_without_cost IS 'Calls that are unpriced or unmeasured and add nothing to cost_usd';

CREATE VIEW token_ledger_agent_costs WITH (security_invoker = true) AS
SELECT
    (timestamp AT TIME ZONE 'UTC')::date AS day,
    agent_id,
    count(*) AS calls,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(cached_tokens) AS cached_tokens,
    COALESCE(sum(cost_usd), 0) AS cost_usd,
    count(*) FILTER (WHERE cost_usd IS NULL) AS calls_without_cost
FROM token_ledger_events
GROUP BY 1, 2;
COMMENT ON VIEW token_ledger_agent_costs IS 'Cost by day and agent';
COMMENT ON COLUMN token_ledger_agent_costs.day IS 'Day, UTC';
COMMENT ON COLUMN token_ledger_agent_costs.agent_id IS 'The agent; empty where none was given';
COMMENT ON COLUMN token_ledger_agent_costs.calls IS 'Model calls';
COMMENT ON COLUMN token_ledger_agent_costs.input_tokens IS 'Tokens in, cached ones included';
COMMENT ON COLUMN token_ledger_agent_costs.output_tokens IS 'Tokens out, reasoning included';
COMMENT ON COLUMN token_ledger_agent_costs.cached_tokens IS 'Input tokens served from a cache';
COMMENT ON COLUMN token_ledger_agent_costs.cost_usd IS 'Known cost, US dollars';
COMMENT ON COLUMN token_ledger_agent_costs.calls_without_cost IS 'Calls that are unpriced or unmeasured and add nothing to cost_usd';

CREATE VIEW token_ledger_endpoint_costs WITH (security_invoker = true) AS
SELECT
    (timestamp AT TIME ZONE 'UTC')::date AS day,
    endpoint,
    count(*) AS calls,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(cached_tokens) AS cached_tokens,
    COALESCE(sum(cost_usd), 0) AS cost_usd,
    count(*) FILTER (WHERE cost_usd IS NULL) AS calls_without_cost
FROM token_ledger_events
GROUP BY 1, 2;
COMMENT ON VIEW token_ledger_endpoint_costs IS 'Cost by day and endpoint';
COMMENT ON COLUMN token_ledger_endpoint_costs.day IS 'Day, UTC';
COMMENT ON COLUMN token_ledger_endpoint_costs.endpoint IS 'The endpoint; empty where none was given';
COMMENT ON COLUMN token_ledger_endpoint_costs.calls IS 'Model calls';
COMMENT ON COLUMN token_ledger_endpoint_costs.input_tokens IS 'Tokens in, cached ones included';
COMMENT ON COLUMN token_ledger_endpoint_costs.output_tokens IS 'Tokens out, reasoning included';
COMMENT ON COLUMN token_ledger_endpoint_costs.cached_tokens IS 'Input tokens served from a cache';
COMMENT ON COLUMN token_ledger_endpoint_costs.cost_usd IS 'Known cost, US dollars';
COMMENT ON COLUMN token_ledger_endpoint_costs.calls_without_cost IS 'Calls that are unpriced or unmeasured and add nothing to cost_usd';

CREATE VIEW token_ledger_organization_costs WITH (security_invoker = true) AS
SELECT
    (timestamp AT TIME ZONE 'UTC')::date AS day,
    organization_id,
    count(*) AS calls,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(cached_tokens) AS cached_tokens,
    COALESCE(sum(cost_usd), 0) AS cost_usd,
    count(*) FILTER (WHERE cost_usd IS NULL) AS calls_without_cost
FROM token_ledger_events
GROUP BY 1, 2;
COMMENT ON VIEW token_ledger_organization_costs IS 'Cost by day and organization';
COMMENT ON COLUMN token_ledger_organization_costs.day IS 'Day, UTC';
COMMENT ON COLUMN token_ledger_organization_costs.organization_id IS 'The organization; empty where none was given';
COMMENT ON COLUMN token_ledger_organization_costs.calls IS 'Model calls';
COMMENT ON COLUMN token_ledger_organization_costs.input_tokens IS 'Tokens in, cached ones included';
COMMENT ON COLUMN token_ledger_organization_costs.output_tokens IS 'Tokens out, reasoning included';
COMMENT ON COLUMN token_ledger_organization_costs.cached_tokens IS 'Input tokens served from a cache';
COMMENT ON COLUMN token_ledger_organization_costs.cost_usd IS 'Known cost, US dollars';
COMMENT ON COLUMN token_ledger_organization_costs.calls_without_cost IS 'Calls that are unpriced or unmeasured and add nothing to cost_usd';

CREATE VIEW token_ledger_coverage WITH (security_invoker = true) AS
SELECT
    (timestamp AT TIME ZONE 'UTC')::date AS day,
    count(*) AS calls,
    count(*) FILTER (WHERE cost_status = 'priced') AS priced,
    count(*) FILTER (WHERE cost_status = 'partial') AS partial,
    count(*) FILTER (WHERE cost_status = 'estimated') AS estimated,
    count(*) FILTER (WHERE cost_status = 'unpriced') AS unpriced,
    count(*) FILTER (WHERE cost_status = 'unmeasured') AS unmeasured
FROM token_ledger_events
GROUP BY 1;
COMMENT ON VIEW token_ledger_coverage IS 'How many calls of each day have a cost, and of what kind; counted losses stand in token_ledger_losses';
COMMENT ON COLUMN token_ledger_coverage.day IS 'Day, UTC';
COMMENT ON COLUMN token_ledger_coverage.calls IS 'Model calls';
COMMENT ON COLUMN token_ledger_coverage.priced IS 'Calls whose cost_status is priced';
COMMENT ON COLUMN token_ledger_coverage.partial IS 'Calls whose cost_status is partial';
COMMENT ON COLUMN token_ledger_coverage.estimated IS 'Calls whose cost_status is estimated';
COMMENT ON COLUMN token_ledger_coverage.unpriced IS 'Calls whose cost_status is unpriced';
COMMENT ON COLUMN token_ledger_coverage.unmeasured IS 'Calls whose cost_status is unmeasured';
