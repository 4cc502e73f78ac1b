-- Statements that explain a row's cost and change it with a trail.

-- name: event
-- A row with everything its cost was computed from.
SELECT
    event_id, timestamp, scope, {columns},
    details ->> 'tokenledger.cost.source' AS reported_cost_source,
    token_ledger_cost_differs(reported_cost_usd, cost_usd) AS cost_differs
FROM token_ledger_events
WHERE event_id = %(event_id)s

-- name: repricings_of
-- Changes of a row's cost, newest first.
SELECT
    recorded_at, old_cost_usd, new_cost_usd, old_cost_status, new_cost_status, old_price_id,
    new_price_id, changed_by, reason
FROM token_ledger_repricings
WHERE event_id = %(event_id)s
ORDER BY recorded_at DESC

-- name: sheet
-- Source and days of a price sheet.
SELECT provider, source, checked_on, valid_from, valid_to
FROM token_ledger_prices
WHERE price_id = %(price_id)s
ORDER BY kind, above_input_tokens
LIMIT 1

-- name: candidates
-- The next rows to price again, in key order. A cost that has no price sheet is not changed.
SELECT
    event_id, timestamp, scope, {columns}
FROM token_ledger_events
WHERE
    timestamp >= %(since)s
    AND timestamp < %(until)s
    AND (event_id, timestamp) > (%(after_event_id)s::uuid, %(after_timestamp)s::timestamptz)
    AND (%(models)s::text[] IS NULL OR model = ANY(%(models)s) OR request_model = ANY(%(models)s))
    AND (%(providers)s::text[] IS NULL OR provider = ANY(%(providers)s))
    AND (%(statuses)s::text[] IS NULL OR cost_status = ANY(%(statuses)s))
    AND (cost_status <> 'unmeasured' OR reported_cost_usd IS NOT NULL)
    AND (cost_usd IS NULL OR price_id <> '')
ORDER BY event_id, timestamp
LIMIT %(limit)s

-- name: count_candidates
-- How many rows there are to price again.
SELECT count(*)
FROM token_ledger_events
WHERE
    timestamp >= %(since)s
    AND timestamp < %(until)s
    AND (%(models)s::text[] IS NULL OR model = ANY(%(models)s) OR request_model = ANY(%(models)s))
    AND (%(providers)s::text[] IS NULL OR provider = ANY(%(providers)s))
    AND (%(statuses)s::text[] IS NULL OR cost_status = ANY(%(statuses)s))
    AND (cost_status <> 'unmeasured' OR reported_cost_usd IS NOT NULL)
    AND (cost_usd IS NULL OR price_id <> '')

-- name: reprice
-- Sets new costs of a batch of rows and records each change. A row that changed meanwhile stays as it is.
WITH new_costs AS (
    SELECT *
    FROM unnest(
        %(event_id)s::uuid[],
        %(timestamp)s::timestamptz[],
        %(cost_usd)s::numeric[],
        %(input_cost_usd)s::numeric[],
        %(cached_cost_usd)s::numeric[],
        %(cache_write_cost_usd)s::numeric[],
        %(output_cost_usd)s::numeric[],
        %(tool_cost_usd)s::numeric[],
        %(cost_status)s::text[],
        %(cost_note)s::text[],
        %(price_id)s::text[],
        %(old_cost_usd)s::numeric[],
        %(old_cost_status)s::text[],
        %(old_price_id)s::text[]
    ) AS arrays (
        event_id, started_at, cost_usd, input_cost_usd, cached_cost_usd, cache_write_cost_usd,
        output_cost_usd, tool_cost_usd, cost_status, cost_note, price_id, old_cost_usd,
        old_cost_status, old_price_id
    )
),

changed AS (
    UPDATE token_ledger_events AS events
    SET
        cost_usd = new_costs.cost_usd,
        input_cost_usd = new_costs.input_cost_usd,
        cached_cost_usd = new_costs.cached_cost_usd,
        cache_write_cost_usd = new_costs.cache_write_cost_usd,
        output_cost_usd = new_costs.output_cost_usd,
        tool_cost_usd = new_costs.tool_cost_usd,
        cost_status = new_costs.cost_status,
        cost_note = new_costs.cost_note,
        price_id = new_costs.price_id
    FROM new_costs
    WHERE
        events.event_id = new_costs.event_id
        AND events.timestamp = new_costs.started_at
        AND events.cost_usd IS NOT DISTINCT FROM new_costs.old_cost_usd
        AND events.cost_status = new_costs.old_cost_status
        AND events.price_id = new_costs.old_price_id
    RETURNING events.event_id
)

INSERT INTO token_ledger_repricings (
    event_id, old_cost_usd, new_cost_usd, old_cost_status, new_cost_status, old_price_id,
    new_price_id, reason
)
SELECT
    new_costs.event_id, new_costs.old_cost_usd, new_costs.cost_usd, new_costs.old_cost_status,
    new_costs.cost_status, new_costs.old_price_id, new_costs.price_id, %(reason)s
FROM new_costs
INNER JOIN changed ON changed.event_id = new_costs.event_id
