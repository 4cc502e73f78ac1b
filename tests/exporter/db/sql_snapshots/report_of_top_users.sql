-- Money and calls of the top users, and the total of all. There are many users: the top ones are chosen
-- by one sum, and only their other figures are added up. Calls without a sum are read once.
WITH unsummed AS MATERIALIZED (
    SELECT
        value, calls, input_tokens, output_tokens, cached_tokens, cost_usd, priced, partial,
        estimated, unpriced, unmeasured, not_settled, reported, cost_differs
    FROM token_ledger_unsummed_calls('user', 'week', %(since)s, %(until)s)
),

user_sums AS NOT MATERIALIZED (
    SELECT
        value AS user_id, calls, input_tokens, output_tokens, cached_tokens, cost_usd, priced,
        partial, estimated, unpriced, unmeasured, not_settled, reported, cost_differs
    FROM token_ledger_stored_sums('user', 'week', %(since)s, %(until)s)
    UNION ALL
    SELECT * FROM unsummed
),

total_sums AS NOT MATERIALIZED (
    SELECT
        calls, input_tokens, output_tokens, cached_tokens, cost_usd, priced, partial, estimated,
        unpriced, unmeasured, not_settled, reported, cost_differs
    FROM token_ledger_stored_sums('', 'week', %(since)s, %(until)s)
    UNION ALL
    SELECT
        calls, input_tokens, output_tokens, cached_tokens, cost_usd, priced, partial, estimated,
        unpriced, unmeasured, not_settled, reported, cost_differs
    FROM unsummed
),

top_users AS MATERIALIZED (
    SELECT user_id
    FROM user_sums
    GROUP BY user_id
    HAVING pg_catalog.sum(calls) <> 0
    ORDER BY COALESCE(pg_catalog.sum("cost_usd"), 0) DESC, user_id
    LIMIT %(limit)s
)

SELECT
    false AS is_total,
    user_id AS label_0,
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
FROM user_sums
-- An index can find each of an array's values.
WHERE user_id = ANY((SELECT pg_catalog.array_agg(user_id) FROM top_users)::text[])
GROUP BY user_id
UNION ALL
SELECT
    true AS is_total,
    '' AS label_0,
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
FROM total_sums
ORDER BY is_total, "cost_usd" DESC, label_0
