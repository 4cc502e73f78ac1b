-- One call told by two spans is one row: what it takes to find the other telling, and to undo it.
-- Release 00.01.00, step 05, safe before the new code runs: what it adds may stay at its default.

-- A row written by hand came from no span, so nobody else tells of it; our writers say it themselves.
ALTER TABLE token_ledger_events
    ADD COLUMN ancestors uuid[] NOT NULL DEFAULT '{}',
    ALTER COLUMN settled SET DEFAULT true;

COMMENT ON COLUMN token_ledger_events.ancestors IS 'event_id of the spans above this one that may tell of the same call, the nearest first';
COMMENT ON COLUMN token_ledger_events.settled IS 'True once somebody has looked for a second span of the same call; until then two rows may be one call';

-- Two tellings of a call start close together, so the index is led by the hour: what is written and
-- looked for stays in the few pages of now, however large the month is. A shorter id proves nothing:
-- some servers count to 999 and start again.
CREATE INDEX token_ledger_events_response ON token_ledger_events (
    date_trunc('hour', timestamp AT TIME ZONE 'UTC'), (response_id COLLATE "C")
)
WHERE length(response_id) >= 20;

-- Which rows are within which spans; what is above a row may be stored long after it.
CREATE TABLE token_ledger_nestings (
    ancestor_event_id uuid NOT NULL,
    event_id uuid NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (ancestor_event_id, event_id)
);
COMMENT ON TABLE token_ledger_nestings IS 'Calls told of within the span of another that may tell of the same call';
COMMENT ON COLUMN token_ledger_nestings.ancestor_event_id IS 'Identity of the span around it, stored or not';
COMMENT ON COLUMN token_ledger_nestings.event_id IS 'Identity of the call';
COMMENT ON COLUMN token_ledger_nestings.recorded_at IS 'When it was noted';

ALTER TABLE token_ledger_duplicates
    ADD COLUMN timestamp timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN response_id text NOT NULL DEFAULT '',
    ADD COLUMN given text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN token_ledger_duplicates.timestamp IS 'When the call started by this telling';
COMMENT ON COLUMN token_ledger_duplicates.response_id IS 'The provider''s id of the answer, as this span tells it';
COMMENT ON COLUMN token_ledger_duplicates.given IS 'Columns and metadata keys the winner took from this span, because it had none';
CREATE INDEX token_ledger_duplicates_response ON token_ledger_duplicates (response_id COLLATE "C", timestamp)
WHERE length(response_id) >= 20;
CREATE INDEX token_ledger_duplicates_winner ON token_ledger_duplicates (winner_event_id);

