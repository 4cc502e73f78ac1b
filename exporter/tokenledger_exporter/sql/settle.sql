-- Statements that settle which rows are one call. `{columns}` are what settling reads of a row.

-- name: try_lock
-- Who looks for twins and commits under this lock is seen by all who look after it. It is a row that
-- only writers and keepers may lock: an advisory lock is anybody's who can log in.
SELECT token_ledger_take_lock(current_user::text, 'settle', false)

-- name: lock
-- The same, waiting for whoever holds it.
SELECT token_ledger_take_lock(current_user::text, 'settle', true)

-- name: bound_waiting
-- A writer holds the lock for one batch; whoever holds it longer is not waited for.
SET LOCAL lock_timeout = '5s'

-- name: bound_writing
-- A sender waits for its answer: a batch that does not get the lock is left to a keeper.
SET LOCAL lock_timeout = '1s'

-- name: told_before
-- Which of these answers, and which of these rows, the ledger knows already from another telling. Each
-- is looked up by itself: no statistics of a young partition may turn that into reading it whole.
SELECT asked.response_id, NULL::uuid AS event_id
FROM unnest(%(response_ids)s::text[], %(starts)s::timestamptz[]) AS asked (response_id, started_at)
CROSS JOIN LATERAL (
    SELECT
    FROM token_ledger_events AS events
    WHERE
        date_trunc('hour', events.timestamp AT TIME ZONE 'UTC') = ANY(ARRAY[
            date_trunc('hour', (asked.started_at - %(tolerance)s::interval) AT TIME ZONE 'UTC'),
            date_trunc('hour', (asked.started_at + %(tolerance)s::interval) AT TIME ZONE 'UTC')
        ])
        AND events.response_id COLLATE "C" = asked.response_id
        AND length(events.response_id) >= 20
        AND events.timestamp >= %(since)s
        AND events.timestamp <= %(until)s
    LIMIT 1
) AS known
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

-- name: nest
-- Which rows are within which spans.
INSERT INTO token_ledger_parents (ancestor_event_id, event_id)
SELECT *
FROM unnest(%(ancestors)s::uuid[], %(event_ids)s::uuid[])
ON CONFLICT DO NOTHING

-- name: related
-- Rows that may tell of the same calls as the rows asked about, from the ledger and from the set aside.
WITH asked AS (
    SELECT *
    FROM unnest(
        %(response_ids)s::text[], %(id_starts)s::timestamptz[], %(id_ends)s::timestamptz[],
        %(sources)s::text[]
    ) AS asked (response_id, started_at, ended_at, source)
),

near AS (
    SELECT unnest(%(ancestors)s::uuid[]) AS event_id
    UNION
    SELECT within.event_id
    FROM unnest(%(event_ids)s::uuid[]) AS above (event_id)
    CROSS JOIN LATERAL (
        SELECT nestings.event_id
        FROM token_ledger_parents AS nestings
        WHERE nestings.ancestor_event_id = above.event_id
        LIMIT %(most_rows)s
    ) AS within
),

-- Each id once a source, with every hour its rows can be in: as many rows come back as there are,
-- not a pair for every two, and a source that floods an id hides no other source's rows.
answers AS (
    SELECT
        asked.response_id,
        asked.source,
        array_agg(DISTINCT hours.hour) AS hours,
        min(asked.started_at) - interval '10 milliseconds' AS since,
        max(asked.ended_at) + interval '10 milliseconds' AS until,
        min(asked.started_at) - %(tolerance)s::interval AS earliest
    FROM asked
    CROSS JOIN LATERAL (
        VALUES
            (date_trunc('hour', (asked.started_at - %(tolerance)s::interval) AT TIME ZONE 'UTC')),
            (date_trunc('hour', (asked.started_at + %(tolerance)s::interval) AT TIME ZONE 'UTC'))
    ) AS hours (hour)
    WHERE length(asked.response_id) >= 20
    GROUP BY asked.response_id, asked.source
)

SELECT {events_columns}, NULL::uuid AS winner_event_id, NULL::text[] AS given
FROM near
INNER JOIN token_ledger_events AS events ON events.event_id = near.event_id
WHERE
    events.timestamp >= %(since)s
    AND events.timestamp <= %(until)s
UNION ALL
SELECT {events_columns}, NULL, NULL
FROM answers
CROSS JOIN LATERAL (
    SELECT *
    FROM token_ledger_events AS known
    WHERE
        date_trunc('hour', known.timestamp AT TIME ZONE 'UTC') = ANY(answers.hours)
        AND known.response_id COLLATE "C" = answers.response_id
        AND length(known.response_id) >= 20
        AND known.timestamp >= %(since)s
        AND known.timestamp <= %(until)s
        AND known.timestamp <= answers.until
        AND known.ended_at >= answers.since
        AND known.token_organization_id = answers.source
    LIMIT %(most_rows)s
) AS events
UNION ALL
SELECT {events_columns}, known.winner_event_id, known.given
FROM token_ledger_duplicates AS known
CROSS JOIN LATERAL jsonb_populate_record(NULL::token_ledger_events, known.event) AS events
WHERE
    known.event_id = ANY(%(event_ids)s::uuid[])
    OR known.event_id = ANY(ARRAY(SELECT event_id FROM near))
    OR known.winner_event_id = ANY(%(event_ids)s::uuid[])
