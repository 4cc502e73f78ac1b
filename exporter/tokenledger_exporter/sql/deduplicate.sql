-- Statements that find duplicate reports of a call. `{columns}` are the columns that deduplication reads.

-- name: try_lock
-- Takes the deduplication lock: rows committed under it are seen by everyone who takes it later.
SELECT token_ledger_take_lock(current_user::text, 'settle', false)

-- name: lock
-- Waits for the deduplication lock.
SELECT token_ledger_take_lock(current_user::text, 'settle', true)

-- name: limit_lock_wait
-- A writer holds the lock for one batch. This session does not wait longer than that.
SET LOCAL lock_timeout = '5s'

-- name: limit_writer_lock_wait
-- A sender waits for its response: a batch that does not get the lock is left to the keeper.
SET LOCAL lock_timeout = '1s'

-- name: already_reported
-- Which of these response ids and rows the ledger has from another report. Each id is looked up by
-- itself, so that statistics of a young partition cannot turn this into a scan of all of it.
SELECT batch.response_id, NULL::uuid AS event_id
FROM unnest(%(response_ids)s::text[], %(starts)s::timestamptz[]) AS batch (response_id, started_at)
CROSS JOIN LATERAL (
    SELECT
    FROM token_ledger_events AS events
    WHERE
        date_trunc('hour', events.timestamp AT TIME ZONE 'UTC') = ANY(ARRAY[
            date_trunc('hour', (batch.started_at - %(tolerance)s::interval) AT TIME ZONE 'UTC'),
            date_trunc('hour', (batch.started_at + %(tolerance)s::interval) AT TIME ZONE 'UTC')
        ])
        AND events.response_id COLLATE "C" = batch.response_id
        AND length(events.response_id) >= 20
        AND events.timestamp >= %(since)s
        AND events.timestamp <= %(until)s
    LIMIT 1
) AS one_row
UNION ALL
SELECT NULL, ancestor_event_id
FROM token_ledger_parents
WHERE
    EXISTS (SELECT FROM token_ledger_parents LIMIT 1)
    AND ancestor_event_id = ANY(%(event_ids)s::uuid[])
UNION ALL
SELECT NULL, event_id
FROM token_ledger_events
WHERE
    event_id = ANY(%(ancestors)s::uuid[])
    AND timestamp >= %(since)s
    AND timestamp <= %(until)s
UNION ALL
SELECT response_id, event_id
FROM token_ledger_duplicates
WHERE
    EXISTS (SELECT FROM token_ledger_duplicates LIMIT 1)
    AND (
        event_id = ANY(array_cat(%(event_ids)s::uuid[], %(ancestors)s::uuid[]))
        OR (
            response_id COLLATE "C" = ANY(%(response_ids)s::text[])
            AND length(response_id) >= 20
            AND timestamp >= %(since)s
            AND timestamp <= %(until)s
        )
    )

-- name: add_parents
-- Records which rows are within which spans.
INSERT INTO token_ledger_parents (ancestor_event_id, event_id)
SELECT *
FROM unnest(%(ancestors)s::uuid[], %(event_ids)s::uuid[])
ON CONFLICT DO NOTHING

-- name: related
-- Rows that may describe the same calls as the given rows, from the ledger and from the duplicates.
WITH reports AS (
    SELECT *
    FROM unnest(
        %(response_ids)s::text[], %(id_starts)s::timestamptz[], %(id_ends)s::timestamptz[],
        %(sources)s::text[]
    ) AS reports (response_id, started_at, ended_at, source)
),

nested AS (
    SELECT unnest(%(ancestors)s::uuid[]) AS event_id
    UNION
    SELECT inside.event_id
    FROM unnest(%(event_ids)s::uuid[]) AS outer_spans (event_id)
    CROSS JOIN LATERAL (
        SELECT parents.event_id
        FROM token_ledger_parents AS parents
        WHERE parents.ancestor_event_id = outer_spans.event_id
        LIMIT %(most_rows)s
    ) AS inside
),