-- Minutes that hold rows nobody has looked at yet. No key: a unique mark makes writers wait for each other.
CREATE TABLE token_ledger_marks (
    minute timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE token_ledger_marks IS 'Minutes with rows that are to be settled; a keeper takes them';
COMMENT ON COLUMN token_ledger_marks.minute IS 'Start of the minute';
COMMENT ON COLUMN token_ledger_marks.recorded_at IS 'When the mark was made';

-- Every view by dimension says what its sum rests on.
DO $$
DECLARE
    known record;
    states text := '';
    state text;
BEGIN
    FOREACH state IN ARRAY ARRAY['priced', 'partial', 'estimated', 'unpriced', 'unmeasured'] LOOP
        states := states || format(', count(*) FILTER (WHERE cost_status = %L) AS %I', state, state);
    END LOOP;
    FOR known IN
        SELECT * FROM (VALUES
            ('daily', 'provider, model'), ('model', 'provider, model'), ('user', 'user_id'),
            ('feature', 'feature'), ('team', 'team'), ('project', 'project'),
            ('cost_center', 'cost_center'), ('agent', 'agent_id'), ('endpoint', 'endpoint'),
            ('organization', 'organization_id')
        ) AS views (name, columns)
    LOOP
        EXECUTE format(
            'CREATE OR REPLACE VIEW %I WITH (security_invoker = true) AS '
            'SELECT (timestamp AT TIME ZONE ''UTC'')::date AS day, %s, count(*) AS calls, '
            'sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens, '
            'sum(cached_tokens) AS cached_tokens, COALESCE(sum(cost_usd), 0) AS cost_usd, '
            'count(*) FILTER (WHERE cost_usd IS NULL) AS calls_without_cost %s, '
            'count(*) FILTER (WHERE NOT settled) AS not_settled '
            'FROM token_ledger_events GROUP BY 1, %s',
            'token_ledger_' || known.name || '_costs', known.columns, states, known.columns
        );
        FOREACH state IN ARRAY ARRAY['priced', 'partial', 'estimated', 'unpriced', 'unmeasured'] LOOP
            EXECUTE format(
                'COMMENT ON COLUMN %I.%I IS %L',
                'token_ledger_' || known.name || '_costs', state, 'Calls whose cost_status is ' || state
            );
        END LOOP;
        EXECUTE format(
            'COMMENT ON COLUMN %I.not_settled IS %L',
            'token_ledger_' || known.name || '_costs',
            'Calls that another row may tell of a second time, until a keeper has looked'
        );
    END LOOP;
END
$$;

CREATE OR REPLACE VIEW token_ledger_coverage WITH (security_invoker = true) AS
SELECT
    day,
    sum(calls)::bigint AS calls,
    sum(priced)::bigint AS priced,
    sum(partial)::bigint AS partial,
    sum(estimated)::bigint AS estimated,
    sum(unpriced)::bigint AS unpriced,
    sum(unmeasured)::bigint AS unmeasured,
    sum(not_settled)::bigint AS not_settled,
    sum(lost)::bigint AS lost
FROM (
    SELECT
        (timestamp AT TIME ZONE 'UTC')::date AS day,
        count(*) AS calls,
        count(*) FILTER (WHERE cost_status = 'priced') AS priced,
        count(*) FILTER (WHERE cost_status = 'partial') AS partial,
        count(*) FILTER (WHERE cost_status = 'estimated') AS estimated,
        count(*) FILTER (WHERE cost_status = 'unpriced') AS unpriced,
        count(*) FILTER (WHERE cost_status = 'unmeasured') AS unmeasured,
        count(*) FILTER (WHERE NOT settled) AS not_settled,
        0::bigint AS lost
    FROM token_ledger_events
    GROUP BY 1
    UNION ALL
    SELECT (recorded_at AT TIME ZONE 'UTC')::date, 0, 0, 0, 0, 0, 0, 0, sum(records)
    FROM token_ledger_losses
    GROUP BY 1
) AS counted
GROUP BY day;
COMMENT ON VIEW token_ledger_coverage IS 'How many calls of each day have a cost, and of what kind; and what is known to be lost';
COMMENT ON COLUMN token_ledger_coverage.not_settled IS 'Calls that another row may tell of a second time, until a keeper has looked';
COMMENT ON COLUMN token_ledger_coverage.lost IS 'Records counted as lost that day; they are in no other column';

-- Rows of one answer that stayed apart: told at different times, or with different counts. Worth a look, never removed.
CREATE VIEW token_ledger_suspected_duplicates WITH (security_invoker = true) AS
SELECT
    response_id,
    count(*) AS rows,
    array_agg(event_id ORDER BY timestamp, event_id) AS event_ids,
    min(timestamp) AS first_at,
    max(timestamp) AS last_at,
    array_agg(DISTINCT scope) AS scopes,
    COALESCE(sum(cost_usd), 0) AS cost_usd
FROM token_ledger_events
WHERE response_id <> ''
GROUP BY response_id
HAVING count(*) > 1;
COMMENT ON VIEW token_ledger_suspected_duplicates IS 'Rows that share a response id and were kept apart, because their times or counts say they are different calls';
COMMENT ON COLUMN token_ledger_suspected_duplicates.response_id IS 'The id they share';
COMMENT ON COLUMN token_ledger_suspected_duplicates.rows IS 'How many rows';
COMMENT ON COLUMN token_ledger_suspected_duplicates.event_ids IS 'The rows, by time';
COMMENT ON COLUMN token_ledger_suspected_duplicates.first_at IS 'When the first call started';
COMMENT ON COLUMN token_ledger_suspected_duplicates.last_at IS 'When the last call started';
COMMENT ON COLUMN token_ledger_suspected_duplicates.scopes IS 'Who told of them';
COMMENT ON COLUMN token_ledger_suspected_duplicates.cost_usd IS 'What they cost together, US dollars';
