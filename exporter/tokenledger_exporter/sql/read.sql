-- Statements that answer questions. `{groups}` and `{labels}` are columns from a fixed list, `{where}`
-- conditions over parameters, `{states}` the counts of a coverage. `{calls}` are the calls of a stretch or
-- sums of them, with the beginning of a WHERE, and `{figures}` what is summed of either.

-- name: keep_plans
-- What is prepared is planned once: Postgres would rather plan for every stretch of time anew, which takes
-- as long as the answer.
SET plan_cache_mode = force_generic_plan

-- name: report
-- Money and calls by any dimensions, dearest first.
SELECT
    {labels}
    {figures},
    {states},
    {beside}
FROM {calls} {where}
{grouping}

-- name: report_of_most
-- The same for a few of many groups, and their total: which they are is known from one sum, the others are
-- summed of them.
{told},

chosen AS MATERIALIZED (
    SELECT
        {labels}
        COALESCE(sum({order}), 0) AS most
    FROM told
    GROUP BY {groups}
    {having}
    ORDER BY most DESC, {groups}
    LIMIT %(limit)s
)

SELECT
    false AS is_total,
    {labels}
    {figures},
    {states},
    {beside}
FROM told
WHERE {chosen}
GROUP BY {groups}
UNION ALL
SELECT
    true AS is_total,
    '' AS label_0,
    {figures},
    {states},
    {beside}
FROM overall
ORDER BY is_total, {order} DESC, label_0

-- name: one_of_chosen
-- One of the groups that were chosen, said so that an index can find each.
{group} = ANY((SELECT array_agg({label}) FROM chosen)::text[])

-- name: calls
-- The calls of a stretch.
token_ledger_events WHERE timestamp >= %(since)s AND timestamp < %(until)s

-- name: figures
-- What is summed of calls.
    count(*) AS calls,
    COALESCE(sum(input_tokens), 0)::bigint AS input_tokens,
    COALESCE(sum(output_tokens), 0)::bigint AS output_tokens,
    COALESCE(sum(cached_tokens), 0)::bigint AS cached_tokens,
    COALESCE(sum(cost_usd), 0) AS cost_usd

-- name: report_as_of
-- The same as it stood at an earlier time: rows known then, at the cost they had then. What the next
-- repricing calls the old cost is the cost a row had before it.
SELECT
    {labels}
    count(*) AS calls,
    COALESCE(sum(input_tokens), 0)::bigint AS input_tokens,
    COALESCE(sum(output_tokens), 0)::bigint AS output_tokens,
    COALESCE(sum(cached_tokens), 0)::bigint AS cached_tokens,
    COALESCE(sum(known_cost_usd), 0) AS cost_usd,
    count(*) FILTER (WHERE known_cost_status = 'priced') AS priced,
    count(*) FILTER (WHERE known_cost_status = 'partial') AS partial,
    count(*) FILTER (WHERE known_cost_status = 'estimated') AS estimated,
    count(*) FILTER (WHERE known_cost_status = 'unpriced') AS unpriced,
    count(*) FILTER (WHERE known_cost_status = 'unmeasured') AS unmeasured,
    count(*) FILTER (WHERE NOT settled) AS not_settled,
    {beside}
FROM (
    SELECT
        events.*,
        CASE
            WHEN later.old_cost_status IS NULL THEN events.cost_usd ELSE later.old_cost_usd
        END AS known_cost_usd,
        COALESCE(later.old_cost_status, events.cost_status) AS known_cost_status
    FROM token_ledger_events AS events
    LEFT JOIN LATERAL (
        SELECT repricings.old_cost_usd, repricings.old_cost_status
        FROM token_ledger_repricings AS repricings
        WHERE
            repricings.event_id = events.event_id
            AND repricings.recorded_at > %(as_of)s
        ORDER BY repricings.recorded_at
        LIMIT 1
    ) AS later ON true
    WHERE events.recorded_at <= %(as_of)s
) AS known
WHERE timestamp >= %(since)s AND timestamp < %(until)s {where}
{grouping}