-- Each id once per source, with every hour its rows can be in. This returns each row once and not once
-- per pair, and a source that floods an id does not hide the rows of another source.
response_ids AS (
    SELECT
        reports.response_id,
        reports.source,
        array_agg(DISTINCT hours.hour) AS hours,
        min(reports.started_at) - interval '10 milliseconds' AS since,
        max(reports.ended_at) + interval '10 milliseconds' AS until,
        min(reports.started_at) - %(tolerance)s::interval AS earliest
    FROM reports
    CROSS JOIN LATERAL (
        VALUES
            (date_trunc('hour', (reports.started_at - %(tolerance)s::interval) AT TIME ZONE 'UTC')),
            (date_trunc('hour', (reports.started_at + %(tolerance)s::interval) AT TIME ZONE 'UTC'))
    ) AS hours (hour)
    WHERE length(reports.response_id) >= 20
    GROUP BY reports.response_id, reports.source
)

SELECT {events_columns}, NULL::uuid AS winner_event_id, NULL::text[] AS copied_fields
FROM nested
INNER JOIN token_ledger_events AS events ON events.event_id = nested.event_id
WHERE
    events.timestamp >= %(since)s
    AND events.timestamp <= %(until)s
UNION ALL
SELECT {events_columns}, NULL, NULL
FROM response_ids
CROSS JOIN LATERAL (
    SELECT *
    FROM token_ledger_events AS candidates
    WHERE
        date_trunc('hour', candidates.timestamp AT TIME ZONE 'UTC') = ANY(response_ids.hours)
        AND candidates.response_id COLLATE "C" = response_ids.response_id
        AND length(candidates.response_id) >= 20
        AND candidates.timestamp >= %(since)s
        AND candidates.timestamp <= %(until)s
        AND candidates.timestamp <= response_ids.until
        AND candidates.ended_at >= response_ids.since
        AND candidates.token_organization_id = response_ids.source
    LIMIT %(most_rows)s
) AS events
UNION ALL
SELECT {events_columns}, duplicates.winner_event_id, duplicates.copied_fields
FROM token_ledger_duplicates AS duplicates
CROSS JOIN LATERAL jsonb_populate_record(NULL::token_ledger_events, duplicates.event) AS events
WHERE
    duplicates.event_id = ANY(%(event_ids)s::uuid[])
    OR duplicates.event_id = ANY(ARRAY(SELECT event_id FROM nested))
    OR duplicates.winner_event_id = ANY(%(event_ids)s::uuid[])
UNION ALL
SELECT {events_columns}, duplicates.winner_event_id, duplicates.copied_fields
FROM response_ids
CROSS JOIN LATERAL (
    SELECT *
    FROM token_ledger_duplicates AS duplicates
    WHERE
        duplicates.response_id COLLATE "C" = response_ids.response_id
        AND length(duplicates.response_id) >= 20
        AND duplicates.timestamp >= response_ids.earliest
        AND duplicates.timestamp <= response_ids.until
        AND COALESCE(duplicates.event ->> 'token_organization_id', '') = response_ids.source
    LIMIT %(most_rows)s
) AS duplicates
CROSS JOIN LATERAL jsonb_populate_record(NULL::token_ledger_events, duplicates.event) AS events

-- name: winners
-- The rows that represent the calls of the given duplicates.
SELECT {columns}, NULL::uuid AS winner_event_id, NULL::text[] AS copied_fields
FROM token_ledger_events
WHERE event_id = ANY(%(event_ids)s::uuid[])

-- name: mark
-- Marks minutes with rows that must be checked.
INSERT INTO token_ledger_dirty_minutes (minute)
SELECT unnest(%(minutes)s::timestamptz[])

-- name: has_dirty_minutes
-- Whether there is anything to deduplicate.
SELECT true FROM token_ledger_dirty_minutes LIMIT 1

