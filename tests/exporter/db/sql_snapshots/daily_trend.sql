-- Money and calls by calendar day of a time zone.
SELECT
    (timestamp AT TIME ZONE %(zone)s::text)::date AS bucket,
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
    COALESCE(pg_catalog.sum(cost_differs), 0)::bigint AS cost_differs
FROM token_ledger_sums('', 'day', %(since)s, %(until)s)
WHERE true 
GROUP BY 1
HAVING pg_catalog.sum(calls) <> 0
