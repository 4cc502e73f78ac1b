-- Statements that delete rows and replace a person's id. `{events}` are conditions on
-- token_ledger_events, `{event}` the same on a row kept as a document.

-- name: count_duplicates
-- Second tellings: of the calls, and of rows that go, which would come back without them.
SELECT count(*) AS rows FROM token_ledger_duplicates
WHERE ({event}) OR winner_event_id IN (SELECT event_id FROM token_ledger_events WHERE {events})

-- name: delete_duplicates
-- The same rows, deleted.
WITH gone AS (
    DELETE FROM token_ledger_duplicates
    WHERE
        ({event})
        OR winner_event_id IN (SELECT event_id FROM token_ledger_events WHERE {events})
    RETURNING 1
)
SELECT count(*) AS rows FROM gone

-- name: count_conflicts
-- Other content of the calls.
SELECT count(*) AS rows FROM token_ledger_conflicts
WHERE ({event}) OR event_id IN (SELECT event_id FROM token_ledger_events WHERE {events})

-- name: delete_conflicts
-- The same rows, deleted.
WITH gone AS (
    DELETE FROM token_ledger_conflicts
    WHERE ({event}) OR event_id IN (SELECT event_id FROM token_ledger_events WHERE {events})
    RETURNING 1
)
SELECT count(*) AS rows FROM gone

-- name: count_rejected
-- Rows that were never taken.
SELECT count(*) AS rows FROM token_ledger_rejected WHERE {event}

-- name: delete_rejected
-- The same rows, deleted.
WITH gone AS (DELETE FROM token_ledger_rejected WHERE {event} RETURNING 1)
SELECT count(*) AS rows FROM gone

-- name: count_repricings
-- The history of the rows' costs.
SELECT count(*) AS rows FROM token_ledger_repricings
WHERE event_id IN (SELECT event_id FROM token_ledger_events WHERE {events})

-- name: delete_repricings
-- The same rows, deleted.
WITH gone AS (
    DELETE FROM token_ledger_repricings
    WHERE event_id IN (SELECT event_id FROM token_ledger_events WHERE {events})
    RETURNING 1
)
SELECT count(*) AS rows FROM gone

-- name: count_events
-- The calls and what they cost.
SELECT count(*) AS rows, COALESCE(sum(cost_usd), 0) AS cost_usd
FROM token_ledger_events WHERE {events}

-- name: delete_events
-- The same rows, deleted.
WITH gone AS (DELETE FROM token_ledger_events WHERE {events} RETURNING cost_usd)
SELECT count(*) AS rows, COALESCE(sum(cost_usd), 0) AS cost_usd FROM gone

-- name: stretch
-- The stretch of a row of the ledger.
timestamp >= %(since)s AND timestamp < %(until)s {where}

-- name: event_stretch
-- The stretch of a row kept as a document; one that has no time is in none but the whole.
CASE
    WHEN event ->> 'timestamp' ~ '^\d\d\d\d-\d\d-\d\d[T ]\d\d:\d\d'
        THEN
            (event ->> 'timestamp')::timestamptz >= %(since)s
            AND (event ->> 'timestamp')::timestamptz < %(until)s
    ELSE %(whole)s::boolean
END {where}

-- name: log_act
-- Who did what; the database adds who and when.
SELECT token_ledger_log_action(
    %(act)s, %(dimensions)s::jsonb, %(time_from)s::timestamptz, %(time_to)s::timestamptz,
    %(counts)s::jsonb
)

-- name: any_erased
-- Whether anybody was erased.
SELECT token_ledger_has_erasures()

-- name: erased
-- Which of these ids were erased, and what stands for them.
SELECT id, pseudonym FROM token_ledger_find_erased(%(ids)s::bytea[])

-- name: add_erasure
-- A tombstone: whoever writes after this replaces the id. Returns what stands for it.
SELECT token_ledger_add_erasure(%(ids)s::bytea[])

-- name: erase_events
-- The id in the ledger itself.
UPDATE token_ledger_events
SET
    user_id = CASE WHEN user_id = %(id)s::text THEN %(pseudonym)s::text ELSE user_id END,
    metadata = token_ledger_replace_value(metadata, %(id)s::text, %(pseudonym)s::text)
WHERE
    user_id = %(id)s::text
    OR EXISTS (
        SELECT
        FROM pg_catalog.jsonb_each(metadata) AS told
        WHERE told.value = pg_catalog.to_jsonb(%(id)s::text)
    )

-- name: erase_kept
-- The id in rows kept as documents. Metadata no database could read is let go where it names them.
UPDATE {table}
SET event = event
    || CASE
        WHEN event ->> 'user_id' = %(id)s::text
            THEN pg_catalog.jsonb_build_object('user_id', %(pseudonym)s::text)
        ELSE pg_catalog.jsonb_build_object()
    END
    || pg_catalog.jsonb_build_object(
        'metadata',
        token_ledger_replace_value(
            token_ledger_as_object(event -> 'metadata'), %(id)s::text, %(pseudonym)s::text
        )
    )
WHERE
    event ->> 'user_id' = %(id)s::text
    OR EXISTS (
        SELECT
        FROM pg_catalog.jsonb_each(token_ledger_as_object(event -> 'metadata')) AS told
        WHERE told.value = pg_catalog.to_jsonb(%(id)s::text)
    )
    OR (
        pg_catalog.jsonb_typeof(event -> 'metadata') = 'string'
        AND token_ledger_as_object(event -> 'metadata') = pg_catalog.jsonb_build_object()
        AND pg_catalog.strpos(event ->> 'metadata', %(id)s::text) > 0
    )

-- name: erase_reasons
-- The id as a word in the reasons of repricings.
UPDATE token_ledger_repricings
SET reason = pg_catalog.regexp_replace(reason, %(word)s::text, %(pseudonym)s::text, 'g')
WHERE reason OPERATOR(pg_catalog.~) %(word)s::text

-- name: remains_in_column
-- One column of calls.
pg_catalog.count(*) FILTER (WHERE {column} = ANY(%(ids)s::text[])) AS {place},

-- name: remains
-- Where an erased id still stands: other dimensions, and documents.
SELECT
    {columns}
    pg_catalog.count(*) FILTER (
        WHERE
            pg_catalog.jsonb_path_exists(
                metadata, '$.** ? (@ == $ids[*])', pg_catalog.jsonb_build_object('ids', %(ids)s::text[])
            )
    ) AS metadata,
    pg_catalog.count(*) FILTER (
        WHERE
            pg_catalog.jsonb_path_exists(
                usage, '$.** ? (@ == $ids[*])', pg_catalog.jsonb_build_object('ids', %(ids)s::text[])
            )
    ) AS usage
FROM token_ledger_events

-- name: unsettled_ids
-- Whom the unsettled rows of a minute are for.
SELECT event_id, timestamp, user_id, metadata
FROM token_ledger_events
WHERE
    timestamp >= %(minute)s::timestamptz
    AND timestamp < %(minute)s::timestamptz + interval '1 minute'
    AND NOT settled

-- name: rename
-- One row's person.
UPDATE token_ledger_events
SET user_id = %(user_id)s, metadata = %(metadata)s::jsonb
WHERE event_id = %(event_id)s AND timestamp = %(timestamp)s
