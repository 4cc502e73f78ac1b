-- Statements that delete rows and replace a person's id. `{events}` is a condition on
-- token_ledger_events, `{event}` the same condition on a row stored as a JSON document.

-- name: count_duplicates
-- Duplicates that match, and duplicates of rows to delete: without their winner they would come back.
SELECT count(*) AS rows FROM token_ledger_duplicates
WHERE ({event}) OR winner_event_id IN (SELECT event_id FROM token_ledger_events WHERE {events})

-- name: delete_duplicates
-- Deletes those rows.
WITH deleted AS (
    DELETE FROM token_ledger_duplicates
    WHERE
        ({event})
        OR winner_event_id IN (SELECT event_id FROM token_ledger_events WHERE {events})
    RETURNING 1
)
SELECT count(*) AS rows FROM deleted

-- name: count_conflicts
-- Conflicting reports of the calls.
SELECT count(*) AS rows FROM token_ledger_conflicts
WHERE ({event}) OR event_id IN (SELECT event_id FROM token_ledger_events WHERE {events})

-- name: delete_conflicts
-- Deletes those rows.
WITH deleted AS (
    DELETE FROM token_ledger_conflicts
    WHERE ({event}) OR event_id IN (SELECT event_id FROM token_ledger_events WHERE {events})
    RETURNING 1
)
SELECT count(*) AS rows FROM deleted

-- name: count_rejected
-- Rejected rows.
SELECT count(*) AS rows FROM token_ledger_rejected WHERE {event}

-- name: delete_rejected
-- Deletes those rows.
WITH deleted AS (DELETE FROM token_ledger_rejected WHERE {event} RETURNING 1)
SELECT count(*) AS rows FROM deleted

-- name: count_repricings
-- Cost history of the calls.
SELECT count(*) AS rows FROM token_ledger_repricings
WHERE event_id IN (SELECT event_id FROM token_ledger_events WHERE {events})

-- name: delete_repricings
-- Deletes those rows.
WITH deleted AS (
    DELETE FROM token_ledger_repricings
    WHERE event_id IN (SELECT event_id FROM token_ledger_events WHERE {events})
    RETURNING 1
)
SELECT count(*) AS rows FROM deleted

-- name: count_events
-- The calls and their cost.
SELECT count(*) AS rows, COALESCE(sum(cost_usd), 0) AS cost_usd
FROM token_ledger_events WHERE {events}

-- name: delete_events
-- Deletes those rows.
WITH deleted AS (DELETE FROM token_ledger_events WHERE {events} RETURNING cost_usd)
SELECT count(*) AS rows, COALESCE(sum(cost_usd), 0) AS cost_usd FROM deleted

-- name: events_condition
-- Condition on rows of the ledger.
timestamp >= %(since)s AND timestamp < %(until)s {where}

-- name: event_condition
-- Condition on a row stored as a document; one without a timestamp matches only if all rows do.
CASE
    WHEN event ->> 'timestamp' ~ '^\d\d\d\d-\d\d-\d\d[T ]\d\d:\d\d'
        THEN
            (event ->> 'timestamp')::timestamptz >= %(since)s
            AND (event ->> 'timestamp')::timestamptz < %(until)s
    ELSE %(all_time)s::boolean
END {where}

-- name: add_erasure
-- Adds a tombstone, so that later reports get the pseudonym, too. Returns the pseudonym.
SELECT token_ledger_add_erasure(%(ids)s::bytea[])

-- name: erase_events
-- Replaces the id in the ledger.
UPDATE token_ledger_events
SET
    user_id = CASE WHEN user_id = %(id)s::text THEN %(pseudonym)s::text ELSE user_id END,
    metadata = token_ledger_replace_value(metadata, %(id)s::text, %(pseudonym)s::text)
WHERE
    user_id = %(id)s::text
    OR EXISTS (
        SELECT
        FROM pg_catalog.jsonb_each(metadata) AS entry
        WHERE entry.value = pg_catalog.to_jsonb(%(id)s::text)
    )

-- name: erase_documents
-- Replaces the id in rows stored as documents. Unreadable metadata that contains the id is emptied.
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
        FROM pg_catalog.jsonb_each(token_ledger_as_object(event -> 'metadata')) AS entry
        WHERE entry.value = pg_catalog.to_jsonb(%(id)s::text)
    )
    OR (
        pg_catalog.jsonb_typeof(event -> 'metadata') = 'string'
        AND token_ledger_as_object(event -> 'metadata') = pg_catalog.jsonb_build_object()
        AND pg_catalog.strpos(event ->> 'metadata', %(id)s::text) > 0
    )

-- name: erase_reasons
-- Replaces the id as a word in the reasons of repricings.
UPDATE token_ledger_repricings
SET reason = pg_catalog.regexp_replace(reason, %(word)s::text, %(pseudonym)s::text, 'g')
WHERE reason OPERATOR(pg_catalog.~) %(word)s::text

-- name: erase_views
-- Replaces the id in the log of views of people; returns the number of entries.
SELECT token_ledger_erase_views(%(id)s::text, %(pseudonym)s::text)

-- name: erase_budgets
-- Replaces the id in budgets and their sums; returns the number of rows.
SELECT token_ledger_erase_budgets(%(id)s::text, %(pseudonym)s::text)

-- name: erase_alerts
-- Replaces the id in alerts and their incidents; returns the number of rows.
SELECT token_ledger_erase_alerts(%(id)s::text, %(pseudonym)s::text)

-- name: remains_in_column
-- Counts the id in one column.
pg_catalog.count(*) FILTER (WHERE {column} = ANY(%(ids)s::text[])) AS {place},

-- name: remains
-- Where an erased id remains: other dimensions, metadata and usage.
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
-- User and metadata of the unsettled rows of a minute.
SELECT event_id, timestamp, user_id, metadata
FROM token_ledger_events
WHERE
    timestamp >= %(minute)s::timestamptz
    AND timestamp < %(minute)s::timestamptz + interval '1 minute'
    AND NOT settled

-- name: replace_user
-- Replaces the user of one row.
UPDATE token_ledger_events
SET user_id = %(user_id)s, metadata = %(metadata)s::jsonb
WHERE event_id = %(event_id)s AND timestamp = %(timestamp)s
