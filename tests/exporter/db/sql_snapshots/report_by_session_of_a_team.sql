-- Money and calls by any dimensions, highest cost first.
SELECT
    "session_id" AS "label_0",
    pg_catalog.count(*) AS calls,
    COALESCE(pg_catalog.sum(input_tokens), 0)::bigint AS input_tokens,
    COALESCE(pg_catalog.sum(output_tokens), 0)::bigint AS output_tokens,
    COALESCE(pg_catalog.sum(cached_tokens), 0)::bigint AS cached_tokens,
    COALESCE(pg_catalog.sum(cost_usd), 0) AS cost_usd,
    pg_catalog.count(*) FILTER (WHERE cost_status = 'priced') AS priced,
    pg_catalog.count(*) FILTER (WHERE cost_status = 'partial') AS partial,
    pg_catalog.count(*) FILTER (WHERE cost_status = 'estimated') AS estimated,
    pg_catalog.count(*) FILTER (WHERE cost_status = 'unpriced') AS unpriced,
    pg_catalog.count(*) FILTER (WHERE cost_status = 'unmeasured') AS unmeasured,
    pg_catalog.count(*) FILTER (WHERE NOT settled) AS not_settled,
    pg_catalog.count(*) FILTER (WHERE cost_status = 'reported') AS reported,
    pg_catalog.count(*) FILTER (WHERE token_ledger_cost_differs(reported_cost_usd, cost_usd)) AS cost_differs,
    (
        SELECT COALESCE(pg_catalog.sum(losses.records), 0)::bigint
        FROM token_ledger_losses AS losses
        WHERE
            losses.recorded_at >= %(since)s
            AND losses.recorded_at < %(lost_until)s
            AND (losses.organization_id = '' OR losses.organization_id = ANY(%(organizations)s::text[]))
    ) AS lost,
    (
        SELECT COALESCE(pg_catalog.sum(losses.records), 0)::bigint
        FROM token_ledger_losses AS losses
        WHERE
            losses.recorded_at >= %(since)s
            AND losses.recorded_at < %(lost_until)s
            AND losses.organization_id <> ''
            AND losses.organization_id <> ALL(%(organizations)s::text[])
    ) AS lost_of_tenants,
    (SELECT token_ledger_duplicate_totals(current_user::text, %(since)s, %(until)s)) AS duplicate_totals,
    COALESCE(
        (
            SELECT pg_catalog.max(prices.checked_on)
            FROM token_ledger_prices AS prices
            WHERE prices.source LIKE 'genai-prices %%'
        ),
        (SELECT pg_catalog.max(prices.checked_on) FROM token_ledger_prices AS prices)
    ) AS checked_on
FROM token_ledger_events
WHERE timestamp >= %(since)s AND timestamp < %(until)s  AND "team" = ANY(%(where_0)s::text[])
GROUP BY "session_id"

ORDER BY "cost_usd" DESC, "session_id"
LIMIT %(limit)s
