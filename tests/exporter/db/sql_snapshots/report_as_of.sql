-- The report as it was at an earlier time: rows recorded by then, at the cost they had then. The next
-- repricing after that time says the cost before it.
SELECT
    "team" AS "label_0",
    pg_catalog.count(*) AS calls,
    COALESCE(pg_catalog.sum(input_tokens), 0)::bigint AS input_tokens,
    COALESCE(pg_catalog.sum(output_tokens), 0)::bigint AS output_tokens,
    COALESCE(pg_catalog.sum(cached_tokens), 0)::bigint AS cached_tokens,
    COALESCE(pg_catalog.sum(earlier_cost_usd), 0) AS cost_usd,
    pg_catalog.count(*) FILTER (WHERE earlier_cost_status = 'priced') AS priced,
    pg_catalog.count(*) FILTER (WHERE earlier_cost_status = 'partial') AS partial,
    pg_catalog.count(*) FILTER (WHERE earlier_cost_status = 'estimated') AS estimated,
    pg_catalog.count(*) FILTER (WHERE earlier_cost_status = 'unpriced') AS unpriced,
    pg_catalog.count(*) FILTER (WHERE earlier_cost_status = 'unmeasured') AS unmeasured,
    pg_catalog.count(*) FILTER (WHERE NOT settled) AS not_settled,
    pg_catalog.count(*) FILTER (WHERE earlier_cost_status = 'reported') AS reported,
    pg_catalog.count(*) FILTER (WHERE token_ledger_cost_differs(reported_cost_usd, earlier_cost_usd))
        AS cost_differs,
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
FROM (
    SELECT
        events.*,
        CASE
            WHEN next_repricing.old_cost_status IS NULL THEN events.cost_usd
            ELSE next_repricing.old_cost_usd
        END AS earlier_cost_usd,
        COALESCE(next_repricing.old_cost_status, events.cost_status) AS earlier_cost_status
    FROM token_ledger_events AS events
    LEFT JOIN LATERAL (
        SELECT repricings.old_cost_usd, repricings.old_cost_status
        FROM token_ledger_repricings AS repricings
        WHERE
            repricings.event_id = events.event_id
            AND repricings.recorded_at > %(as_of)s
        ORDER BY repricings.recorded_at
        LIMIT 1
    ) AS next_repricing ON true
    WHERE events.recorded_at <= %(as_of)s
) AS rows_then
WHERE timestamp >= %(since)s AND timestamp < %(until)s 
GROUP BY "team"

ORDER BY "cost_usd" DESC, "team"
LIMIT %(limit)s