-- name: rows_as_if
-- Every call of a stretch with what a price is computed from.
SELECT
    {labels}
    {columns}
FROM token_ledger_events
WHERE timestamp >= %(since)s AND timestamp < %(until)s {where}

-- name: states
-- What the sums of a group rest on.
    count(*) FILTER (WHERE cost_status = 'priced') AS priced,
    count(*) FILTER (WHERE cost_status = 'partial') AS partial,
    count(*) FILTER (WHERE cost_status = 'estimated') AS estimated,
    count(*) FILTER (WHERE cost_status = 'unpriced') AS unpriced,
    count(*) FILTER (WHERE cost_status = 'unmeasured') AS unmeasured,
    count(*) FILTER (WHERE NOT settled) AS not_settled

-- name: grouping
-- Ties are broken by the labels, so that a report is the same every time.
GROUP BY {groups}
{having}
ORDER BY {order} DESC, {groups}
LIMIT %(limit)s

-- name: losses
-- Records that the operator's own sources lost in a period.
SELECT COALESCE(sum(records), 0)::bigint AS records
FROM token_ledger_losses
WHERE recorded_at >= %(since)s AND recorded_at < %(until)s AND organization_id = ''

-- name: aside
-- Rows and records that the ledger could not take and keeps with the reason.
SELECT count(*) FROM token_ledger_rejected

-- name: beside
-- What a report says beside its groups, in each of its rows: a question less.
(
    SELECT COALESCE(sum(losses.records), 0)::bigint
    FROM token_ledger_losses AS losses
    WHERE
        losses.recorded_at >= %(since)s
        AND losses.recorded_at < %(lost_until)s
        AND (losses.organization_id = '' OR losses.organization_id = ANY(%(organizations)s::text[]))
) AS lost,
(
    SELECT COALESCE(sum(losses.records), 0)::bigint
    FROM token_ledger_losses AS losses
    WHERE
        losses.recorded_at >= %(since)s
        AND losses.recorded_at < %(lost_until)s
        AND losses.organization_id <> ''
        AND losses.organization_id <> ALL(%(organizations)s::text[])
) AS lost_of_tenants,
(SELECT token_ledger_duplicate_totals(current_user::text, %(since)s, %(until)s)) AS set_aside,
COALESCE(
    (
        SELECT max(prices.checked_on)
        FROM token_ledger_prices AS prices
        WHERE prices.source LIKE 'genai-prices %%'
    ),
    (SELECT max(prices.checked_on) FROM token_ledger_prices AS prices)
) AS checked_on

-- name: privileges
-- Whether this user may write a row, and remove one: doctor's own must not stay.
SELECT
    has_table_privilege('token_ledger_events', 'INSERT'),
    has_table_privilege('token_ledger_events', 'DELETE')

-- name: probe_row
-- What became of doctor's own span.
SELECT cost_usd, cost_status FROM token_ledger_events WHERE trace_id = %(trace_id)s

-- name: remove_probe
-- Doctor leaves nothing behind.
DELETE FROM token_ledger_events WHERE trace_id = %(trace_id)s

-- name: settling
-- How long the oldest marked minute has waited for a keeper, and how many ids were kept apart lately.
SELECT
    (SELECT date_trunc('second', now() - min(recorded_at)) FROM token_ledger_dirty_minutes),
    (
        SELECT count(*)
        FROM (
            SELECT response_id
            FROM token_ledger_events
            WHERE response_id <> '' AND timestamp >= now() - interval '7 days'
            GROUP BY response_id
            HAVING count(*) > 1
        ) AS suspected
    )

-- name: price_age
-- When the price book was last compared with its list; the user's own prices make it no younger.
SELECT COALESCE(
    (SELECT max(checked_on) FROM token_ledger_prices WHERE source LIKE 'genai-prices %%'),
    (SELECT max(checked_on) FROM token_ledger_prices)
) AS checked_on

-- name: engine
-- What the database says it is, and which of the known extensions make it more than Postgres.
SELECT version(), extname::text
FROM (SELECT) AS once
LEFT JOIN pg_extension ON extname IN ('citus', 'timescaledb')
ORDER BY extname
