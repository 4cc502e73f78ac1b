-- Statements that explain a row's cost and change it with a trail.

-- name: event
-- One row, with everything its cost was computed from.
SELECT
    event_id, timestamp, scope, {columns}
FROM token_ledger_events
WHERE event_id = %(event_id)s

-- name: repricings_of
-- How one row's cost changed, newest first.
SELECT
    recorded_at, old_cost_usd, new_cost_usd, old_cost_status, new_cost_status, old_price_id,
    new_price_id, changed_by, reason
FROM token_ledger_repricings
WHERE event_id = %(event_id)s
ORDER BY recorded_at DESC

-- name: sheet
-- The rows of one price sheet, with where they come from.
SELECT provider, source, checked_on, valid_from, valid_to
FROM token_ledger_prices
WHERE price_id = %(price_id)s
ORDER BY kind, above_input_tokens
LIMIT 1

-- name: candidates
-- The next rows to price again, in key order; a cost that came without a price sheet is not ours to change.
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
    AND cost_status <> 'unmeasured'
    AND (cost_usd IS NULL OR price_id <> '')
ORDER BY event_id, timestamp
LIMIT %(limit)s

-- name: reprice
-- New costs of a batch of rows, each with its trail; a row that changed meanwhile is left alone.
WITH wanted AS (
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
    ) AS given (
        event_id, started_at, cost_usd, input_cost_usd, cached_cost_usd, cache_write_cost_usd,
        output_cost_usd, tool_cost_usd, cost_status, cost_note, price_id, old_cost_usd,
        old_cost_status, old_price_id
    )
),

changed AS (
    UPDATE token_ledger_events AS events
    SET
        cost_usd = wanted.cost_usd,
        input_cost_usd = wanted.input_cost_usd,
        cached_cost_usd = wanted.cached_cost_usd,
        cache_write_cost_usd = wanted.cache_write_cost_usd,
        output_cost_usd = wanted.output_cost_usd,
        tool_cost_usd = wanted.tool_cost_usd,
        cost_status = wanted.cost_status,
        cost_note = wanted.cost_note,
        price_id = wanted.price_id
    FROM wanted
    WHERE
        events.event_id = wanted.event_id
        AND events.timestamp = wanted.started_at
        AND events.cost_usd IS NOT DISTINCT FROM wanted.old_cost_usd
        AND events.cost_status = wanted.old_cost_status
        AND events.price_id = wanted.old_price_id
    RETURNING events.event_id
)

INSERT INTO token_ledger_repricings (
    event_id, old_cost_usd, new_cost_usd, old_cost_status, new_cost_status, old_price_id,
    new_price_id, reason
)
SELECT
    wanted.event_id, wanted.old_cost_usd, wanted.cost_usd, wanted.old_cost_status,
    wanted.cost_status, wanted.old_price_id, wanted.price_id, %(reason)s
FROM wanted
INNER JOIN changed ON changed.event_id = wanted.event_id