UNION ALL
SELECT {events_columns}, known.winner_event_id, known.given
FROM answers
CROSS JOIN LATERAL (
    SELECT *
    FROM token_ledger_duplicates AS duplicates
    WHERE
        duplicates.response_id COLLATE "C" = answers.response_id
        AND length(duplicates.response_id) >= 20
        AND duplicates.timestamp >= answers.earliest
        AND duplicates.timestamp <= answers.until
        AND COALESCE(duplicates.event ->> 'token_organization_id', '') = answers.source
    LIMIT %(most_rows)s
) AS known
CROSS JOIN LATERAL jsonb_populate_record(NULL::token_ledger_events, known.event) AS events

-- name: winners
-- The rows that stand for calls of which the rows asked about were set aside.
SELECT {columns}, NULL::uuid AS winner_event_id, NULL::text[] AS given
FROM token_ledger_events
WHERE event_id = ANY(%(event_ids)s::uuid[])

-- name: mark
-- Minutes with rows that somebody must look at.
INSERT INTO token_ledger_dirty_minutes (minute)
SELECT unnest(%(minutes)s::timestamptz[])

-- name: any_marks
-- Whether there is anything to settle.
SELECT true FROM token_ledger_dirty_minutes LIMIT 1

-- name: take_marks
-- The oldest marked minutes; whoever commits after this has marks of its own.
DELETE FROM token_ledger_dirty_minutes
WHERE minute IN (
    SELECT DISTINCT minute
    FROM token_ledger_dirty_minutes
    WHERE minute <> ALL(%(skipped)s::timestamptz[])
    ORDER BY minute
    LIMIT %(limit)s
)
RETURNING minute, recorded_at

-- name: put_back
-- A mark of a minute that was not looked at to its end, as old as it was.
INSERT INTO token_ledger_dirty_minutes (minute, recorded_at)
VALUES (%(minute)s, %(recorded_at)s)

-- name: unsettled
-- The next rows of a minute that nobody has looked at.
SELECT {columns}, NULL::uuid AS winner_event_id, NULL::text[] AS given
FROM token_ledger_events
WHERE
    timestamp >= %(minute)s::timestamptz
    AND timestamp < %(minute)s::timestamptz + interval '1 minute'
    AND NOT settled
LIMIT %(limit)s

-- name: attribute
-- Whom rows are for, once it is known which other rows tell of the same call.
UPDATE token_ledger_events AS events
SET {assignments}, metadata = wanted.metadata
FROM unnest(
    %(event_ids)s::uuid[], %(timestamps)s::timestamptz[], %(metadata)s::jsonb[], {arrays}
) AS wanted (event_id, started_at, metadata, {names})
WHERE events.event_id = wanted.event_id AND events.timestamp = wanted.started_at

-- name: set_aside
-- Rows that tell of a call another row stands for leave the sums and stay where they can be found.
WITH lost AS (
    DELETE FROM token_ledger_events AS events
    USING unnest(
        %(event_ids)s::uuid[], %(timestamps)s::timestamptz[], %(winners)s::uuid[],
        %(reasons)s::text[], %(given)s::jsonb[]
    ) AS found (event_id, started_at, winner_event_id, reason, given)
    WHERE events.event_id = found.event_id AND events.timestamp = found.started_at
    RETURNING
        events.event_id, found.winner_event_id, found.reason, events.timestamp,
        events.response_id,
        ARRAY(SELECT jsonb_array_elements_text(found.given)) AS given,
        to_jsonb(events.*) || jsonb_build_object('settled', true) AS event
)
INSERT INTO token_ledger_duplicates (
    event_id, winner_event_id, reason, timestamp, response_id, given, event
)
SELECT event_id, winner_event_id, reason, timestamp, response_id, given, event
FROM lost
ON CONFLICT (event_id) DO UPDATE
SET
    winner_event_id = excluded.winner_event_id,
    reason = excluded.reason,
    given = excluded.given

-- name: keep_conflicts
-- A span set aside before that comes again with other billing content.
INSERT INTO token_ledger_conflicts (event_id, usage_hash, event)
SELECT events.event_id, events.usage_hash, to_jsonb(events.*)
FROM token_ledger_events AS events
INNER JOIN token_ledger_duplicates AS known ON known.event_id = events.event_id
WHERE
    events.event_id = ANY(%(event_ids)s::uuid[])
    AND to_jsonb(events.usage_hash) <> known.event -> 'usage_hash'
ON CONFLICT DO NOTHING

-- name: reassign
-- Rows set aside before, now under another winner.
UPDATE token_ledger_duplicates AS known
SET
    winner_event_id = found.winner_event_id,
    reason = found.reason,
    given = ARRAY(SELECT jsonb_array_elements_text(found.given))
FROM unnest(
    %(event_ids)s::uuid[], %(winners)s::uuid[], %(reasons)s::text[], %(given)s::jsonb[]
) AS found (event_id, winner_event_id, reason, given)
WHERE known.event_id = found.event_id

-- name: restore
-- Rows set aside before that turn out to stand for a call themselves.
WITH back AS (
    DELETE FROM token_ledger_duplicates
    WHERE event_id = ANY(%(event_ids)s::uuid[])
    RETURNING event
)
INSERT INTO token_ledger_events
SELECT (jsonb_populate_record(NULL::token_ledger_events, event)).*
FROM back
ON CONFLICT DO NOTHING

-- name: settled
-- Rows that were looked at and stand for a call.
UPDATE token_ledger_events AS events
SET settled = true
FROM unnest(%(event_ids)s::uuid[], %(timestamps)s::timestamptz[]) AS found (event_id, started_at)
WHERE events.event_id = found.event_id AND events.timestamp = found.started_at AND NOT events.settled
