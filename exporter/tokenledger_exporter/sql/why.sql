-- Statements that compare two periods: the calls of one of them by value of a dimension and by model.
-- The braces are those of queries.sql.

-- name: cells
-- Counts and known cost by value, provider and model.
SELECT
    {labels}
    {figures},
    {states}
FROM {calls} {where}
GROUP BY {groups}
{having}

-- name: detailed_cells
-- The same with the service tier, and with the tokens and the cost of each kind. Tokens are those of
-- calls whose cost is known.
SELECT
    {labels}
    service_tier,
    count(*) AS calls,
    count(cost_usd) AS known_calls,
    COALESCE(sum(cost_usd), 0) AS cost_usd,
    COALESCE(
        sum(
            COALESCE(input_tokens, 0) - COALESCE(cached_tokens, 0) - COALESCE(cache_write_tokens, 0)
        ) FILTER (WHERE cost_usd IS NOT NULL),
        0
    )::bigint AS uncached_tokens,
    COALESCE(sum(cached_tokens) FILTER (WHERE cost_usd IS NOT NULL), 0)::bigint AS cached_tokens,
    COALESCE(sum(cache_write_tokens) FILTER (WHERE cost_usd IS NOT NULL), 0)::bigint
        AS cache_write_tokens,
    COALESCE(sum(output_tokens) FILTER (WHERE cost_usd IS NOT NULL), 0)::bigint AS output_tokens,
    COALESCE(sum(input_cost_usd) FILTER (WHERE cost_usd IS NOT NULL), 0) AS uncached_usd,
    COALESCE(sum(cached_cost_usd) FILTER (WHERE cost_usd IS NOT NULL), 0) AS cached_usd,
    COALESCE(sum(cache_write_cost_usd) FILTER (WHERE cost_usd IS NOT NULL), 0) AS cache_write_usd,
    COALESCE(sum(output_cost_usd) FILTER (WHERE cost_usd IS NOT NULL), 0) AS output_usd
FROM token_ledger_events
WHERE timestamp >= %(since)s AND timestamp < %(until)s {where}
GROUP BY {groups}, service_tier