-- name: take_dirty_minutes
-- Takes the oldest dirty minutes. Transactions that commit later have marks of their own.
DELETE FROM token_ledger_dirty_minutes
WHERE minute IN (
    SELECT DISTINCT minute
    FROM token_ledger_dirty_minutes
    WHERE minute <> ALL(%(skipped)s::timestamptz[])
    ORDER BY minute
    LIMIT %(limit)s
)
RETURNING minute, recorded_at

-- name: mark_again
-- Marks a minute again that was not finished, with the time of its first mark.
INSERT INTO token_ledger_dirty_minutes (minute, recorded_at)
VALUES (%(minute)s, %(recorded_at)s)

-- name: unsettled
-- The next unsettled rows of a minute.
SELECT {columns}, NULL::uuid AS winner_event_id, NULL::text[] AS copied_fields
FROM token_ledger_events
WHERE
    timestamp >= %(minute)s::timestamptz
    AND timestamp < %(minute)s::timestamptz + interval '1 minute'
    AND NOT settled
LIMIT %(limit)s

-- name: attribute
-- Sets the attribution of rows, once their duplicates are known.
UPDATE token_ledger_events AS events
SET {assignments}, metadata = merged.metadata
FROM unnest(
    %(event_ids)s::uuid[], %(timestamps)s::timestamptz[], %(metadata)s::jsonb[], {arrays}
) AS merged (event_id, started_at, metadata, {names})
WHERE events.event_id = merged.event_id AND events.timestamp = merged.started_at

-- name: report_cost
-- Sets the reported cost of rows that copy it from a duplicate, or no longer do. It is the cost of a
-- row that has no other, and the change is recorded.
WITH merged AS (
    SELECT
        events.event_id,
        events.timestamp,
        events.cost_usd,
        events.cost_status,
        events.price_id,
        reports.usd,
        reports.source,
        events.cost_status IN ('unpriced', 'reported') AS is_cost
    FROM unnest(
        %(event_ids)s::uuid[], %(timestamps)s::timestamptz[], %(usd)s::numeric[],
        %(sources)s::text[]
    ) AS reports (event_id, started_at, usd, source)
    INNER JOIN token_ledger_events AS events
        ON events.event_id = reports.event_id AND events.timestamp = reports.started_at
),

changed AS (
    UPDATE token_ledger_events AS events
    SET
        reported_cost_usd = merged.usd,
        details = CASE
            WHEN merged.source = '' THEN events.details - 'tokenledger.cost.source'
            ELSE events.details || jsonb_build_object('tokenledger.cost.source', merged.source)
        END,
        cost_usd = CASE WHEN merged.is_cost THEN merged.usd ELSE events.cost_usd END,
        cost_status = CASE
            WHEN NOT merged.is_cost THEN events.cost_status
            WHEN merged.usd IS NULL THEN 'unpriced'
            ELSE 'reported'
        END,
        price_id = CASE
            WHEN NOT merged.is_cost THEN events.price_id
            WHEN merged.usd IS NULL THEN ''
            ELSE %(price_id)s
        END,
        cost_note = CASE
            WHEN events.cost_status = 'unpriced' AND merged.usd IS NOT NULL
                THEN concat_ws('; ', %(note)s::text, NULLIF(events.cost_note, ''))
            WHEN events.cost_status = 'reported' AND merged.usd IS NULL
                THEN ltrim(replace(events.cost_note, %(note)s::text, ''), '; ')
            ELSE events.cost_note
        END
    FROM merged
    WHERE events.event_id = merged.event_id AND events.timestamp = merged.timestamp
    RETURNING events.event_id, events.cost_usd, events.cost_status, events.price_id
)

INSERT INTO token_ledger_repricings (
    event_id, old_cost_usd, new_cost_usd, old_cost_status, new_cost_status, old_price_id,
    new_price_id, reason
)
SELECT
    merged.event_id, merged.cost_usd, changed.cost_usd, merged.cost_status, changed.cost_status,
    merged.price_id, changed.price_id, %(reason)s
FROM merged
INNER JOIN changed ON changed.event_id = merged.event_id
WHERE merged.cost_status <> changed.cost_status

