-- How many calls failed.
SELECT
    COALESCE(pg_catalog.sum(calls), 0)::bigint AS calls,
    COALESCE(pg_catalog.sum(errors), 0)::bigint AS errors,
    COALESCE(pg_catalog.sum(priced), 0)::bigint AS priced,
    COALESCE(pg_catalog.sum(partial), 0)::bigint AS partial,
    COALESCE(pg_catalog.sum(estimated), 0)::bigint AS estimated,
    COALESCE(pg_catalog.sum(unpriced), 0)::bigint AS unpriced,
    COALESCE(pg_catalog.sum(unmeasured), 0)::bigint AS unmeasured,
    COALESCE(pg_catalog.sum(not_settled), 0)::bigint AS not_settled,
    COALESCE(pg_catalog.sum(reported), 0)::bigint AS reported,
    COALESCE(pg_catalog.sum(cost_differs), 0)::bigint AS cost_differs
FROM token_ledger_sums('', 'week', %(since)s, %(until)s)
WHERE true
