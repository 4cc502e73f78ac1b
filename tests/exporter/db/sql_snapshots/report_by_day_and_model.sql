-- Money and calls by any dimensions, highest cost first.
SELECT
    pg_catalog.to_char(timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS "label_0", "model" AS "label_1",
    COALESCE(pg_catalog.sum(calls), 0)::bigint AS calls,
    COALESCE(pg_catalog.sum(input_tokens), 0)::bigint AS input_tokens,
    COALESCE(pg_catalog.sum(output_tokens), 0)::bigint AS output_tokens,
    COALESCE(pg_catalog.sum(cached_tokens), 0)::bigint AS cached_tokens,
    COALESCE(pg_catalog.sum(cost_usd), 0) AS cost_usd,
    COALESCE(pg_catalog.sum(priced), 0)::bigint AS priced,
    COALESCE(pg_catalog.sum(partial), 0)::bigint AS partial,
    COALESCE(pg_catalog.sum(estimated), 0)::bigint AS estimated,
    COALESCE(pg_catalog.sum(unpriced), 0)::bigint AS unpriced,
    COALESCE(pg_catalog.sum(unmeasured), 0)::bigint AS unmeasured,
    COALESCE(pg_catalog.sum(not_settled), 0)::bigint AS not_settled,
    COALESCE(pg_catalog.sum(reported), 0)::bigint AS reported,
    COALESCE(pg_catalog.sum(cost_differs), 0)::bigint AS cost_differs,
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
FROM token_ledger_sums('', 'day', %(since)s, %(until)s)
WHERE true 
GROUP BY pg_catalog.to_char(timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD'), "model"
HAVING pg_catalog.sum(calls) <> 0
ORDER BY "cost_usd" DESC, pg_catalog.to_char(timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD'), "model"
LIMIT %(limit)s