-- name: move_to_duplicates
-- Moves duplicates out of the ledger. They leave the sums and remain traceable.
WITH moved AS (
    DELETE FROM token_ledger_events AS events
    USING unnest(
        %(event_ids)s::uuid[], %(timestamps)s::timestamptz[], %(winners)s::uuid[],
        %(reasons)s::text[], %(copied_fields)s::jsonb[]
    ) AS losers (event_id, started_at, winner_event_id, reason, copied_fields)
    WHERE events.event_id = losers.event_id AND events.timestamp = losers.started_at
    RETURNING
        events.event_id, losers.winner_event_id, losers.reason, events.timestamp,
        events.response_id,
        ARRAY(SELECT jsonb_array_elements_text(losers.copied_fields)) AS copied_fields,
        to_jsonb(events.*) || jsonb_build_object('settled', true) AS event
)
INSERT INTO token_ledger_duplicates (
    event_id, winner_event_id, reason, timestamp, response_id, copied_fields, event
)
SELECT event_id, winner_event_id, reason, timestamp, response_id, copied_fields, event
FROM moved
ON CONFLICT (event_id) DO UPDATE
SET
    winner_event_id = excluded.winner_event_id,
    reason = excluded.reason,
    copied_fields = excluded.copied_fields

-- name: add_conflicts
-- Stores duplicates that were reported again with other billing content.
INSERT INTO token_ledger_conflicts (event_id, usage_hash, event)
SELECT events.event_id, events.usage_hash, to_jsonb(events.*)
FROM token_ledger_events AS events
INNER JOIN token_ledger_duplicates AS duplicates ON duplicates.event_id = events.event_id
WHERE
    events.event_id = ANY(%(event_ids)s::uuid[])
    AND to_jsonb(events.usage_hash) <> duplicates.event -> 'usage_hash'
ON CONFLICT DO NOTHING

-- name: reassign
-- Assigns known duplicates to another winner.
UPDATE token_ledger_duplicates AS duplicates
SET
    winner_event_id = losers.winner_event_id,
    reason = losers.reason,
    copied_fields = ARRAY(SELECT jsonb_array_elements_text(losers.copied_fields))
FROM unnest(
    %(event_ids)s::uuid[], %(winners)s::uuid[], %(reasons)s::text[], %(copied_fields)s::jsonb[]
) AS losers (event_id, winner_event_id, reason, copied_fields)
WHERE duplicates.event_id = losers.event_id

-- name: restore
-- Restores duplicates that turn out to be calls of their own.
WITH restored AS (
    DELETE FROM token_ledger_duplicates
    WHERE event_id = ANY(%(event_ids)s::uuid[])
    RETURNING event
)
INSERT INTO token_ledger_events
SELECT (jsonb_populate_record(NULL::token_ledger_events, event)).*
FROM restored
ON CONFLICT DO NOTHING

-- name: set_settled
-- Marks rows as checked for duplicates.
UPDATE token_ledger_events AS events
SET settled = true
FROM unnest(%(event_ids)s::uuid[], %(timestamps)s::timestamptz[]) AS checked (event_id, started_at)
WHERE events.event_id = checked.event_id AND events.timestamp = checked.started_at AND NOT events.settled

-- name: may_deduplicate
-- Whether this user may move duplicates out of the ledger.
SELECT bool_and(has_table_privilege(name, privilege))
FROM (
    VALUES
        ('token_ledger_events', 'SELECT'), ('token_ledger_events', 'INSERT'),
        ('token_ledger_events', 'UPDATE'), ('token_ledger_events', 'DELETE'),
        ('token_ledger_duplicates', 'SELECT'), ('token_ledger_duplicates', 'INSERT'),
        ('token_ledger_duplicates', 'UPDATE'), ('token_ledger_duplicates', 'DELETE'),
        ('token_ledger_conflicts', 'INSERT'), ('token_ledger_dirty_minutes', 'SELECT'),
        ('token_ledger_dirty_minutes', 'DELETE')
) AS needed (name, privilege)
